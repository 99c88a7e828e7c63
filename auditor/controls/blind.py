"""The blind control: can members be told from nonmembers by their records alone?

Everything here is computed from pixels, captions and file properties; the model is never touched,
and this module imports nothing that could touch it. If the test of `attacks.statistics.blind`
succeeds on such features, the two sets differ in more than having been trained on, and every
membership claim about them is void (Das, Zhang, Tramer, arXiv 2406.16201).

What it sees: 16 x 16 pixels through 32 principal components and their squares; words and pairs of
words of captions, and their style; size, mode, format and bytes as read from the file; and
label-free complexity scores. What it cannot see: a difference that lives only in fine texture, in
word order, or in columns that the records do not carry. Multiplicity is left out: how often a
record was listed is no property of its content.

Measured on scikit-learn's digits, 600 + 600, p <= .01: 1 of 200 clean random splits. Found in 16
or 17 runs each: class mix with AUC .55 6 %, words with .55 44 %, brightness with .56 53 % and with
.59 100 %; 12 odd members among the 600 29 % (noise), 41 % (negatives), 65 % (one colour), though
p <= .05 in 71, 100 and 100 %; 24 of one colour 100 %. So a pass does not show that every member
comes from where the nonmembers come from.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attacks.errors import UnderPowered
from attacks.results import ControlResult, ControlStatus
from attacks.statistics.blind import PERMUTATIONS, BlindResult, blind_test, label_units, unit_block

if TYPE_CHECKING:
    from auditor.records import Record

ALPHA_INVALID = 0.01
"""p at or below which the comparison is confounded."""
ALPHA_WARNING = 0.05
"""p at or below which a warning is printed."""
MAX_PER_SIDE = 5_000
"""Records a side beyond which a random subset is tested."""
COMPONENTS = 32
TERMS = 256
"""Most frequent words and pairs of words that are counted."""

_SMALL, _MEDIUM, _CROP = 16, 32, 64  # pixels a side

Floats = NDArray[np.float64]


class BlindFeatures(NamedTuple):
    """Label-free features of n records."""

    blocks: dict[str, Floats]
    """Name -> (n, d): `pixels`, `metadata`, and `captions` where there are any."""
    scores: dict[str, Floats]
    """Name -> (n,) complexity scores that are not constant."""


@dataclass(frozen=True, slots=True)
class BlindBaseline:
    """The control and what it knows about each record."""

    control: ControlResult
    scores: dict[str, float]
    """Record id -> out-of-fold blind score; higher looks more like a member. Empty if not run."""
    result: BlindResult | None
    """All AUCs and p-values; None if not run."""


def blind_baseline(
    members: Sequence[Record],
    nonmembers: Sequence[Record],
    *,
    seed: int,
    n_permutations: int = PERMUTATIONS,
    on_progress: Callable[[int, int], None] | None = None,
) -> BlindBaseline:
    """Test whether members differ from nonmembers before any model is asked.

    members, nonmembers: records with distinct ids; their order has no effect. Above 5,000 a side
        a random subset is tested, and only its records are scored.
    on_progress: called with (records read, records to read).

    A subject that appears on both sides counts as two units. Never raises for small or uniform
    sets: the control then says NOT_RUN, or passes for want of any difference.
    """
    rng = np.random.default_rng(seed)
    sides = [_subset(side, rng) for side in (members, nonmembers)]
    listed = sorted(
        (
            (r, is_member)
            for side, is_member in zip(sides, (True, False), strict=True)
            for r in side
        ),
        key=lambda pair: pair[0].id,
    )
    is_member = np.array([member for _, member in listed], dtype=bool)
    groups = None
    if any(r.subject for r, _ in listed):
        groups = np.array([f"{m}:{r.subject}" if r.subject else f"id:{r.id}" for r, m in listed])
    try:
        label_units(is_member, groups)
        features = blind_features([r for r, _ in listed], on_progress=on_progress)
        result = blind_test(
            features.blocks,
            features.scores,
            is_member,
            rng=rng,
            groups=groups,
            n_permutations=n_permutations,
        )
    except UnderPowered as error:
        return BlindBaseline(ControlResult("blind", ControlStatus.NOT_RUN, f"{error}."), {}, None)
    dropped = len(members) + len(nonmembers) - len(listed)
    control = _judge(result, dropped=dropped, n_permutations=n_permutations)
    scores = {r.id: float(s) for (r, _), s in zip(listed, result.record_scores, strict=True)}
    return BlindBaseline(control, scores, result)


def blind_features(
    records: Sequence[Record], *, on_progress: Callable[[int, int], None] | None = None
) -> BlindFeatures:
    """Features of records without their labels; each image is opened once."""
    pixels = np.empty((len(records), 3 * _SMALL**2))
    textures = []
    for i, record in enumerate(records):
        with record.open() as image:
            pixels[i], texture = _look(image)
        textures.append(texture)
        if on_progress is not None:
            on_progress(i + 1, len(records))
    components = principal_components(pixels, COMPONENTS)
    metadata, sizes = _metadata(records)
    blocks = {"pixels": with_squares(components), "metadata": metadata}
    scores = {name: np.array([t[name] for t in textures]) for name in textures[0]} | sizes
    scores["distance to mean"] = np.linalg.norm(pixels - pixels.mean(axis=0), axis=1)
    scores["outlier distance"] = np.linalg.norm(components, axis=1)
    if any(r.subject for r in records):  # a maximum over more records is larger
        counts = Counter(r.subject for r in records if r.subject)
        scores["records of the subject"] = np.array(
            [float(counts[r.subject or ""] or 1) for r in records]
        )
    captions = [r.caption or "" for r in records]
    if any(captions):
        blocks["captions"] = caption_features(captions)
        scores["caption length"] = np.array([float(len(c)) for c in captions])
    return BlindFeatures(blocks, {k: v for k, v in scores.items() if np.ptp(v) > 0})


def principal_components(features: Floats, n_components: int) -> Floats:
    """(n, k <= n_components) whitened principal components of (n, d) features, largest first."""
    centred = features - features.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    top = np.argsort(-values, kind="stable")[:n_components]
    top = top[values[top] > 1e-8 * max(float(values.max()), 1e-12)]
    return (centred @ vectors[:, top]) / np.sqrt(values[top])


def with_squares(features: Floats) -> Floats:
    """(n, 2 d') standardised features and their standardised squares; constant ones are left out."""
    linear = _standardised(features)
    return np.hstack([linear, _standardised(linear**2)])


def caption_features(captions: Sequence[str]) -> Floats:
    """(n, d) tf-idf of words and pairs of words, and the style: length, capitals, digits, marks."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = [(len(c), len(c.split()), *_shares(c)) for c in captions]
    style = unit_block(with_squares(np.array(counts, dtype=float)))
    words = TfidfVectorizer(
        ngram_range=(1, 2), max_features=TERMS, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"
    )
    try:
        terms = words.fit_transform(captions).toarray()
    except ValueError:  # no word in any caption: scikit-learn refuses an empty vocabulary
        return style
    return np.hstack([unit_block(terms), style])


def _look(image: Image.Image) -> tuple[Floats, dict[str, float]]:
    """(768,) small pixels in [0, 1] and the complexity of one RGB image."""
    small = np.asarray(image.resize((_SMALL, _SMALL), Image.Resampling.BOX), dtype=float) / 255
    medium = image.resize((_MEDIUM, _MEDIUM), Image.Resampling.BOX)
    left, top = max(0, (image.width - _CROP) // 2), max(0, (image.height - _CROP) // 2)
    crop = image.crop((left, top, min(left + _CROP, image.width), min(top + _CROP, image.height)))
    grey = np.asarray(medium.convert("L"), dtype=float) / 255
    detail = np.asarray(crop.convert("L"), dtype=float) / 255
    return small.ravel(), {
        "compressed size": float(len(zlib.compress(medium.tobytes()))),
        "compressed detail": len(zlib.compress(crop.tobytes())) / detail.size,
        "mean": float(grey.mean()),
        "contrast": float(grey.std()),
        "colourfulness": float(np.mean(small.max(axis=2) - small.min(axis=2))),
        "total variation": _total_variation(grey),
        "sharpness": _total_variation(detail),
    }


def _total_variation(grey: Floats) -> float:
    """Mean absolute difference of neighbouring pixels of a (height, width) image."""
    pairs = max(1, grey[1:].size + grey[:, 1:].size)
    steps = np.abs(np.diff(grey, axis=0)).sum() + np.abs(np.diff(grey, axis=1)).sum()
    return float(steps) / pairs


def _metadata(records: Sequence[Record]) -> tuple[Floats, dict[str, Floats]]:
    """(n, d) block of file properties, and two of them as (n,) scores."""
    shape = np.array([(r.width, r.height) for r in records], dtype=float)
    n_bytes = np.array([r.n_bytes or 0 for r in records], dtype=float)
    area = shape.prod(axis=1)
    numbers = np.log1p(np.column_stack([shape, area, n_bytes, n_bytes / np.maximum(area, 1)]))
    aspect = np.log(np.maximum(shape[:, :1], 1) / np.maximum(shape[:, 1:], 1))
    kinds = [_one_hot([r.mode for r in records]), _one_hot([r.format for r in records])]
    block = np.hstack([with_squares(np.hstack([numbers, aspect])), *kinds])
    return block, {"pixels": area, "file size": n_bytes}


def _one_hot(values: Sequence[Any]) -> Floats:
    """(n, k) standardised indicators of the distinct values."""
    _, codes = np.unique([str(v or "") for v in values], return_inverse=True)
    return _standardised(np.eye(codes.max() + 1)[codes])


def _shares(text: str) -> tuple[float, float, float]:
    """Shares of capitals, digits and punctuation among the characters of a caption."""
    n = max(1, len(text))
    marks = sum(not (c.isalnum() or c.isspace()) for c in text)
    return sum(map(str.isupper, text)) / n, sum(map(str.isdigit, text)) / n, marks / n


def _standardised(features: Floats) -> Floats:
    """Columns with mean 0 and deviation 1, without those that are constant."""
    deviation = features.std(axis=0)
    varies = deviation > 1e-9 * np.maximum(1.0, np.abs(features).max(axis=0, initial=0.0))
    return (features[:, varies] - features[:, varies].mean(axis=0)) / deviation[varies]


def _subset(side: Sequence[Record], rng: np.random.Generator) -> list[Record]:
    """The records of one side, or a random 5,000 of them, whatever order they came in."""
    ordered = sorted(side, key=lambda record: record.id)
    if len(ordered) <= MAX_PER_SIDE:
        return ordered
    chosen = rng.choice(len(ordered), MAX_PER_SIDE, replace=False)
    return [ordered[i] for i in np.sort(chosen)]


def _judge(result: BlindResult, *, dropped: int, n_permutations: int) -> ControlResult:
    """The control's status by its p-value, with the sentence that says why."""
    tail, count = max(result.tail.items(), key=lambda item: item[1], default=("none", 0))
    by_average = result.p_z <= result.p_tail
    if by_average:
        evidence = f"{result.strongest} has AUC {result.auc[result.strongest]:.3f}"
    else:
        evidence = f"{count} members lie beyond the third most extreme nonmember in {tail}"
    sizes = f"{result.n_members:,} members and {result.n_nonmembers:,} nonmembers"
    sizes = f"a random subset of {sizes}" if dropped else sizes
    if result.p <= ALPHA_INVALID:
        status, meaning = ControlStatus.FAILED, "differ without the model: confounded"
    elif result.p <= ALPHA_WARNING:
        status, meaning = ControlStatus.WARNING, "may differ without the model"
    else:
        status, meaning = ControlStatus.PASSED, "could not be told apart without the model"
    figures: dict[str, float | int | str | bool | None] = {
        "p": result.p,
        "p_z": result.p_z,
        "p_tail": result.p_tail,
        "n_members": result.n_members,
        "n_nonmembers": result.n_nonmembers,
        "n_units": result.n_units,
        "records_left_out": dropped,
        "permutations": n_permutations,
        "strongest": result.strongest,
        "tail": tail,
        "tail_members": count,
    }
    figures |= {f"auc:{name}": auc for name, auc in result.auc.items()}
    summary = f"{sizes} {meaning} ({evidence}; p = {result.p:.2g})."
    return ControlResult("blind", status, summary[0].upper() + summary[1:], figures)
