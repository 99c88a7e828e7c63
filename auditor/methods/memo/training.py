"""Class-incremental training: one task after the other, with exemplars of the tasks before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, nn
from torch.nn import functional

from attacks.errors import DataError
from attacks.manifest import ClassifierCapabilities
from auditor.methods.classifiers import NetworkClassifier, apply_in_batches
from auditor.methods.memo.backbones import build_backbone, seeded, whole
from auditor.methods.memo.config import MemoConfig
from auditor.methods.memo.herding import herd, unit_rows
from auditor.methods.memo.network import ExpandableNetwork, auxiliary_targets
from auditor.methods.protocol import Records, checked_keep


@dataclass(slots=True)
class MemoClassifier(NetworkClassifier):
    """A class-incremental classifier, with its features."""

    def embed(self, features: NDArray) -> NDArray[np.float64]:
        """(n, t * d) features of all blocks, each row of length 1, as herding sees them."""
        network = self.network.eval()
        assert isinstance(network, ExpandableNetwork)
        return unit_rows(apply_in_batches(network.features, features))


class Task(NamedTuple):
    """One increment."""

    classes: NDArray[np.int64]
    """Class indices that are new."""
    rows: NDArray[np.int64]
    """Kept rows of these classes."""


@dataclass(slots=True)
class Learner:
    """A network between two tasks."""

    network: ExpandableNetwork
    order: NDArray[np.int64]
    """(k,) class index at each position of the finished head."""
    generator: Generator
    exemplars: list[NDArray[np.int64]] = field(default_factory=list)
    """Stored rows of each class seen so far, by position, in herding order."""
    new_rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Rows of the newest task."""

    @property
    def n_seen(self) -> int:
        """Classes seen so far."""
        return len(self.exemplars)

    @property
    def seen(self) -> NDArray[np.int64]:
        """Class indices seen so far."""
        return self.order[: self.n_seen]

    @property
    def stored(self) -> NDArray[np.int64]:
        """All stored rows."""
        return np.concatenate([np.zeros(0, np.int64), *self.exemplars])


def increments(
    records: Records, keep: NDArray[np.bool_], seed: int, config: MemoConfig
) -> Iterator[Learner]:
    """The learner after each task; it goes on changing when the next one is asked for.

    Our reading: the order of the classes comes from the seed, and classes without a kept record
    are left out of it.
    """
    mask = checked_keep(records, keep)
    order = class_order(records.required_classes()[mask], seed)
    generator = seeded(seed)
    learner = Learner(new_network(config, len(order), seed, generator), order, generator)
    for task in tasks(records, mask, order, config):
        learn(learner, records, task, config)
        yield learner


def class_order(classes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(k,) the classes present, shuffled."""
    present = np.unique(classes)
    if len(present) < 2:
        raise DataError("class-incremental learning needs records of two classes or more")
    return np.random.default_rng(seed).permutation(present)


def new_network(
    config: MemoConfig, n_classes: int, seed: int, generator: Generator
) -> ExpandableNetwork:
    """An untrained network with the head of the first of the tasks that make up n_classes."""
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global state
        torch.manual_seed(seed)
        backbone = build_backbone(config.backbone)
    return ExpandableNetwork(
        whole(backbone) if config.growth == "backbone" else backbone,
        min(config.base, n_classes),
        generator,
        growth=config.growth,
        train_base=config.train_base,
    )


def tasks(
    records: Records, mask: NDArray[np.bool_], order: NDArray[np.int64], config: MemoConfig
) -> Iterator[Task]:
    """The kept records, `base` classes first, then `increment` at a time."""
    classes = records.required_classes()
    cuts = [0, *range(config.base, len(order), config.increment), len(order)]
    for first, last in zip(cuts[:-1], cuts[1:], strict=True):
        new = order[first:last]
        yield Task(new, np.flatnonzero(mask & np.isin(classes, new)))


def learn(learner: Learner, records: Records, task: Task, config: MemoConfig) -> None:
    """Learn one task from its records and the stored ones, then renew the exemplars."""
    network = learner.network
    if learner.n_seen:
        network.expand(len(task.classes), learner.generator)
    rows = np.concatenate([task.rows, learner.stored])
    position = np.full(int(records.required_classes().max()) + 1, -1)
    position[learner.order] = np.arange(len(learner.order))
    targets = torch.from_numpy(position[records.required_classes()[rows]])
    inputs = torch.from_numpy(np.ascontiguousarray(records.features[rows], dtype=np.float32))
    fit(network, inputs, targets, learner.generator, config)
    if network.n_old and config.align:
        network.align()
    learner.new_rows = task.rows
    renew_exemplars(learner, records, task, config)


def fit(
    network: ExpandableNetwork,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    generator: Generator,
    config: MemoConfig,
) -> None:
    """Train what is not frozen, in place; targets are positions in the head."""
    optimiser = torch.optim.SGD(
        [p for p in network.parameters() if p.requires_grad],
        lr=config.rate,
        momentum=config.momentum,
        weight_decay=config.later_decay if network.n_old else config.first_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.epochs)
    network.train()
    for _ in range(config.epochs):
        for batch in torch.randperm(len(inputs), generator=generator).split(config.batch):
            optimiser.zero_grad()
            loss(network, inputs[batch], targets[batch], config).backward()
            optimiser.step()
        schedule.step()
    network.eval()


def loss(
    network: ExpandableNetwork, inputs: torch.Tensor, targets: torch.Tensor, config: MemoConfig
) -> torch.Tensor:
    """Cross-entropy of the head, plus the auxiliary one on the newest block."""
    logits, extra = network.both_heads(inputs)
    total = functional.cross_entropy(logits, targets)
    if extra is not None:
        wanted = auxiliary_targets(targets, network.n_old)
        total = total + config.auxiliary_weight * functional.cross_entropy(extra, wanted)
    return total


def renew_exemplars(learner: Learner, records: Records, task: Task, config: MemoConfig) -> None:
    """Shrink the stored records of old classes to a prefix and herd those of the new ones."""
    m = config.memory // (learner.n_seen + len(task.classes))
    classes = records.required_classes()
    learner.exemplars = [rows[:m] for rows in learner.exemplars]
    for c in task.classes:
        rows = task.rows[classes[task.rows] == c]
        features = apply_in_batches(learner.network.features, records.features[rows])
        learner.exemplars.append(rows[herd(unit_rows(features), m)])


def as_classifier(learner: Learner, records: Records) -> MemoClassifier:
    """The learner as it stands, as a target; `parts` says what it keeps of the records.

    Parts: `exemplars` (rows stored verbatim), `exemplar_images` (their features, as stored),
    `exemplars_by_class`, `new` (rows of the newest task), `seen` (classes in the order of their
    arrival), `ledger`.
    """
    n_classes = int(records.required_classes().max()) + 1
    stored = learner.stored
    network: nn.Module = learner.network.eval()
    return MemoClassifier(
        network,
        learner.seen,
        ClassifierCapabilities(
            family="classifier", architecture=type(network).__name__, n_classes=n_classes
        ),
        {
            "exemplars": stored,
            "exemplar_images": records.features[stored],
            "exemplars_by_class": {
                int(c): rows for c, rows in zip(learner.seen, learner.exemplars, strict=True)
            },
            "new": learner.new_rows,
            "seen": learner.seen,
            "ledger": learner.network.ledger(len(stored), int(records.features[0].size)),
        },
    )
