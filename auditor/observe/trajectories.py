"""Records what detectors ask of the way to an image: one trajectory for all, cached, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.detection.bright_ending import local_magnitudes, resized
from attacks.detection.edge_consistency import SIDE, edge_mask, packed
from attacks.errors import TargetError
from attacks.observations.prompts import (
    EndingMask,
    FirstAttention,
    FirstChange,
    FirstEdges,
    FirstResidual,
    LateAttention,
    LocalMagnitudes,
    TextMagnitudes,
    TrajectoryRequest,
)
from auditor.observe import generation
from auditor.observe.cross_attention import CrossAttention, recorded_attention
from auditor.observe.generation import GenerationExecutor
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.sampling import Batch, Draw, Sampling, Step, Watcher, draws_key, follow

Answers = dict[TrajectoryRequest, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """How far one trajectory must be followed for some requests."""

    sampling: Sampling
    n_steps: int

    @property
    def calls(self) -> int:
        """Forward calls of one draw."""
        return self.n_steps * (2 if self.sampling.is_guided else 1)


def route(requests: Sequence[TrajectoryRequest], guidance: float) -> Route:
    """The shortest trajectory that answers all; without guidance where none asks for it."""
    (steps,) = {request.steps for request in requests}
    is_guided = any(request.needs_empty_text for request in requests)
    return Route(
        Sampling(steps, guidance if is_guided else 1.0),
        max(request.followed for request in requests),
    )


class Recorder(Watcher):
    """Reduces every step to what the requests keep; the tensors of a step are not kept."""

    def __init__(
        self,
        target: DiffusionTarget,
        requests: Sequence[TrajectoryRequest],
        route: Route,
        ends: dict[str, int],
        attention: CrossAttention | None,
    ):
        self._target = target
        self._requests = tuple(requests)
        self._route = route
        self._ends = ends
        self._attention = attention
        self._parts: dict[TrajectoryRequest, list[NDArray[Any]]] = {r: [] for r in requests}
        self._keeps_squares = any(isinstance(r, LocalMagnitudes) for r in requests)

    def begins(self, batch: Batch) -> None:
        """Tell the attention which rows and which token matter."""
        self._magnitudes: list[NDArray[np.float64]] = []
        self._squares: list[NDArray[np.float32]] = []
        self._late: dict[int, NDArray[np.float32]] = {}
        if self._attention is not None:
            self._attention.n_rows = len(batch.draws)
            self._attention.ends = None
            at = [self._ends[draw.prompt] for draw in batch.draws]
            self._batch_ends = torch.tensor(at, device=self._target.device)
            self._look_ahead(0)

    def step(self, step: Step) -> None:
        """Reduce one step."""
        if step.number == 0:
            for request in self._requests:
                self._first(request, step)
        if step.unconditional is not None:
            self._difference(step.conditional - step.unconditional)
        if self._attention is not None:
            self._late[step.number] = _array(self._attention.shares().mean(dim=1))
            self._look_ahead(step.number + 1)

    def ends(self, batch: Batch, clean: Tensor) -> None:
        """Put together what needs the whole trajectory."""
        if self._attention is not None and any(
            isinstance(r, LocalMagnitudes | EndingMask) for r in self._requests
        ):
            mask = self._mask()
        for request in self._requests:
            match request:
                case TextMagnitudes():
                    answer: NDArray[Any] = np.stack(self._magnitudes[: request.end], axis=1)
                case LateAttention():
                    steps = range(request.begin, request.steps)
                    answer = np.stack([self._late[i] for i in steps], axis=1)
                case LocalMagnitudes():
                    squares = np.stack(self._squares, axis=1)
                    answer = local_magnitudes(squares, resized(mask, *squares.shape[-2:]))
                case EndingMask():
                    answer = mask.astype(np.float16)
                case _:
                    continue
            self._parts[request].append(answer)

    def answers(self) -> Answers:
        """Request -> (n, ...) over all batches."""
        return {request: np.concatenate(parts) for request, parts in self._parts.items()}

    def _first(self, request: TrajectoryRequest, step: Step) -> None:
        match request:
            case FirstResidual():
                answer: NDArray[Any] = _array(step.conditional - step.inputs).astype(np.float16)
            case FirstAttention():
                assert self._attention is not None
                answer = _array(self._attention.shares())
            case FirstChange():
                moved = step.inputs - self._after_one_step(step)
                answer = _array(moved.double().square().mean(dim=(1, 2, 3)))
            case FirstEdges():
                answer = _edges(self._target.decode(self._after_one_step(step)))
            case _:
                return
        self._parts[request].append(answer)

    def _after_one_step(self, step: Step) -> Tensor:
        """x_0hat of the guided prediction."""
        assert step.unconditional is not None
        difference = step.conditional - step.unconditional
        predicted = step.unconditional + self._route.sampling.guidance * difference
        timesteps = torch.full((len(predicted),), step.t, device=predicted.device)
        at = self._target.coefficients.at(timesteps)
        return (step.inputs - at.noise * predicted) / at.signal

    def _difference(self, difference: Tensor) -> None:
        squares = difference.double().square().sum(dim=1)
        self._magnitudes.append(_array(squares.sum(dim=(1, 2)).sqrt()))
        if self._keeps_squares:
            self._squares.append(_array(squares.float()))

    def _look_ahead(self, number: int) -> None:
        """Maps are kept at the last step alone."""
        assert self._attention is not None
        is_last = number == self._route.sampling.steps - 1
        self._attention.ends = self._batch_ends if is_last else None

    def _mask(self) -> NDArray[np.float64]:
        """(n, h, w) attention to the end token, mean over the bright layers."""
        assert self._attention is not None
        maps = torch.stack(list(self._attention.maps.values())).mean(dim=0)
        _, height, width = self._target.input_shape
        factor = max(1, round((height * width / maps.shape[1]) ** 0.5))
        shape = height // factor, width // factor
        if shape[0] * shape[1] != maps.shape[1]:
            raise TargetError(
                "the attention maps do not fit the input; use a --resolution that is a multiple "
                "of the model's own, or leave out bright_ending"
            )
        return _array(maps).reshape(-1, *shape).astype(np.float64)


@dataclass
class TrajectoryExecutor(GenerationExecutor):
    """Follows the draws of prompts once for all requests; halves and resumes as for images."""

    def record(
        self,
        draws: Sequence[Draw],
        requests: Sequence[TrajectoryRequest],
        guidance: float,
        ends: dict[str, int],
    ) -> Answers:
        """Request -> (n, ...) over all draws; ends: position of the end token by prompt."""
        parts: dict[TrajectoryRequest, list[NDArray[Any]]] = {r: [] for r in requests}
        whole = route(requests, guidance)
        for start in range(0, len(draws), generation.SHARD_DRAWS):
            shard = draws[start : start + generation.SHARD_DRAWS]
            answers = self._recorded(shard, requests, whole, ends)
            for request in requests:
                parts[request].append(answers[request])
            self.progress.advance(len(shard))
        return {request: np.concatenate(found) for request, found in parts.items()}

    def _recorded(
        self,
        shard: Sequence[Draw],
        requests: Sequence[TrajectoryRequest],
        whole: Route,
        ends: dict[str, int],
    ) -> Answers:
        answers: Answers = {}
        names = {r: draws_key(shard, Sampling(r.steps, 1.0)) for r in requests}
        for request in requests if self.cache else ():
            stored = self.cache.load(request, names[request]) if self.cache else None
            if stored is not None and len(stored) == len(shard):
                answers[request] = stored
        missing = [request for request in requests if request not in answers]
        made = self.usage.n_calls
        if missing:
            path = route(missing, whole.sampling.guidance)
            fresh = self.in_memory(lambda rows: self._follow(shard, missing, path, ends, rows))
            _check_finite(fresh)
            for request, answer in fresh.items():
                if self.cache:
                    self.cache.store(request, names[request], answer)
            answers |= fresh
        self.usage.n_calls_cached += max(0, whole.calls * len(shard) - (self.usage.n_calls - made))
        return answers

    def _follow(
        self,
        shard: Sequence[Draw],
        requests: Sequence[TrajectoryRequest],
        path: Route,
        ends: dict[str, int],
        rows: int,
    ) -> Answers:
        looks = any(request.needs_attention for request in requests)
        with recorded_attention(self.target.unet) if looks else nullcontext() as attention:
            recorder = Recorder(self.target, requests, path, ends, attention)
            follow(
                self.target,
                shard,
                path.sampling,
                n_steps=path.n_steps,
                batch_size=rows,
                watcher=recorder,
                on_calls=self._count,
            )
        return recorder.answers()


def _edges(images: Tensor) -> NDArray[np.uint8]:
    """(n, 8192) packed edge masks of images (n, channels, h, w) in [0, 1]."""
    from PIL import Image

    levels = (images.permute(0, 2, 3, 1).float().cpu().numpy() * 255).round().astype(np.uint8)
    masks = []
    for picture in levels:
        whole = Image.fromarray(picture.squeeze()).convert("RGB")
        resized_picture = whole.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        masks.append(edge_mask(np.asarray(resized_picture) / 255))
    return packed(np.stack(masks))


def _array(tensor: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = tensor.detach().cpu().numpy()
    return found


def _check_finite(answers: Answers) -> None:
    for request, answer in answers.items():
        if not np.isfinite(answer).all():
            raise TargetError(
                f"the model gave NaN or infinity ({request.kind}); use --precision fp32, and "
                "check that the weights are complete"
            )
