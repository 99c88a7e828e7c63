r"""Hostile text made visible, and figures made readable. Formatting only: nothing is computed.

Every string of a record is treated as hostile: control characters, terminal escapes, bidirectional
overrides and invisible characters come out as visible `\uXXXX`; over-long strings are cut, with
a note of how much is missing.
"""

from __future__ import annotations

import unicodedata

MAX_CHARS = 1200
NARROW = "\u202f"
"""Narrow no-break space, between a figure and its unit."""
DASH = "\u2013"

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_MARKS = {"Mn", "Me"}
_MAX_MARKS = 3


def clean(text: object, limit: int = MAX_CHARS) -> str:
    """Text that is safe to look at: nothing invisible, nothing reordered, not endless.

    Newlines and tabs become spaces. More than three combining marks in a row are dropped,
    because a tower of them paints over its neighbours.
    """
    whole = str(text)
    parts: list[str] = []
    marks = 0
    for char in whole[:limit]:
        category = unicodedata.category(char)
        marks = marks + 1 if category in _MARKS else 0
        if marks > _MAX_MARKS:
            continue
        if char in "\n\t":
            parts.append(" ")
        elif category in _HIDDEN and char != NARROW:
            parts.append(f"\\u{ord(char):04x}")
        else:
            parts.append(char)
    missing = len(whole) - limit
    tail = f" \u2026 ({missing:,} more characters in audit.json)" if missing > 0 else ""
    return "".join(parts) + tail


def share(value: float | None) -> str:
    """A share of 1 as a percentage with two significant digits: 0.0034 -> `0.34 %`."""
    if value is None:
        return DASH
    percent = 100 * value
    if percent in (0, 100):
        return f"{percent:.0f}{NARROW}%"
    if 0 < percent < 0.01:
        return f"<{NARROW}0.01{NARROW}%"
    digits = 2 if percent < 1 else 1 if percent < 10 or percent > 99 else 0
    return f"{percent:.{digits}f}{NARROW}%"


def rate(value: float) -> str:
    """A nominal rate or limit without trailing zeros: 0.001 -> `0.1 %`."""
    return f"{100 * value:.6g}{NARROW}%"


def number(value: float | int | None) -> str:
    """A number to three significant digits; whole numbers with thousands separators."""
    if value is None:
        return DASH
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def decimal(value: float | None) -> str:
    """A figure near 1, such as an AUC, with three decimals."""
    return DASH if value is None else f"{value:.3f}"


def figure(value: float | None, unit: str) -> str:
    """A figure of a rule in its unit: `share`, `count` or `number`."""
    if unit == "share":
        return share(value)
    return number(value) if unit == "count" else decimal(value)


def p_value(value: float | None) -> str:
    """A p-value; below 0.0001 only the bound is printed."""
    if value is None:
        return DASH
    return f"<{NARROW}0.0001" if value < 1e-4 else f"{value:.2g}"


def interval(low: float | None, high: float | None, unit: str = "number") -> str:
    """`low to high`, with a dash for a limit that does not exist."""
    if low is None and high is None:
        return DASH
    return f"{figure(low, unit)} to {figure(high, unit)}"


def flat(value: float | int | str | bool | None, name: str = "") -> str:
    """One flat figure of a control; its name tells a p-value (`p`, `p_value`, `p_tail` ...)."""
    if value is None:
        return DASH
    if isinstance(value, float) and (name == "p" or name.startswith("p_")):
        return p_value(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(value, 200) if isinstance(value, str) else number(value)


def seconds(value: float) -> str:
    """A duration: `41 s`, `3 min 20 s`, `2 h 05 min`."""
    if value < 10:
        return f"{value:.2g}{NARROW}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}{NARROW}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{NARROW}min {rest:02d}{NARROW}s"
    return f"{minutes // 60}{NARROW}h {minutes % 60:02d}{NARROW}min"


def megabytes(value: float) -> str:
    """Memory in MiB or GiB."""
    return f"{value / 1024:.1f}{NARROW}GiB" if value >= 1024 else f"{value:.0f}{NARROW}MiB"
