"""The small bar in the rules table: interval, value and limit of one rule on one line."""

from __future__ import annotations

from dataclasses import dataclass

from attacks.results import RuleResult

WIDTH = 160


@dataclass(frozen=True, slots=True)
class Gauge:
    """Positions in pixels on a line of `WIDTH`; None where the rule has no such figure."""

    low: float
    high: float
    value: float | None
    limit: float | None
    open_left: bool
    """The interval has no lower limit: it is drawn from the edge."""
    open_right: bool


def gauge(rule: RuleResult) -> Gauge | None:
    """Where to draw the interval of a rule, or None if it has no interval."""
    if rule.low is None and rule.high is None:
        return None
    known = [x for x in (rule.low, rule.high, rule.value, rule.limit) if x is not None]
    floor = 0.0 if rule.unit != "number" else min(*known, 0.4)
    top = max(*known, floor + 1e-9)
    span = (top - floor) * 1.15

    def place(x: float) -> float:
        return round(min(max((x - floor) / span, 0.0), 1.0) * WIDTH, 1)

    return Gauge(
        low=place(floor if rule.low is None else rule.low),
        high=place(top * 1.15 if rule.high is None else rule.high),
        value=None if rule.value is None else place(rule.value),
        limit=None if rule.limit is None else place(rule.limit),
        open_left=rule.low is None,
        open_right=rule.high is None,
    )
