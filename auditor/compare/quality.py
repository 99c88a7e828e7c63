"""What a change costs: images that both models draw from the same captions and seeds.

They are compared with real pictures by KID and FID, and with their captions by the cosine of a
CLIP model if the configuration names one. Filters that a mitigated model declares are in force.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attacks.errors import DataError, UsageError
from attacks.quality import fid, fit_pixel_features, kid, kid_change
from attacks.results import Estimate
from attacks.statistics.means import t_interval
from auditor.config import EncoderConfig, load_config
from auditor.images.sets import read_sample
from auditor.matching import open_encoder
from auditor.observe.cache import Cache, default_cache
from auditor.observe.executor import automatic_batch_size
from auditor.observe.generation import GenerationExecutor
from auditor.prepare import reading
from auditor.progress import Progress
from auditor.records import Record, open_pictures
from auditor.records.listing import list_rows
from auditor.records.side import Side
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw, Sampling
from auditor.targets.towers import open_towers
from reports import compare_record as schema

FEWEST = 32
"""Pictures without which quality says nothing."""
PIXELS = "principal components of 16 x 16 pixels, fitted on other real pictures"
PIXEL_LIMITS = (
    "They see layout, brightness and coarse texture, not meaning, and their figures compare with "
    "no published one. Give an embedding model with --features for that."
)


@dataclass(frozen=True, slots=True)
class QualityOptions:
    """How the images of both models are drawn and compared."""

    before: str
    """The model of the first audit: a diffusers directory or a hub id."""
    after: str
    real: Path
    """Pictures that neither model needs to have seen, with captions for models that take text."""
    features: str | None = None
    """A TorchScript file or open_clip:MODEL; None compares small pixels."""
    config: Path | None = None
    """Columns of the data, and `encoder` for the agreement with captions."""
    images: int = 256
    """At most; never more than there are real pictures to compare with."""
    steps: int = 25
    guidance: float = 7.5
    """Used for models that take text."""
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    cache: Path | None = None
    fresh: bool = False


@dataclass(frozen=True)
class _Drawn:
    """What is compared; row i of before and after is of one caption and seed."""

    real: list[Image.Image]
    fit: list[Image.Image]
    """Real pictures that features are fitted on; empty if an encoder is given."""
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    captions: list[str]


def measure_quality(options: QualityOptions, progress: Progress) -> schema.Quality:
    """Draw, compare, and say how sure each difference is.

    Raises UsageError, DataError or TargetError for what cannot be compared.
    """
    if options.images < FEWEST or options.steps < 1:
        raise UsageError(
            f"quality needs at least {FEWEST} images of one step or more, got {options.images} "
            f"and {options.steps}"
        )
    config = load_config(options.config)
    side = Side("real pictures", list_rows(options.real, config.records, split=None, side="real"),
                config.records)  # fmt: skip
    models = [
        open_target(name, device=options.device, precision=options.precision)
        for name in (options.before, options.after)
    ]
    _check_alike(models)
    on_progress = reading(progress)
    side.hash_rows(on_progress)
    wanted = options.images * (2 if options.features is None else 1)
    records = read_sample(side, wanted, options.seed, on_progress).records
    drawn, sampling = _draw(options, models, records, progress)
    rows = [*_distances(options, drawn), *_agreement(config.encoder, models[0], drawn)]
    return schema.Quality(
        features=PIXELS if options.features is None else options.features,
        limits=PIXEL_LIMITS if options.features is None else "Those of the embedding model.",
        n_images=len(drawn.before),
        n_real=len(drawn.real),
        steps=sampling.steps,
        guidance=sampling.guidance,
        rows=tuple(rows),
    )


def _check_alike(models: Sequence[DiffusionTarget]) -> None:
    shapes = [(m.capabilities.resolution, m.capabilities.is_text_conditional) for m in models]
    if shapes[0] != shapes[1]:
        raise UsageError(
            "the two models differ in size or in whether they take text, so that their images do "
            "not pair; compare models of one kind"
        )


def _draw(
    options: QualityOptions,
    models: Sequence[DiffusionTarget],
    records: Sequence[Record],
    progress: Progress,
) -> tuple[_Drawn, Sampling]:
    n_fit = len(records) // 2 if options.features is None else 0
    fitted, compared = records[:n_fit], records[n_fit:]
    if len(compared) < FEWEST:
        raise DataError(
            f"the real pictures leave {len(compared)} to compare with; quality needs {FEWEST}, "
            "and as many again to fit pixel features on: give more with --real"
        )
    is_text = models[0].capabilities.is_text_conditional
    if is_text and not all(record.caption for record in compared):
        raise DataError(
            "the models take text, but some real pictures have no caption; give captions to all, "
            "or a data set that has them"
        )
    captions = [(record.caption or "") if is_text else "" for record in compared]
    draws = [Draw(caption, i) for i, caption in enumerate(captions)][: options.images]
    sampling = Sampling(
        min(options.steps, models[0].capabilities.n_timesteps), options.guidance if is_text else 1.0
    )
    images = []
    for name, model in zip(("before", "after"), models, strict=True):
        progress.stage(f"drawing with the model {name}", len(draws), "images")
        cache = Cache(
            options.cache or default_cache(), model.key, options.seed, is_fresh=options.fresh
        )
        size = automatic_batch_size(model)
        images.append(GenerationExecutor(model, size, cache, progress).images(draws, sampling))
    drawn = _Drawn(
        real=_seen(models[0], compared),
        fit=_seen(models[0], fitted),
        before=images[0],
        after=images[1],
        captions=[draw.prompt for draw in draws],
    )
    return drawn, sampling


def _seen(model: DiffusionTarget, records: Sequence[Record]) -> list[Image.Image]:
    """Real pictures, cut and resized as the model was shown its own."""
    if not records:
        return []
    return [Image.fromarray(one) for one in model.pictures(open_pictures(records))]


def _pictures(images: NDArray[np.uint8]) -> list[Image.Image]:
    return [
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
        for image in images
    ]


def _distances(options: QualityOptions, drawn: _Drawn) -> list[schema.QualityChange]:
    """KID with its paired interval, FID with its bias."""
    before, after = _pictures(drawn.before), _pictures(drawn.after)
    if options.features is None:
        fitted = fit_pixel_features(_stack(drawn.fit))
        real, first, second = (fitted(_stack(one)) for one in (drawn.real, before, after))
    else:
        encoder = open_encoder(options.features, device=options.device)
        real, first, second = (
            encoder.embed(one).astype(np.float64) for one in (drawn.real, before, after)
        )
    kids = [kid(real, one) for one in (first, second)]
    rng = np.random.default_rng((options.seed, 0x666964))
    fids = [fid(real, one, rng=rng) for one in (first, second)]
    return [
        _row(
            "KID",
            kids[0].estimate,
            kids[1].estimate,
            kid_change(real, first, second),
            "Unbiased at any size; may be below 0 by chance.",
        ),
        _row(
            "FID",
            _bare(fids[0].value),
            _bare(fids[1].value),
            _bare(fids[1].value - fids[0].value),
            _bias_note(fids[0].bias, fids[1].bias, is_singular=fids[0].is_singular, d=fids[0].d),
        ),
    ]


def _bare(value: float) -> Estimate:
    return Estimate(value, None, None, "no interval")


def _stack(pictures: Sequence[Image.Image]) -> NDArray[np.float64]:
    """(n, 3, h, w) in [0, 1]."""
    return np.stack([np.asarray(p, np.float64).transpose(2, 0, 1) / 255 for p in pictures])


def _bias_note(before: float | None, after: float | None, *, is_singular: bool, d: int) -> str:
    text = f"Biased upwards at this size, by an estimated {before or 0:.3g} before and "
    text += f"{after or 0:.3g} after"
    if is_singular:
        text += f"; fewer images than its {d} dimensions: read KID in its place"
    return text + "."


def _agreement(
    encoder: EncoderConfig | None, model: DiffusionTarget, drawn: _Drawn
) -> list[schema.QualityChange]:
    """100 times the cosine between image and caption, paired image by image."""
    if encoder is None or not model.capabilities.is_text_conditional:
        return []
    towers = open_towers(encoder.name, encoder.checkpoint, model.device)
    texts = _unit(towers.texts(drawn.captions))
    cosines = [
        100.0 * np.einsum("nd,nd->n", _unit(towers.images(_pictures(images))), texts)
        for images in (drawn.before, drawn.after)
    ]
    return [
        _row(
            "Agreement with the caption",
            t_interval(cosines[0]),
            t_interval(cosines[1]),
            t_interval(cosines[1] - cosines[0]),
            f"100 x cosine by {towers.name}; higher is better.",
            higher_is_better=True,
        )
    ]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))


def _row(
    metric: str,
    before: Estimate,
    after: Estimate,
    difference: Estimate,
    note: str,
    *,
    higher_is_better: bool = False,
) -> schema.QualityChange:
    change: schema.Change = "undecided"
    if difference.low is not None and difference.high is not None:
        rises, falls = difference.low > 0, difference.high < 0
        better, worse = (rises, falls) if higher_is_better else (falls, rises)
        change = "better" if better else "worse" if worse else "undecided"
    return schema.QualityChange(
        metric=metric, before=before, after=after, difference=difference, change=change, note=note
    )
