"""The text that a condition stands for (attacks.observations.CONDITIONS)."""

from __future__ import annotations

from attacks.errors import ShapeError

THIRDS = ("first", "middle", "last")


def condition_text(caption: str, condition: str) -> str:
    """The caption itself, the empty text, or the caption without a third of its words.

    A third is never empty: captions of one or two words lose at least one word.
    """
    if condition == "caption":
        return caption
    if condition == "null":
        return ""
    if condition not in THIRDS:
        raise ShapeError(f"unknown condition '{condition}'")
    words = caption.split()
    third = THIRDS.index(condition)
    start, stop = len(words) * third // 3, len(words) * (third + 1) // 3
    if words and start == stop:
        start = min(start, len(words) - 1)
        stop = start + 1
    return " ".join(words[:start] + words[stop:])
