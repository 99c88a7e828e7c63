"""Models that cannot share one program: each trained alone, with the real optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auditor.shadows.job import ROWS_ASKED, Job, cpu_copy
from auditor.shadows.torch_models import as_logits, built, loss_of, optimiser_of, seeded


class OneByOneRun:
    """A few models of a job, one after the other, as a plain training loop would have them."""

    def __init__(self, job: Job, models: Sequence[int]) -> None:
        self.models = tuple(models)
        self.n_steps = job.n_steps * len(self.models)
        self._job = job
        self._trained: list[dict[str, Tensor]] = []
        self._begin(0)

    def step(self, number: int) -> None:
        """One step of the model whose turn it is; then perhaps the next model's turn."""
        job = self._job
        step = number % job.n_steps
        rows = self._batches.at(step)[0]
        inputs, classes = job.inputs[rows], job.classes[rows]

        def loss() -> float:
            self._optimiser.zero_grad()
            value = loss_of(job.recipe, self._model(inputs), classes)
            value.backward()
            return value.item()

        with seeded(job.noise_seed(self.models[self._turn : self._turn + 1], step), job.device):
            # a closure, since some optimisers (L-BFGS) evaluate the loss several times a step
            self._optimiser.step(loss)
        if step == job.n_steps - 1:
            self._trained.append(cpu_copy(self._model.state_dict()))
            if self._turn + 1 < len(self.models):
                self._begin(self._turn + 1)

    def state(self) -> dict[str, Any]:
        """The models that are trained, and the one whose turn it is."""
        return {
            "trained": list(self._trained),
            "turn": self._turn,
            "model": cpu_copy(self._model.state_dict()),
            "optimiser": cpu_copy(self._optimiser.state_dict()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self._begin(state["turn"])
        self._trained = list(state["trained"])
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])

    def logits(self) -> NDArray[np.float32]:
        """(c, n, k) logits of the trained models on the pool."""
        answers = [
            module_logits(self.module(i), self._job.inputs, ROWS_ASKED * self._job.rows)
            for i in range(len(self.models))
        ]
        return np.stack(answers)

    def module(self, position: int) -> nn.Module:
        """One of the trained models."""
        model = built(self._job.recipe, self._job.seeds[self.models[position]])
        if self._job.n_steps:
            model.load_state_dict(self._trained[position])
        return model.to(self._job.device)

    def _begin(self, turn: int) -> None:
        model = self.models[turn]
        self._turn = turn
        self._model = built(self._job.recipe, self._job.seeds[model]).to(self._job.device).train()
        self._optimiser = optimiser_of(self._job.recipe, self._model.parameters())
        self._batches = self._job.batches([model])


def module_logits(model: nn.Module, inputs: Tensor, rows: int) -> NDArray[np.float32]:
    """(n, k) logits of a model in evaluation, in batches."""
    model.eval()
    with torch.no_grad():
        parts = [as_logits(model(part)).float().cpu().numpy() for part in inputs.split(rows)]
    return np.concatenate(parts)
