"""Bytes that autograd keeps alive: how the memory claim is measured on any device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from auditor.methods.protocol import Records
from auditor.methods.tesla.config import Gradient, TeslaConfig
from auditor.methods.tesla.distillation import (
    drawn_rows,
    n_classes,
    one_hot,
    student_of,
    tensor_of,
)
from auditor.methods.tesla.gradients import Match, match_gradient


class _Ledger:
    """Live saved storages, and the most bytes that were ever alive at once."""

    def __init__(self, excluded: set[int]):
        self.excluded = excluded
        self.holders: Counter[int] = Counter()
        self.live = self.peak = 0

    def hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self.excluded:
            return
        self.holders[key] += 1
        if self.holders[key] == 1:
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)

    def release(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self.excluded:
            return
        self.holders[key] -= 1
        if self.holders[key] == 0:
            self.live -= storage.nbytes()


class _Held:
    """A saved tensor that tells the ledger when autograd lets go of it."""

    def __init__(self, tensor: Tensor, ledger: _Ledger):
        self.tensor, self.ledger = tensor, ledger
        ledger.hold(tensor)

    def __del__(self) -> None:
        self.ledger.release(self.tensor)


def peak_saved_bytes(run: Callable[[], object], *, excluded: Iterable[Tensor] = ()) -> int:
    """Most bytes of distinct storages that autograd had saved at one moment of a call.

    excluded: tensors whose storages are not counted, such as parameters.
    """
    ledger = _Ledger({tensor.untyped_storage().data_ptr() for tensor in excluded})
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: _Held(tensor, ledger), lambda held: held.tensor
    ):
        run()
    return ledger.peak


def step_bytes(pool: Records, config: TeslaConfig) -> dict[str, int]:
    """Most bytes that autograd holds in one distillation step, by mode and number of steps.

    Networks and pictures are as in the configuration, with parameters drawn at random.
    """
    network, classes = student_of(pool, config), pool.required_classes()
    everything = np.ones(len(pool), dtype=bool)
    rows = drawn_rows(classes, everything, config.per_class, np.random.default_rng(0))
    images, labels = tensor_of(pool, rows), one_hot(classes[rows], n_classes(pool))

    def measured(how: Gradient, n_steps: int) -> int:
        batches = [torch.arange(len(images))] * n_steps
        match = Match(network.initial(0), network.initial(1), labels, batches, lambda x, i: x)
        return peak_saved_bytes(
            lambda: match_gradient(network, images, 0.1, match, how),
            excluded=network.module.parameters(),
        )

    modes: tuple[Gradient, ...] = ("exact", "unrolled")
    return {f"{how}, {n} steps": measured(how, n) for how in modes for n in (5, 50)}
