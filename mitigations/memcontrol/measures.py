"""The two figures of a trial: how much it memorized, and how good it is.

Both are measured at fixed timesteps with fixed noises, and on images of fixed seeds, so that the
same network always gets the same figures; no caption is dropped. Of each, smaller is better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.extraction.distances import rms
from attacks.extraction.replication import similarity_threshold
from attacks.quality import PixelFeatures, fid, fit_pixel_features, kid
from mitigations.material import Examples
from mitigations.memcontrol.config import MemControlConfig
from mitigations.memcontrol.parts import Parts, Side

if TYPE_CHECKING:
    from torch import Tensor

HIGH = 0.9
"""Quantile of `magnitude_high`."""
COPY_FPR = 0.05
"""Share of the untrained model's images for held-out captions that count as copies."""
COPY_SEEDS = 2
"""Images drawn for each caption when copies are counted."""


class Measured(NamedTuple):
    """One figure, and what it is the summary of."""

    value: float
    each: NDArray[np.float64] | None
    """(n,) by record; None for a figure of a whole set."""
    slack: float = 0.0
    """Half the width of its own 95 % interval, where it has one."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Fixed when a search begins, from the untrained model and the data."""

    config: MemControlConfig
    batch_size: int
    """Rows of a forward call."""
    features: PixelFeatures | None
    """Of drawn images; None where none are drawn for quality."""
    copy_threshold: float | None
    """Similarity above which an image copies its record; None where copies are not counted."""

    def memorization(self, view: Any, side: Side, seed: int, metric: str | None = None) -> Measured:
        """Memorization of the records at risk; seed: of noises and images."""
        name = metric or self.config.memorization
        if name in ("magnitude", "magnitude_high"):
            each = magnitudes(view, side.memorized, self._probe(view, seed))
            is_high = name == "magnitude_high"
            value = float(np.quantile(each, HIGH) if is_high else each.mean())
            return Measured(value, each)
        if name == "gap":
            probe = self._probe(view, seed)
            others = losses(view, side.held_out, probe).mean()
            each = others - losses(view, side.memorized, probe)
            return Measured(float(each.mean()), each)
        each = self._copied(view, side.memorized, seed)
        return Measured(float(each.mean()), each)

    def quality(self, view: Any, side: Side, seed: int) -> Measured:
        """Quality on held-out records."""
        if self.config.quality == "loss":
            each = losses(view, side.held_out, self._probe(view, seed))
            return Measured(float(each.mean()), each)
        assert self.features is not None
        drawn = _drawn(view, side.held_out, self.config, self.config.images, seed, self.batch_size)
        real = self.features(_pictures(view, side.held_out.inputs).transpose(0, 3, 1, 2))
        made = self.features(drawn.transpose(0, 3, 1, 2))
        if self.config.quality == "fid":
            return Measured(
                fid(real, made, rng=np.random.default_rng(seed), halvings=0).value, None
            )
        found = kid(real, made).estimate
        assert found.value is not None
        slack = 0.0 if found.high is None else found.high - found.value
        return Measured(found.value, None, slack)

    def _copied(self, view: Any, examples: Examples, seed: int) -> NDArray[np.float64]:
        """(n,) share of the images for each caption that copy its record."""
        assert self.copy_threshold is not None
        alike = _likeness(view, examples, self.config, seed, self.batch_size)
        return (alike > self.copy_threshold).mean(axis=1)

    def _probe(self, view: Any, seed: int) -> Probe:
        last = view.capabilities.n_timesteps - 1
        timesteps = tuple(min(t, last) for t in self.config.timesteps)
        return Probe(timesteps, self.config.noises, seed, self.batch_size)


def measures_of(base: Any, parts: Parts, config: MemControlConfig, batch_size: int) -> Measures:
    """What is fixed before any training: features and the threshold of a copy.

    base: the untrained model. Features are fitted on members, which no quality is measured on;
    the threshold comes from images that the untrained model draws for held-out captions.
    """
    features = threshold = None
    if config.quality in ("kid", "fid"):
        features = fit_pixel_features(_pictures(base, parts.trained.inputs).transpose(0, 3, 1, 2))
    if config.memorization == "copies":
        alike = _likeness(base, parts.search.held_out, config, 0, batch_size)
        threshold = similarity_threshold(alike.ravel(), COPY_FPR).value
    return Measures(config, batch_size, features, threshold)


class Probe(NamedTuple):
    """Where a network is asked."""

    timesteps: tuple[int, ...]
    noises: int
    """Noises at each timestep."""
    seed: int
    batch_size: int


def magnitudes(view: Any, examples: Examples, probe: Probe) -> NDArray[np.float64]:
    """(n,) mean L2 norm of eps(x_t, t, caption) - eps(x_t, t, "") (Wen et al., arXiv:2407.21720).

    Higher where the caption decides the image: memorized records.
    """
    import torch

    def norms(rows: Tensor, noised: Tensor, noise: Tensor, at: Tensor, given: Any) -> Tensor:
        nothing = view.embed_nothing().rows(torch.zeros_like(rows))
        difference = view.predict(noised, at, given) - view.predict(noised, at, nothing)
        return difference.flatten(1).norm(dim=1)

    return _averaged(view, examples, probe, norms)


def losses(view: Any, examples: Examples, probe: Probe) -> NDArray[np.float64]:
    """(n,) mean square error of the predicted noise."""

    def errors(rows: Tensor, noised: Tensor, noise: Tensor, at: Tensor, given: Any) -> Tensor:
        return (view.predict(noised, at, given) - noise).square().flatten(1).mean(1)

    return _averaged(view, examples, probe, errors)


def _averaged(view: Any, examples: Examples, probe: Probe, figure: Any) -> NDArray[np.float64]:
    """(n,) mean of a figure over timesteps and noises."""
    import torch

    captions = view.embed(list(examples.captions))
    total = torch.zeros(len(examples), dtype=torch.float64)
    asked = 0
    for t, noise in _noises(examples.inputs.shape, probe):
        asked += 1
        abar = float(view.alphas_cumprod[t])
        drawn = torch.from_numpy(noise).to(examples.inputs.device)
        noised = abar**0.5 * examples.inputs + (1 - abar) ** 0.5 * drawn
        everything = torch.arange(len(examples), device=examples.inputs.device)
        for rows in everything.split(probe.batch_size):
            at = torch.full((len(rows),), t, device=rows.device)
            given = None if captions is None else captions.rows(rows)
            values = figure(rows, noised[rows], drawn[rows], at, given)
            total[rows.cpu()] += values.double().cpu()
    return np.asarray(total / asked)


def _noises(shape: Any, probe: Probe) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for t in probe.timesteps:
        for repetition in range(probe.noises):
            rng = np.random.default_rng([probe.seed, t, repetition])
            yield t, rng.standard_normal(tuple(shape), dtype=np.float32)


def _drawn(
    view: Any, examples: Examples, config: MemControlConfig, n: int, seed: int, batch_size: int
) -> NDArray[np.float64]:
    """(n, h, w, c) images in [0, 1] for the captions in turn."""
    captions = [examples.captions[i % len(examples)] for i in range(n)]
    images = view.draw_images(
        captions,
        [int(s) for s in np.random.default_rng([seed, 7]).integers(2**31, size=n)],
        steps=config.image_steps,
        guidance=config.guidance,
        batch_size=batch_size,
    )
    return np.asarray(images, dtype=np.float64) / 255


def _likeness(
    view: Any, examples: Examples, config: MemControlConfig, seed: int, batch_size: int
) -> NDArray[np.float64]:
    """(n, s) negative distance of images drawn for each caption to the caption's own record."""
    n = len(examples)
    drawn = _drawn(view, examples, config, n * COPY_SEEDS, seed, batch_size)
    own = np.tile(_pictures(view, examples.inputs), (COPY_SEEDS, 1, 1, 1))
    return -rms(drawn, own).values.reshape(COPY_SEEDS, n).T


def _pictures(view: Any, inputs: Tensor) -> NDArray[np.float64]:
    """(n, h, w, c) records in [0, 1] as the model can show them."""
    parts = [view.decode(part) for part in inputs.split(64)]
    return np.concatenate([np.asarray(p.float().cpu(), dtype=np.float64) for p in parts]).transpose(
        0, 2, 3, 1
    )
