"""What an extraction can show at a given size, before an image is drawn."""

from __future__ import annotations

from attacks.statistics.rates import upper_limit
from attacks.wording import percent, plural
from auditor.rules import n_tried_to_pass


def drawing_power(n_tried: int, n_images: int, limit: float, is_prompted: bool) -> str:
    """One sentence: the members that are tried, and the bound if none of them comes back.

    n_tried: members whose caption is prompted, at least; n_images: at most; limit: of the share
    that a PASS allows.
    """
    tried = f"{'at least ' if is_prompted else ''}{plural(n_tried, 'member')} tried"
    drawn = f"extracted: {tried} with at most {plural(n_images, 'image')}"
    if not n_tried:
        return f"{drawn}; nothing could PASS"
    bound = percent(float(upper_limit(0, n_tried, alpha=0.05)))
    text = f"{drawn}; if none comes back, at most {bound} of them do (95 % bound)"
    needed = n_tried_to_pass(limit)
    if n_tried >= needed:
        return f"{text}, which could PASS"
    return f"{text}; PASS takes {plural(needed, 'tried member')}"
