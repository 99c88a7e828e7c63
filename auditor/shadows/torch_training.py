"""Torch models of a job, in stacks that fit into memory, resumable inside a stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from attacks.errors import TargetError
from auditor.memory import is_out_of_memory
from auditor.shadows.job import Job, Run
from auditor.shadows.meter import Meter
from auditor.shadows.one_by_one import OneByOneRun
from auditor.shadows.stacked import StackedRun, stack_size, stacking
from auditor.shadows.store import ShadowFolder, Trained


@dataclass
class TorchTraining:
    """Trains the models of a job, many at once where the recipe allows it."""

    job: Job
    note: Callable[[str], None]
    """Is told, once, why models are trained one by one or in smaller stacks."""
    folder: ShadowFolder | None = None
    """Where unfinished stacks are kept."""
    meter: Meter | None = None
    checkpoint_seconds: float = 60.0
    """Time between two savings of a stack that is under way."""

    def __post_init__(self) -> None:
        alone = len(self.job.keep) < 2
        found = None if alone else stacking(self.job)
        self._is_random = bool(found and found.is_random)
        self.size = stack_size(self.job) if found and not found.obstacle else 1
        if found and found.obstacle:
            self.note(f"shadow models are trained one by one: {found.obstacle}")

    def chunks(self, missing: Sequence[int]) -> Iterator[Trained]:
        """Train models, in chunks; one that was interrupted comes first and goes on.

        Chunks are cut at fixed numbers, so that a resumed run stacks the same models.
        Raises TargetError if a model diverges, or does not fit into memory even alone.
        """
        left = sorted(missing)
        while left:
            _, trained = self._trained(left)
            yield trained
            left = [i for i in left if i not in trained.models]

    def modules(self) -> Iterator[tuple[int, nn.Module]]:
        """Train all models of the job; each with its number."""
        left = list(range(len(self.job.keep)))
        while left:
            run, _ = self._trained(left)
            for position, model in enumerate(run.models):
                yield model, run.module(position)
            left = [i for i in left if i not in run.models]

    def run(self, models: Sequence[int]) -> Run:
        """A training of some models that has not begun."""
        if self.size == 1:
            return OneByOneRun(self.job, models)
        return StackedRun(self.job, models, self._is_random)

    def next_models(self, left: Sequence[int]) -> tuple[int, ...]:
        """Those of the models left that belong to the chunk of the first one."""
        size = max(self.size, 2)
        return tuple(i for i in left if i // size == left[0] // size)

    def _trained(self, left: Sequence[int]) -> tuple[Run, Trained]:
        while True:
            try:
                return self._attempt(left)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(error)

    def _attempt(self, left: Sequence[int]) -> tuple[Run, Trained]:
        run, step, seconds = self._begun(left)
        began = time.perf_counter() - seconds
        self._go(run, step, began)
        trained = Trained(run.models, run.logits(), time.perf_counter() - began)
        _check_finite(trained)
        return run, trained

    def _begun(self, left: Sequence[int]) -> tuple[Run, int, float]:
        """A training with its next step and the seconds behind it: an interrupted one, or new."""
        state = self.folder.load_state() if self.folder else None
        if state is not None and self._is_wanted(state, left):
            run = self.run(state["models"])
            run.restore(state["run"])
            return run, state["step"], state["seconds"]
        return self.run(self.next_models(left)), 0, 0.0

    def _is_wanted(self, state: dict[str, Any], left: Sequence[int]) -> bool:
        models = state["models"]
        return (
            not set(left).isdisjoint(models)
            and max(models) < len(self.job.keep)
            and state["is_stack"] == (self.size > 1)
            and len(models) <= max(self.size, 2)
        )

    def _go(self, run: Run, start: int, began: float) -> None:
        saved = time.perf_counter()
        for number in range(start, run.n_steps):
            run.step(number)
            if self.folder and time.perf_counter() - saved >= self.checkpoint_seconds:
                saved = time.perf_counter()
                self.folder.store_state(
                    {
                        "models": list(run.models),
                        "is_stack": self.size > 1,
                        "step": number + 1,
                        "seconds": saved - began,
                        "run": run.state(),
                    }
                )
            if self.meter:
                self.meter.reach(len(run.models) * (number + 1) / (run.n_steps + 1))

    def _shrink(self, error: BaseException) -> None:
        if self.size == 1:
            raise TargetError(
                "out of memory with a single shadow model; use a smaller batch_size in the recipe "
                "or another --device"
            ) from error
        self.size = self.size // 4 * 2 if self.size > 2 else 1
        if self.folder:
            self.folder.drop_state()
        now = f"stacks of {self.size} shadow models" if self.size > 1 else "one model at a time"
        self.note(f"out of memory: going on with {now}")


def _check_finite(trained: Trained) -> None:
    n_bad = sum(not np.isfinite(of_one).all() for of_one in trained.logits)
    if n_bad:
        raise TargetError(
            f"{n_bad} of {len(trained.models)} shadow models diverged to NaN or infinity; lower "
            "the learning rate of the recipe"
        )
