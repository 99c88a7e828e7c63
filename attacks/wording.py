"""Words that messages and reports of every package share."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """A count with its noun and separators: `1 member`, `1,200 members`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(share: float) -> str:
    """A share as a percentage with three significant digits."""
    return f"{100 * share:.3g} %"
