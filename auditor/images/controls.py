"""Controls of a scan of images: are planted copies found, and are held-out pictures left alone?"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attacks.results import ControlResult, ControlStatus
from attacks.statistics.rates import lower_limit
from auditor.images.sets import ImageSets
from auditor.matching import Matcher
from auditor.progress import Progress
from auditor.records.identity import keyed_rank
from auditor.wording import percent

N_PLANTED = 40
"""Training records that are planted, each in every way."""
CROP, JPEG_QUALITY, NOISE = 0.9, 50, 0.02
"""Share of each side that is kept, quality, and standard deviation in [0, 1]."""
WAYS = ("JPEG", "crop", "noise")
TOLERATED = 0.01
"""Share of held-out pictures that may be claimed before the matcher cannot be trusted."""


def planted(picture: Image.Image, way: str, rng: np.random.Generator) -> Image.Image:
    """A slightly changed copy of an RGB picture: one of WAYS."""
    if way == "JPEG":
        content = io.BytesIO()
        picture.save(content, format="JPEG", quality=JPEG_QUALITY)
        return Image.open(content).convert("RGB")
    if way == "crop":
        width, height = picture.size
        left, top = rng.random(2) * (1 - CROP)
        box = (left * width, top * height, (left + CROP) * width, (top + CROP) * height)
        return picture.resize(picture.size, Image.Resampling.BICUBIC, box=box)
    pixels = np.asarray(picture, dtype=np.float64) / 255
    noisy = np.clip(pixels + NOISE * rng.standard_normal(pixels.shape), 0, 1)
    return Image.fromarray(np.round(noisy * 255).astype(np.uint8))


def positive_control(
    matcher: Matcher,
    sets: ImageSets,
    limit: float,
    least_share: float,
    seed: int,
    progress: Progress,
) -> ControlResult:
    """Plant changed copies of training records, and count those that are claimed rightly.

    limit: largest distance of a copy; least_share: of the planted copies of every kind that have to
    be matched with their own record, or one of its near-duplicates, at that distance.
    """
    order = sorted(
        range(len(sets.training)), key=lambda i: keyed_rank("plant", seed, sets.training[i].pixels)
    )
    chosen = np.array(order[:N_PLANTED], np.int64)
    rng = np.random.default_rng((seed, 0x706C616E74))
    progress.stage("planting copies", len(WAYS) * len(chosen), "pictures")
    pictures = [planted(sets.training[i].open(), way, rng) for way in WAYS for i in chosen]
    found = matcher.match_pictures(pictures, progress)
    own = np.tile(sets.groups[chosen], len(WAYS))
    is_own = (found.record >= 0) & (sets.groups[found.record] == own)
    counts_of = (is_own & (found.distance <= limit)).reshape(len(WAYS), -1).sum(axis=1)
    figures: dict[str, float | int | str | bool | None] = {"n_planted": len(chosen)}
    figures |= {f"found_{way.lower()}": int(n) for way, n in zip(WAYS, counts_of, strict=True)}
    counts = ", ".join(f"{figures[f'found_{way.lower()}']} ({way})" for way in WAYS)
    is_caught = int(counts_of.min()) >= least_share * len(chosen)
    text = (
        f"Of {len(chosen)} training records planted as changed copies, {counts} were found; "
        f"{percent(least_share)} of each kind are required."
    )
    status = ControlStatus.PASSED if is_caught else ControlStatus.FAILED
    return ControlResult("positive", status, text, figures | {"required_share": least_share})


def negative_control(is_claimed: NDArray[np.bool_] | None) -> ControlResult:
    """Are held-out pictures, which cannot have been copied, claimed as copies?

    is_claimed: (b,) for those that no threshold was taken from; None without a background.
    """
    if is_claimed is None:
        return ControlResult(
            "negative", ControlStatus.NOT_RUN, "Not run: no held-out pictures (--background)."
        )
    n, k = is_claimed.size, int(is_claimed.sum())
    low = float(lower_limit(k, n, alpha=0.05))
    figures: dict[str, float | int | str | bool | None] = {"n": n, "n_claimed": k, "low": low}
    text = f"{k} of {n:,} held-out pictures are claimed as copies"
    if k == 0:
        return ControlResult("negative", ControlStatus.PASSED, f"{text}.", figures)
    if low > TOLERATED:
        text += ", more than chance allows: pictures of this kind are too alike to be told apart."
        return ControlResult("negative", ControlStatus.FAILED, text, figures)
    text += "; they may be copies of training records that were overlooked."
    return ControlResult("negative", ControlStatus.WARNING, text, figures)


def passed(controls: Sequence[ControlResult], name: str) -> bool:
    """Whether a control passed."""
    return any(c.name == name and c.status is ControlStatus.PASSED for c in controls)
