"""Scores of prompts: what every detector says, from one trajectory for each draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.detection import Recordings, Setting
from attacks.detection.registry import detector
from attacks.errors import InternalError
from attacks.observations.prompts import TrajectoryRequest
from auditor.observe.trajectories import Route, TrajectoryExecutor, route
from auditor.prompts.reading import Prompt
from auditor.targets.sampling import Draw
from auditor.targets.tokens import tokenize

Scores = dict[str, NDArray[np.float64]]
"""Detector -> (p,) scores."""
SEED_STRIDE = 10_000
"""Distance between the noises of two seeds of a scan."""


@dataclass(frozen=True, slots=True)
class Watching:
    """Which detectors watch, and how images are drawn meanwhile."""

    detectors: tuple[str, ...]
    setting: Setting
    seed: int

    @property
    def requests(self) -> tuple[TrajectoryRequest, ...]:
        """The union of what the detectors need."""
        wanted: dict[TrajectoryRequest, None] = {}
        for name in self.detectors:
            for request in detector(name).requests(self.setting):
                if not isinstance(request, TrajectoryRequest):
                    raise InternalError(f"detector '{name}' asks for {request.kind}")
                wanted.setdefault(request)
        return tuple(sorted(wanted, key=lambda request: request.key))

    @property
    def route(self) -> Route:
        """How far each draw is followed."""
        return route(self.requests, self.setting.guidance)

    @property
    def calls_per_prompt(self) -> int:
        """Forward calls for one prompt over all seeds."""
        return self.route.calls * self.setting.seeds

    def noises(self, n: int, first: int = 0) -> list[int]:
        """So many seeds of the initial noise."""
        return [self.seed * SEED_STRIDE + first + i for i in range(n)]


def score_prompts(
    executor: TrajectoryExecutor, prompts: Sequence[Prompt], watching: Watching
) -> Scores:
    """Every detector's score of every prompt; stored recordings are reused."""
    setting = watching.setting
    texts = [prompt.text for prompt in prompts]
    tokens = tokenize(executor.target, texts)
    ends = {text: cut.end for text, cut in zip(texts, tokens, strict=True)}
    draws = [Draw(text, noise) for text in texts for noise in watching.noises(setting.seeds)]
    answers = executor.record(draws, watching.requests, setting.guidance, ends)
    shape = len(prompts), setting.seeds
    recorded = Recordings(
        {request: array.reshape(*shape, *array.shape[1:]) for request, array in answers.items()},
        np.array([cut.end for cut in tokens]),
    )
    scores = {name: detector(name).score(recorded, setting) for name in watching.detectors}
    for name, values in scores.items():
        if values.shape != (len(prompts),) or not np.isfinite(values).all():
            raise InternalError(f"detector '{name}' did not return {len(prompts)} finite scores")
    return scores
