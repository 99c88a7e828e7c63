"""Which captions are drawn: the same choice on both sides, blind to who was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from auditor.controls.sampling import draw
from auditor.records import Record
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.sampling import ddim_scheduler, initial_noise

REPEATED_SHARE = 0.5
"""Share of the prompts of a side that captions of repeated records may take before the triage."""


def chosen_prompts(
    records: Sequence[Record], scores: dict[str, float], n: int, seed: int
) -> list[str]:
    """At most n captions of one side, the most suspicious first.

    Captions of records that occur more than once come first, for repeats are what models
    memorize; they take at most half of the places, then the triage decides.
    """
    copies: dict[str, int] = {}
    for record in draw(records, len(records), seed, "prompts"):
        caption = record.caption or ""
        if caption in scores:
            copies[caption] = max(copies.get(caption, 0), record.multiplicity)
    by_score = sorted(copies, key=lambda caption: -scores[caption])
    repeated = sorted((c for c in by_score if copies[c] > 1), key=lambda caption: -copies[caption])
    first = repeated[: int(REPEATED_SHARE * n)]
    return [*first, *(c for c in by_score if c not in set(first))][:n]


def triage(
    target: DiffusionTarget,
    captions: Sequence[str],
    steps: int,
    seed: int,
    *,
    batch_size: int,
    on_calls: Callable[[int], None] = lambda rows: None,
    on_done: Callable[[int], None] = lambda n: None,
) -> dict[str, float]:
    """Caption -> size of the difference that it makes to the first of so many DDIM steps.

    ||eps(x_T, caption) - eps(x_T, "")||_2 from the noise of one seed (Wen et al.,
    arXiv:2407.21720): one forward call a caption, and one of the empty text.
    """
    scheduler = ddim_scheduler(target)
    scheduler.set_timesteps(steps)
    first = int(scheduler.timesteps[0])
    noise = initial_noise([seed], target.input_shape, target.dtype).to(target.device)
    at = torch.full((1,), first, device=target.device)
    without = target.predict(noise, at, target.embed_nothing())
    on_calls(1)
    found: list[float] = []
    for start in range(0, len(captions), batch_size):
        part = captions[start : start + batch_size]
        embedded = target.embed(part)
        given = target.predict(noise.expand(len(part), -1, -1, -1), at.expand(len(part)), embedded)
        found += (given - without).flatten(1).norm(dim=1).tolist()
        on_calls(len(part))
        on_done(len(part))
    return dict(zip(captions, found, strict=True))
