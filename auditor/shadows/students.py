"""Students distilled from a model's soft answers, and what they say after each epoch.

A student has the architecture of a torch recipe and its optimiser. It never sees a label or a
record that is evaluated: its training set is records that neither the target nor a shadow model
was trained on, with the teacher's probabilities in place of classes, and its loss the cross-entropy
to them. Every student of a scan starts from the same weights and meets the records in the same
order, so that two of them differ by their teachers alone.
Source: Liu et al., "Membership Inference Attacks by Exploiting Loss Trajectory", CCS 2022,
arXiv:2208.14933. Our reading: an epoch takes as many steps as one on half of the pool, also where
the records to distil on are fewer and come round more often.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, TargetError
from attacks.signals import log_softmax
from auditor.shadows.fingerprint import described, hashed
from auditor.shadows.pool import Pool
from auditor.shadows.recipe import TorchRecipe
from auditor.shadows.store import ShadowFolder, ShadowStore

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 10
"""Records to distil on, at least."""
REMEMBERED = 2
"""Students whose answers stay in memory: the target's, and that of the shadow model."""
STUDENT = 0x57
"""Part of the seed of every student."""


@dataclass
class Students:
    """Distils students on some records of a pool, each answer once."""

    recipe: TorchRecipe
    pool: Pool
    """Every record that students are asked about: its last `n_asked` are what they learn from."""
    seed: int
    store: ShadowStore
    device: str = "auto"
    _recent: OrderedDict[str, NDArray[np.float32]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        if self.pool.n_asked < FEWEST:
            raise DataError(
                f"a student needs at least {FEWEST} nonmembers that are set aside to learn from, "
                f"got {self.pool.n_asked}; give more nonmembers, or leave out `trajectory`"
            )

    @property
    def rows(self) -> NDArray[np.int64]:
        """(a,) rows of the pool that students learn from."""
        return np.arange(self.pool.n_trainable, len(self.pool.record_ids))

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch: those of one on half of the other records, rounded up."""
        half = max(1, self.pool.n_trainable // 2)
        return -(-half // self.recipe.rows_of_step(half))

    def along(self, answers: NDArray[np.floating], epochs: int) -> NDArray[np.float32]:
        """(e, n, k) logits of a student on the pool after each of e epochs.

        answers: (a, k) logits of its teacher on the records to learn from.

        Raises DataError if the answers do not fit, TargetError if the student diverges.
        """
        expected = (self.pool.n_asked, self.pool.n_classes)
        if answers.shape != expected:
            raise DataError(
                f"expected a teacher's answers of shape {expected}, got {answers.shape}"
            )
        teacher = np.asarray(answers, dtype=np.float32)
        name = hashed(described(teacher), str(epochs))
        if name not in self._recent:
            self._recent[name] = self._found(teacher, name, epochs)
        self._recent.move_to_end(name)
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        return self._recent[name]

    def seconds_per_epoch(self) -> float:
        """Wall time of one epoch, its questions included; nothing is stored."""
        began = time.perf_counter()
        self._distilled(np.zeros((self.pool.n_asked, self.pool.n_classes), np.float32), 1)
        return time.perf_counter() - began

    def _found(self, teacher: NDArray[np.float32], name: str, epochs: int) -> NDArray[np.float32]:
        folder = self._folder
        shape = (epochs, len(self.pool.record_ids), self.pool.n_classes)
        stored = folder.load_student(name, shape)
        if stored is None:
            stored = self._distilled(teacher, epochs)
            folder.store_student(name, stored)
        return stored

    @property
    def _folder(self) -> ShadowFolder:
        return self.store.folder("students", self.recipe.key, self.pool.key, str(self.seed))

    def _distilled(self, teacher: NDArray[np.float32], epochs: int) -> NDArray[np.float32]:
        import torch

        from auditor.shadows.batches import Batches
        from auditor.shadows.job import ROWS_ASKED
        from auditor.shadows.one_by_one import module_logits
        from auditor.shadows.torch_models import (
            as_logits,
            built,
            inputs_of,
            mixed_seed,
            optimiser_of,
            seeded,
        )
        from auditor.targets.loading import choose_device

        device, own = choose_device(self.device), mixed_seed(self.seed, STUDENT)
        student = built(self.recipe, own).to(device)
        optimiser = optimiser_of(self.recipe, student.parameters())
        inputs = inputs_of(self.pool.features, student).to(device)
        soft = torch.from_numpy(np.exp(log_softmax(teacher)).astype(np.float32)).to(device)
        first = self.pool.n_trainable
        rows = self.recipe.rows_of_step(self.pool.n_asked)
        order = Batches([torch.arange(self.pool.n_asked)], [own], rows, device)
        answers = []
        for step in range(epochs * self.steps_per_epoch):
            chosen = order.at(step)[0]

            def loss(chosen: Tensor = chosen) -> float:
                optimiser.zero_grad()
                logits = as_logits(student(inputs[first + chosen]))
                value = torch.nn.functional.cross_entropy(logits, soft[chosen].to(logits.dtype))
                value.backward()
                return value.item()

            student.train()
            with seeded(mixed_seed(own, step), device):
                optimiser.step(loss)
            if (step + 1) % self.steps_per_epoch == 0:
                answers.append(module_logits(student, inputs, ROWS_ASKED * rows))
        found = np.stack(answers)
        if not np.isfinite(found).all():
            raise TargetError(
                "a student that was distilled for `trajectory` diverged to NaN or infinity; lower "
                "the learning rate of the recipe"
            )
        return found
