"""Words that messages and reports of every package share."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """A count with its noun and separators: `1 member`, `1,200 members`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def p_equals(p: float) -> str:
    """A p-value with two significant digits, such as `p = 0.023`; `p < 0.0001` below that."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def percent(share: float) -> str:
    """A share as a percentage with three significant digits."""
    return f"{100 * share:.3g} %"
