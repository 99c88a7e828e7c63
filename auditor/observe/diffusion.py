"""Answers every request about one shard of records with as few forward calls as possible.

The arithmetic of each kind is defined in `attacks.observations`; DDIM steps are the deterministic
ones of Song et al. (arXiv:2010.02502, eq. 12 with sigma = 0). Rows of different records,
timesteps and conditions share a batch; sums are taken in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from attacks.observations import (
    NORMS,
    CleanNorms,
    GradientNorms,
    NoiseError,
    ProximalError,
    Request,
    StepError,
    StepResidual,
    VariationDistance,
)
from attacks.protocols import NoisePredictor
from auditor.observe.noise import noise
from auditor.observe.similarity import ssim
from auditor.observe.texts import condition_text

GAUSSIAN_MEAN_ABS = (2 / np.pi) ** 0.5  # E|N(0, 1)|


class Row(NamedTuple):
    """One forward call: a record, a timestep, a text."""

    record: int
    t: int
    condition: str


@dataclass
class ShardObserver:
    """One shard of records in front of one predictor; computes each prediction once.

    `batch_size` is in rows (images). `on_calls` is told the rows of every finished batch.
    """

    predictor: NoisePredictor
    images: Sequence[Image.Image]
    captions: Sequence[str]
    ids: Sequence[str]
    batch_size: int
    seed: int
    on_calls: Callable[[int], None] = lambda rows: None
    _inputs: dict[float, Tensor] = field(default_factory=dict)
    _texts: dict[str, int] = field(default_factory=dict)
    _conditioning: Any = None
    _clean: dict[str, Tensor] = field(default_factory=dict)

    def observe(self, requests: Sequence[Request]) -> dict[Request, NDArray[np.floating]]:
        """Answers to requests (with their requirements), arrays with axis 0 over the shard."""
        self._embed({c for r in requests if (c := getattr(r, "condition", None))})
        self._keep_clean = {
            r.condition for r in requests if isinstance(r, ProximalError | StepError)
        }
        answers: dict[Request, NDArray[np.floating]] = {}
        answers |= self._noise_errors([r for r in requests if isinstance(r, NoiseError)])
        answers |= self._clean_norms([r for r in requests if isinstance(r, CleanNorms)])
        answers |= self._proximal([r for r in requests if isinstance(r, ProximalError)])
        residuals = {r for r in requests if isinstance(r, StepResidual)}
        for step in (r for r in requests if isinstance(r, StepError)):
            answers |= self._secmi(step, residuals)
        for variation in (r for r in requests if isinstance(r, VariationDistance)):
            answers[variation] = self._variations(variation)
        for gradient in (r for r in requests if isinstance(r, GradientNorms)):
            answers[gradient] = self._gradient_norms(gradient)
        return answers

    def _gradient_norms(self, request: GradientNorms) -> NDArray[np.floating]:
        """(n, p) one record after another: gradients of several would be added up."""
        steps = torch.tensor(request.timesteps, device=self.predictor.device)
        found = []
        for i, clean in enumerate(self._clean_inputs()):
            conditioning = self._conditioning_of(
                [Row(i, t, request.condition) for t in request.timesteps]
            )
            norms = self.predictor.gradient_norms(
                clean,
                self._noise([(i, t, 0) for t in request.timesteps]),
                steps,
                conditioning,
                each=request.each,
                batch_size=self.batch_size,
            )
            self.on_calls(len(steps))
            found.append(norms)
        return np.stack(found)

    def _conditioning_of(self, rows: Sequence[Row]) -> Any:
        """Conditioning of rows, None for a model that takes no text."""
        if self._conditioning is None:
            return None
        texts = [condition_text(self.captions[r.record], r.condition) for r in rows]
        index = torch.tensor([self._texts[t] for t in texts], device=self.predictor.device)
        return self._conditioning.rows(index)

    def _clean_inputs(self, crop: float = 1.0) -> Tensor:
        if crop not in self._inputs:
            parts = [
                self.predictor.prepare(self.images[i : i + self.batch_size], crop)
                for i in range(0, len(self.images), self.batch_size)
            ]
            self._inputs[crop] = torch.cat(parts)
        return self._inputs[crop]

    def _embed(self, conditions: set[str]) -> None:
        texts = [condition_text(text, c) for c in sorted(conditions) for text in self.captions]
        self._texts = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        self._conditioning = self.predictor.embed(list(self._texts))

    def _predict(self, inputs: Tensor, rows: Sequence[Row]) -> Tensor:
        timesteps = torch.tensor([row.t for row in rows], device=self.predictor.device)
        predicted = self.predictor.predict(inputs, timesteps, self._conditioning_of(rows))
        self.on_calls(len(rows))
        return predicted

    def _batches(self, n_rows: int) -> Iterator[slice]:
        for start in range(0, n_rows, self.batch_size):
            yield slice(start, min(start + self.batch_size, n_rows))

    def _coefficients(self, ts: Sequence[int]) -> tuple[Tensor, Tensor]:
        abar = torch.from_numpy(self.predictor.alphas_cumprod[list(ts)]).reshape(-1, 1, 1, 1)
        device = self.predictor.device
        return abar.sqrt().float().to(device), (1 - abar).sqrt().float().to(device)

    def _noise(self, keys: Sequence[tuple[int, int, int]]) -> Tensor:
        shape = self.predictor.input_shape
        drawn = [noise(self.seed, self.ids[i], t, repetition, shape) for i, t, repetition in keys]
        return torch.from_numpy(np.stack(drawn)).to(self.predictor.device)

    def _noise_errors(self, requests: Sequence[NoiseError]) -> dict[Request, NDArray[np.floating]]:
        pairs = [(request, i) for request in requests for i in range(len(self.ids))]
        errors = np.empty(len(pairs))
        for part in self._batches(len(pairs)):
            batch = pairs[part]
            true = self._noise([(i, r.t, r.repetition) for r, i in batch])
            clean = torch.stack([self._clean_inputs(r.crop)[i] for r, i in batch])
            signal, scale = self._coefficients([r.t for r, _ in batch])
            rows = [Row(i, r.t, r.condition) for r, i in batch]
            predicted = self._predict(signal * clean + scale * true, rows)
            errors[part] = _mean_power(predicted - true, 2)
        return dict(zip(requests, errors.reshape(len(requests), len(self.ids)), strict=True))

    def _clean_norms(self, requests: Sequence[CleanNorms]) -> dict[Request, NDArray[np.floating]]:
        answers: dict[Request, NDArray[np.floating]] = {}
        for request in requests:
            predictions = self._chain_step(self._clean_inputs(), request.t, request.condition)
            answers[request] = _norms(predictions)
            if request.t == 0 and request.condition in self._keep_clean:
                self._clean[request.condition] = predictions
        return answers

    def _proximal(self, requests: Sequence[ProximalError]) -> dict[Request, NDArray[np.floating]]:
        pairs = [(request, i) for request in requests for i in range(len(self.ids))]
        norms = np.empty((len(pairs), len(NORMS)))
        for part in self._batches(len(pairs)):
            batch = pairs[part]
            first = torch.stack(
                [_rescaled(self._clean[r.condition][i], r.normalisation) for r, i in batch]
            )
            clean = torch.stack([self._clean_inputs()[i] for _, i in batch])
            signal, scale = self._coefficients([r.t for r, _ in batch])
            rows = [Row(i, r.t, r.condition) for r, i in batch]
            norms[part] = _norms(first - self._predict(signal * clean + scale * first, rows))
        shaped = norms.reshape(len(requests), len(self.ids), len(NORMS))
        return dict(zip(requests, shaped, strict=True))

    def _secmi(
        self, request: StepError, residuals: set[StepResidual]
    ) -> dict[Request, NDArray[np.floating]]:
        t, k, condition = request.t, request.k, request.condition
        state = self._ddim(self._clean_inputs(), self._clean[condition], 0, k)
        for s in range(k, t, k):
            state = self._ddim(state, self._chain_step(state, s, condition), s, s + k)
        above = self._ddim(state, self._chain_step(state, t, condition), t, t + k)
        back = self._ddim(above, self._chain_step(above, t + k, condition), t + k, t)
        difference = back - state
        size = difference[0].numel()
        answers: dict[Request, NDArray[np.floating]] = {request: _mean_power(difference, 2) * size}
        residual = StepResidual(t=t, k=k, condition=condition)
        if residual in residuals:
            answers[residual] = difference.abs().cpu().numpy().astype(np.float16)
        return answers

    def _chain_step(self, state: Tensor, t: int, condition: str) -> Tensor:
        parts = []
        for part in self._batches(len(state)):
            rows = [Row(i, t, condition) for i in range(part.start, part.stop)]
            parts.append(self._predict(state[part], rows))
        return torch.cat(parts)

    def _ddim(self, state: Tensor, predicted: Tensor, s: int, u: int) -> Tensor:
        """The deterministic DDIM map from step s to step u with eps predicted at s."""
        signal_s, scale_s = self._coefficients([s])
        signal_u, scale_u = self._coefficients([u])
        return signal_u * (state - scale_s * predicted) / signal_s + scale_u * predicted

    def _variations(self, request: VariationDistance) -> NDArray[np.floating]:
        """(n, 2) SSIM and MSE in pixel space, one record-repetition pair a row."""
        pairs = [(i, j) for i in range(len(self.ids)) for j in range(request.n)]
        steps = [*range(request.t, 0, -request.k), 0]
        ends = torch.empty((len(pairs), *self.predictor.input_shape))
        for part in self._batches(len(pairs)):
            batch = pairs[part]
            signal, scale = self._coefficients([request.t] * len(batch))
            clean = self._clean_inputs()[[i for i, _ in batch]]
            state = signal * clean + scale * self._noise([(i, request.t, j) for i, j in batch])
            for s, u in zip(steps[:-1], steps[1:], strict=True):
                rows = [Row(i, s, request.condition) for i, _ in batch]
                state = self._ddim(state, self._predict(state, rows), s, u)
            ends[part] = state.cpu()
        return np.concatenate(
            [self._compare(part, request.n, ends) for part in self._batches(len(self.ids))]
        )

    def _compare(self, part: slice, n: int, ends: Tensor) -> NDArray[np.floating]:
        """Distances between the originals of some records and the means of their variations."""
        originals = self.predictor.decode(self._clean_inputs()[part])
        variations = ends[part.start * n : part.stop * n].to(self.predictor.device)
        decoded = torch.cat(
            [self.predictor.decode(variations[b]) for b in self._batches(len(variations))]
        )
        means = decoded.reshape(-1, n, *decoded.shape[1:]).mean(1)
        return np.stack([ssim(originals, means), _mean_power(originals - means, 2)], axis=1)


def _mean_power(values: Tensor, power: int) -> NDArray[np.float64]:
    """(n,) mean |.|^power over all axes but the first."""
    if values.device.type == "mps":  # has no float64
        values = values.cpu()
    return values.abs().double().pow(power).flatten(1).mean(1).cpu().numpy()


def _norms(values: Tensor) -> NDArray[np.float64]:
    return np.stack([_mean_power(values, p) for p in NORMS], axis=1)


def _rescaled(prediction: Tensor, normalisation: str | None) -> Tensor:
    """A prediction with the mean absolute value that PIAN asks for."""
    if normalisation is None:
        return prediction
    goal = GAUSSIAN_MEAN_ABS if normalisation == "unit" else 1 / GAUSSIAN_MEAN_ABS
    return prediction * (goal / prediction.abs().mean().clamp_min(1e-12))
