"""Students: a plain loop gives the same, and what was distilled once is not distilled again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attacks.errors import DataError, TargetError
from auditor.shadows import Pool, ShadowStore, TorchRecipe
from auditor.shadows.students import STUDENT, Students
from auditor.shadows.torch_models import mixed_seed

N, A, K, EPOCHS = 40, 12, 3, 4


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, K))


RECIPE = TorchRecipe(network, "sgd", {"lr": 0.5}, epochs=3, batch_size=8)


def students(root: Path, *, seed: int = 1, is_fresh: bool = False, **changes: Any) -> Students:
    rng = np.random.default_rng(0)
    pool = Pool(
        [f"r{i}" for i in range(N + A)],
        rng.normal(size=(N + A, 5)),
        rng.integers(0, K, N + A),
        K,
        n_asked=A,
    )
    return Students(
        dataclasses.replace(RECIPE, **changes), pool, seed, ShadowStore(root, is_fresh), "cpu"
    )


def teacher(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(A, K)) * 3


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each student that is trained."""
    count: list[int] = []
    inner = Students._distilled

    def counted(self: Students, answers: np.ndarray, epochs: int) -> np.ndarray:
        count.append(epochs)
        return inner(self, answers, epochs)

    monkeypatch.setattr(Students, "_distilled", counted)
    return count


def test_equals_a_plain_loop(tmp_path: Path) -> None:
    found = students(tmp_path)
    own = mixed_seed(1, STUDENT)
    torch.manual_seed(own)
    model = network()
    soft = torch.softmax(torch.from_numpy(teacher(0).astype(np.float32)), dim=1)
    inputs = torch.from_numpy(np.asarray(found.pool.features, dtype=np.float32))
    # a half of 40 in batches of 8 makes 3 steps; 12 records come round twice every 3 steps
    assert found.steps_per_epoch == 3
    stream = torch.cat(
        [
            torch.randperm(A, generator=torch.Generator().manual_seed(mixed_seed(own, i)))
            for i in range(8)
        ]
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    answers = found.along(teacher(0), EPOCHS)
    for epoch in range(EPOCHS):
        for step in range(3 * epoch, 3 * epoch + 3):
            rows = stream[8 * step : 8 * step + 8]
            log_p = torch.log_softmax(model(inputs[N:][rows]), dim=1)
            optimiser.zero_grad()
            (-(soft[rows] * log_p).sum(dim=1).mean()).backward()
            optimiser.step()
        with torch.no_grad():
            np.testing.assert_allclose(answers[epoch], model(inputs).numpy(), atol=1e-5)


def test_labels_and_other_records_decide_nothing(tmp_path: Path) -> None:
    one, two = students(tmp_path / "a"), students(tmp_path / "b")
    pool = two.pool
    other = dataclasses.replace(
        pool,
        classes=(np.asarray(pool.classes) + 1) % K,
        features=np.concatenate([np.zeros((N, 5)), np.asarray(pool.features)[N:]]),
    )
    changed = dataclasses.replace(two, pool=other)
    expected = one.along(teacher(0), EPOCHS)[:, N:]
    np.testing.assert_array_equal(changed.along(teacher(0), EPOCHS)[:, N:], expected)


def test_students_approach_their_teacher(tmp_path: Path) -> None:
    one = students(tmp_path)
    soft = np.exp(teacher(0)) / np.exp(teacher(0)).sum(axis=1, keepdims=True)
    answers = one.along(teacher(0), 60)[:, N:].astype(float)
    log_p = answers - np.logaddexp.reduce(answers, axis=-1, keepdims=True)
    gaps = -(soft * log_p).sum(axis=-1).mean(axis=-1)
    assert gaps[-1] < gaps[0] * 0.8
    assert (one.along(teacher(1), 60) != one.along(teacher(0), 60)).any()


def test_one_answer_for_one_seed_and_more_epochs_go_on(tmp_path: Path, trained: list[int]) -> None:
    found = students(tmp_path).along(teacher(0), EPOCHS)
    np.testing.assert_array_equal(students(tmp_path).along(teacher(0), EPOCHS), found)
    assert len(trained) == 1
    again = students(tmp_path, is_fresh=True).along(teacher(0), EPOCHS)
    np.testing.assert_array_equal(again, found)
    assert len(trained) == 2
    np.testing.assert_array_equal(students(tmp_path).along(teacher(0), 9)[:EPOCHS], found)
    assert (students(tmp_path, seed=2).along(teacher(0), EPOCHS) != found).any()
    students(tmp_path, batch_size=4).along(teacher(0), EPOCHS)
    students(tmp_path).along(teacher(1), EPOCHS)
    assert len(trained) == 6


def test_two_students_stay_in_memory(tmp_path: Path, trained: list[int]) -> None:
    fresh = students(tmp_path, is_fresh=True)
    for seed in (0, 1, 0, 1, 2, 1, 2):
        fresh.along(teacher(seed), 1)
    assert len(trained) == 3


def test_a_damaged_file_is_distilled_again(tmp_path: Path, trained: list[int]) -> None:
    found = students(tmp_path).along(teacher(0), EPOCHS)
    (file,) = tmp_path.rglob("*.student")
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(file.read_bytes()[:-1])
    np.testing.assert_array_equal(students(tmp_path).along(teacher(0), EPOCHS), found)
    assert len(trained) == 2


def test_what_cannot_be_distilled_is_refused(tmp_path: Path) -> None:
    one = students(tmp_path)
    with pytest.raises(DataError, match="answers of shape"):
        one.along(teacher(0)[:5], 1)
    with pytest.raises(DataError, match="got 9"):
        dataclasses.replace(one, pool=dataclasses.replace(one.pool, n_asked=9))
    wild = dataclasses.replace(
        one, recipe=dataclasses.replace(RECIPE, optimiser_settings={"lr": 1e38})
    )
    with pytest.raises(TargetError, match="diverged"):
        wild.along(teacher(0), EPOCHS)
