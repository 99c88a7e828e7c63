"""Captions: does a model that takes text get them, and do they belong to their records?

Attacks that condition on captions weaken unseen when every picture carries another one's. So the
noise error with a record's own caption is compared with that under another record's, on the same
noise: where text changes what the model answers, the right caption has to lower the error.

A model that ignores text is legitimate, and its captions cannot matter. A model that reacts to
text, but no better to a record's own caption than to another's, was not given the captions of its
training; or they say nothing about the pictures, such as running numbers, which cannot be told
from the outside. Neither supports a PASS. Members and nonmembers are tested each for themselves,
since often only one of the two lists was joined wrongly.

Measured on the bundled models, 64 records a side, four timesteps, three draws of records: p of at
most 1e-11 with the right captions, at least .19 with shuffled ones.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import DiffusionCapabilities
from attacks.observations import NoiseError, Request
from attacks.results import ControlResult, ControlStatus
from attacks.statistics.paired import log_ratio_test
from auditor.controls.sampling import draw
from auditor.observe.cache import shard_key
from auditor.progress import Progress
from auditor.records import Record

if TYPE_CHECKING:
    from auditor.families.diffusion import DiffusionScan
    from auditor.prepare import Observed

MAX_BARE = 0.01
"""Share of members without a caption above which a model that takes text may not pass."""
MOST_PER_SIDE = 64
"""Records of each side."""
FEWEST_PER_SIDE = 20
"""Records of a side below which it is not tested."""
TIMESTEPS = (200, 400, 600, 800)
"""Of a schedule of 1,000; `loss` asks at these too. Text counts for most where noise is strong."""
ALPHA = 0.01
MATERIAL = 1e-3
"""Median change of the error, relative to itself, below which a model ignores its text."""
TINY = 1e-12
"""Least error, so that ratios exist."""


class CaptionErrors(NamedTuple):
    """Noise errors of some records, (n, t), on the same noises."""

    own: NDArray[np.floating]
    """With the record's own caption."""
    other: NDArray[np.floating]
    """With the caption of another record."""


def missing_captions(scan: DiffusionScan) -> list[ControlResult]:
    """A model that takes text, asked without its captions, is asked too gently for a PASS."""
    members = scan.splits.members
    n_bare = sum(record.caption is None for record in members)
    if not scan.target.capabilities.is_text_conditional or n_bare <= MAX_BARE * len(members):
        return []
    summary = (
        f"The model is conditioned on text, but {n_bare:,} of {len(members):,} members have no "
        "caption: an attacker who holds them sees more than this scan did, so nothing may pass."
    )
    return [ControlResult("captions", ControlStatus.NOT_RUN, summary)]


def caption_match(
    scan: DiffusionScan, observed: Observed, progress: Progress
) -> list[ControlResult]:
    """Ask the target about at most 64 records of each side under captions of others.

    Empty for models that take no text, and where all captions are the same.
    """
    capabilities: DiffusionCapabilities = scan.target.capabilities
    captions = {record.caption for record in observed.records if record.caption}
    if not capabilities.is_text_conditional or len(captions) < 2:
        return []
    progress.stage("control: captions", 2 * MOST_PER_SIDE)
    sides = {}
    for name, side in (("members", observed.members), ("nonmembers", observed.nonmembers)):
        captioned = [record for record in side if record.caption]
        chosen = draw(captioned, MOST_PER_SIDE, scan.options.seed, "captions")
        pairs = with_others_caption(chosen)
        if len(pairs) >= FEWEST_PER_SIDE:
            sides[name] = _errors(scan, observed, pairs)
    return [judge_captions(sides)]


def caption_calls(requests: Sequence[Request], capabilities: DiffusionCapabilities) -> int:
    """Forward calls of `caption_match` at most, beside the plan's requests."""
    if not capabilities.is_text_conditional or not capabilities.has_captions:
        return 0
    asked = _requests(capabilities)
    unplanned = sum(request not in requests for request in asked)
    return 2 * MOST_PER_SIDE * (len(asked) + unplanned)


def with_others_caption(records: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Records, and the same ones with the caption of another: never a caption equal to their own.

    Every caption is used as often as it is in the list. Where one is on more than half of the
    records, some of these are left out. In alphabetical order each takes the caption half the list
    away, so that captions that begin alike rarely meet.
    """
    ordered = sorted(records, key=lambda record: (str(record.caption), record.id))
    counts = Counter(record.caption for record in ordered)
    if not counts:
        return []
    commonest, most = max(counts.items(), key=lambda item: (item[1], str(item[0])))
    if surplus := max(0, 2 * most - len(ordered)):
        same = [record for record in ordered if record.caption == commonest]
        left_out = {record.id for record in same[:surplus]}
        ordered = [record for record in ordered if record.id not in left_out]
    half = len(ordered) // 2
    turned = [*ordered[half:], *ordered[:half]]
    return [
        (own, dataclasses.replace(own, caption=other.caption))
        for own, other in zip(ordered, turned, strict=True)
        if own.caption != other.caption
    ]


def judge_captions(sides: Mapping[str, CaptionErrors]) -> ControlResult:
    """Passed if own captions lower the error, a warning if text changes nothing, else failed."""
    if not sides:
        summary = f"not run: it needs {FEWEST_PER_SIDE} records with captions that differ"
        return ControlResult("caption match", ControlStatus.NOT_RUN, summary)
    figures: dict[str, float | int | str | bool | None] = {}
    unmatched: list[str] = []
    ignored: list[str] = []
    for name, errors in sides.items():
        test = log_ratio_test(errors.own, errors.other)
        change = float(np.median(np.abs(np.log(errors.other) - np.log(errors.own))))
        figures |= {
            f"n_{name}": len(errors.own),
            f"gain_{name}": 1 - float(np.exp(-test.mean_log_ratio)),
            f"p_value_{name}": test.p_greater,
            f"change_{name}": change,
        }
        if test.p_greater > ALPHA:
            (unmatched if change > MATERIAL else ignored).append(name)
    if unmatched:
        status, text = ControlStatus.FAILED, _mismatch(unmatched, figures)
    elif ignored:
        status = ControlStatus.WARNING
        text = (
            "Captions make no difference: the model answers alike whatever the text, so that "
            "attacks that use it see no more than the others."
        )
    else:
        status = ControlStatus.PASSED
        gains = ", ".join(f"{figures[f'gain_{name}']:.1%} on {name}" for name in sides)
        text = f"The right caption lowers the noise error against another record's ({gains})."
    return ControlResult("caption match", status, text, figures)


def _mismatch(sides: Sequence[str], figures: Mapping[str, object]) -> str:
    worst = ", ".join(f"{name}: p = {figures[f'p_value_{name}']:.2g}" for name in sides)
    return (
        f"Text changes what the model answers, but the captions of {' and '.join(sides)} fit no "
        f"better than those of other records ({worst}): either they belong to other records, or "
        "they say nothing about the pictures. Attacks that use them are weakened, so nothing may "
        "pass; check how captions and images were joined."
    )


def _requests(capabilities: DiffusionCapabilities) -> list[NoiseError]:
    return [NoiseError(t=t) for t in dict.fromkeys(capabilities.scaled(*TIMESTEPS))]


def _errors(
    scan: DiffusionScan, observed: Observed, pairs: Sequence[tuple[Record, Record]]
) -> CaptionErrors:
    """Errors of the pairs; those under own captions are taken from the shared pass if it has them."""
    requests = _requests(scan.target.capabilities)
    own = [record for record, _ in pairs]
    known = [request for request in requests if request in observed.observations]
    place = {record.id: i for i, record in enumerate(observed.records)}
    index = [place[record.id] for record in own]
    found: dict[Request, NDArray[np.floating]] = {
        request: np.asarray(observed.observations[request])[index] for request in known
    }
    missing = [request for request in requests if request not in found]
    if missing:
        found |= scan.executor.observe(scan.target, own, missing, scan.cache)
    wrong = [record for _, record in pairs]
    names = shard_key([f"{record.id} {record.caption}" for record in wrong])
    others = scan.executor.observe(
        scan.target, wrong, requests, scan.cache.derived(f"captions of others {names}")
    )
    both = (np.stack([errors[r] for r in requests], axis=1) for errors in (found, others))
    return CaptionErrors(*(np.maximum(errors, TINY) for errors in both))
