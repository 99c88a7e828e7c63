"""Distillation: pictures and a step size such that a student on them follows the experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from attacks.errors import DataError
from attacks.manifest import ClassifierCapabilities
from auditor.methods.classifiers import NetworkClassifier
from auditor.methods.protocol import Records, checked_keep
from auditor.methods.tesla.augmentation import augment
from auditor.methods.tesla.config import TeslaConfig
from auditor.methods.tesla.experts import train_experts
from auditor.methods.tesla.gradients import Match, match_gradient, soft_labels
from auditor.methods.tesla.students import FlatNetwork, build_student

CENTRE = 0.5
"""Taken from pixels in [0, 1], so that students see values around 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Distilled:
    """What is released in place of the data, and where it came from."""

    images: NDArray[np.float32]
    """(N, c, h, w) pictures on the scale of the records."""
    labels: NDArray[np.float32]
    """(N, k) class probabilities."""
    classes: NDArray[np.int64]
    """(N,) class index of each picture."""
    step_size: float
    """Learned step size beta of a student."""
    initial_images: NDArray[np.float32]
    """(N, c, h, w) what the pictures started from."""
    initial_rows: NDArray[np.int64]
    """(N,) rows of the records drawn for the start; only drawn, not used, if it was noise."""
    losses: tuple[float, ...]
    """Matching loss of every iteration."""


def distill(records: Records, keep: NDArray[np.bool_], seed: int, config: TeslaConfig) -> Distilled:
    """Distill the kept records into `per_class` pictures of each class.

    Our reading: with soft labels, those of the last iteration are released, as in the official
    code.
    """
    mask, classes = checked_keep(records, keep), records.required_classes()
    rng = np.random.default_rng(seed)
    rows = drawn_rows(classes, mask, config.per_class, rng)
    start = initial_images(records, rows, config, rng)
    hard = one_hot(classes[rows], n_classes(records))
    images, step_size, labels = start, config.initial_step, hard
    losses: list[float] = []
    if config.iterations:
        network = student_of(records, config)
        kept = np.flatnonzero(mask)
        experts = train_experts(
            network, tensor_of(records, kept), torch.from_numpy(classes[kept]), config, seed
        )
        images, step_size, labels, losses = match_experts(
            network, experts, start, hard, rng, config
        )
    return Distilled(
        images=(images + CENTRE).numpy(),
        labels=labels.numpy(),
        classes=classes[rows],
        step_size=step_size,
        initial_images=(start + CENTRE).numpy(),
        initial_rows=rows,
        losses=tuple(losses),
    )


def match_experts(
    network: FlatNetwork,
    experts: Tensor,
    start: Tensor,
    hard: Tensor,
    rng: np.random.Generator,
    config: TeslaConfig,
) -> tuple[Tensor, float, Tensor, list[float]]:
    """Pictures, step size, labels and the loss of every iteration."""
    images, step_size = start.clone(), torch.tensor(config.initial_step, dtype=torch.float64)
    optimisers = [
        torch.optim.SGD([images], lr=config.image_rate, momentum=config.momentum),
        torch.optim.SGD([step_size], lr=config.step_rate, momentum=config.momentum),
    ]
    labels = hard
    losses: list[float] = []
    for _ in range(config.iterations):
        expert = experts[int(rng.integers(len(experts)))]
        first = int(rng.integers(config.max_start))
        target = expert[first + config.n_target_epochs]
        labels = soft_labels(network, images, target) if config.soft_labels else hard
        match = Match(
            expert[first],
            target,
            labels,
            drawn_batches(len(images), config, rng),
            replayed(config.augmentation, rng.integers(2**31, size=config.n_steps)),
        )
        found = match_gradient(network, images, float(step_size), match, config.gradient)
        images.grad = found.images
        step_size.grad = torch.tensor(found.step_size, dtype=torch.float64)
        for optimiser in optimisers:
            optimiser.step()
        step_size.clamp_(*config.step_limits)
        losses.append(found.loss)
    return images.detach(), float(step_size), labels, losses


def drawn_batches(n: int, config: TeslaConfig, rng: np.random.Generator) -> list[Tensor]:
    """T batches: a random partition of the pictures, drawn anew when it is used up."""
    chunks: list[Tensor] = []
    while len(chunks) < config.n_steps:
        chunks += torch.from_numpy(rng.permutation(n)).split(config.batch or n)
    return chunks[: config.n_steps]


def replayed(names: tuple[str, ...], seeds: NDArray[np.int64]) -> Any:
    """The augmentation of step i, which looks the same on every call."""
    return lambda x, i: augment(x, names, int(seeds[i]))


def drawn_rows(
    classes: NDArray[np.int64], mask: NDArray[np.bool_], per_class: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(N,) random kept rows, per_class of each class present, in the order of the classes.

    Raises DataError if a class has fewer.
    """
    rows = []
    for c in np.unique(classes[mask]):
        candidates = np.flatnonzero(mask & (classes == c))
        if len(candidates) < per_class:
            raise DataError(
                f"class {c} has {len(candidates)} kept records, and {per_class} distilled "
                "pictures per class are asked for; lower per_class"
            )
        rows.append(rng.choice(candidates, per_class, replace=False))
    return np.concatenate(rows)


def initial_images(
    records: Records, rows: NDArray[np.int64], config: TeslaConfig, rng: np.random.Generator
) -> Tensor:
    """(N, c, h, w) what the pictures start from, centred."""
    real = tensor_of(records, rows)
    if config.initial == "real":
        return real
    return torch.from_numpy(rng.standard_normal(real.shape).astype(np.float32))


def train_student(
    network: FlatNetwork, distilled: Distilled, seed: int, config: TeslaConfig
) -> Tensor:
    """(P,) parameters of a fresh student after full-batch steps of the released size."""
    images = torch.from_numpy(distilled.images) - CENTRE
    labels, theta = torch.from_numpy(distilled.labels), network.initial(seed)
    rng = np.random.default_rng(seed)
    for _ in range(config.student_steps):
        seen = augment(images, config.augmentation, int(rng.integers(2**31)))
        theta = theta.requires_grad_()
        loss = functional.cross_entropy(network(theta, seen), labels)
        (g,) = torch.autograd.grad(loss, theta)
        theta = torch.add(theta.detach(), g, alpha=-distilled.step_size)
    return theta


def as_classifier(
    records: Records, distilled: Distilled, seed: int, config: TeslaConfig
) -> NetworkClassifier:
    """A student of the released pictures as a target.

    Parts: the fields of `Distilled` by name, and `initial` (`real` or `noise`).
    """
    network = student_of(records, config)
    theta = train_student(network, distilled, seed, config)
    parts = {name: getattr(distilled, name) for name in Distilled.__dataclass_fields__}
    k = n_classes(records)
    return NetworkClassifier(
        Student(network, theta),
        np.arange(k),
        ClassifierCapabilities(family="classifier", architecture=config.student, n_classes=k),
        parts | {"initial": config.initial},
    )


class Student(torch.nn.Module):
    """A trained student on records as they are."""

    def __init__(self, network: FlatNetwork, theta: Tensor):
        super().__init__()
        self.network = network
        self.register_buffer("theta", theta)

    def forward(self, x: Tensor) -> Tensor:
        """(n, k) logits of (n, c, h, w) records."""
        theta = self.get_buffer("theta")
        return self.network(theta, x - CENTRE)


def student_of(records: Records, config: TeslaConfig) -> FlatNetwork:
    """The student for records of this shape."""
    return build_student(config.student, records.features.shape[1:], n_classes(records))


def n_classes(records: Records) -> int:
    """Classes k that the records' indices span."""
    return int(records.required_classes().max()) + 1


def one_hot(classes: NDArray[np.int64], k: int) -> Tensor:
    """(N, k) probabilities of hard labels."""
    return functional.one_hot(torch.from_numpy(classes), k).to(torch.float32)


def tensor_of(records: Records, rows: NDArray[np.int64]) -> Tensor:
    """(n, c, h, w) records of some rows, centred."""
    return torch.from_numpy(np.asarray(records.features[rows], dtype=np.float32)) - CENTRE
