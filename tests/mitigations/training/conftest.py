"""A small latent text-to-image target and prepared records, made once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.demo.assets import materialise
from auditor.demo.digits import N_PLANTED, demo_splits
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.loading import open_target
from mitigations.material import Examples


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> DiffusionTarget:
    """Trained on other records than those of `members`."""
    return open_target(
        str(materialise("clean", tmp_path_factory.mktemp("models") / "clean")), device="cpu"
    )


@pytest.fixture(scope="session")
def members(target: DiffusionTarget) -> Examples:
    """Twelve records repeated eight times, and 12 that occur once."""
    split = demo_splits().members
    rows = [*range(N_PLANTED), *range(N_PLANTED, N_PLANTED + 12)]
    return examples(target, split, rows, [8] * N_PLANTED + [1] * 12)


@pytest.fixture(scope="session")
def nonmembers(target: DiffusionTarget) -> Examples:
    """Forty records that no run trains on."""
    return examples(target, demo_splits().nonmembers, range(40), [1] * 40)


def examples(target, split, rows, repeats):
    from PIL import Image

    inputs = target.prepare([Image.fromarray(split.images[row]) for row in rows])
    return Examples(inputs, tuple(split.captions[row] for row in rows), tuple(repeats))


def state(unet):
    """A copy of every tensor of a network."""
    return {name: value.detach().clone() for name, value in unet.state_dict().items()}


def same(first, second):
    """Whether two states are equal bit by bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def prediction(view, examples, t=200):
    """What a network says of noised records."""
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.standard_normal(examples.inputs.shape).astype(np.float32))
    timesteps = torch.full((len(examples),), t)
    return view.predict(examples.inputs + noise, timesteps, view.embed(list(examples.captions)))
