"""Distance to the boundary: the score is the distance; real models show that training widens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from attacks.errors import UsageError
from attacks.manifest import ClassifierCapabilities
from attacks.membership import boundary
from attacks.observations import BoundaryDistance
from attacks.statistics import auc
from auditor.observe.boundary import Movable, distances, has_numbers
from auditor.observe.perturb import draws_per_record
from auditor.records import load_row_splits
from auditor.records.rows import Table

REQUEST = BoundaryDistance(iterations=2, directions=20, searches=10, starts=8)


def test_the_score_is_the_distance():
    config = boundary.BoundaryConfig()
    (request,) = boundary.requests(config)
    answers = {request: np.array([0.0, 1.5, 0.2])}
    assert boundary.score(answers, config).tolist() == [0.0, 1.5, 0.2]
    assert request.calls == 325


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory):
    """Digits with wrong labels, half of them in the training of a network that learnt them all."""
    root: Path = tmp_path_factory.mktemp("digits")
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))[:400]
    x, y = x[order] / 16, y[order].copy()
    wrong = rng.random(400) < 0.2
    y[wrong] = (y[wrong] + rng.integers(1, 10, wrong.sum())) % 10
    model = MLPClassifier((64,), max_iter=500, alpha=0, random_state=0).fit(x[:200], y[:200])
    for name, part in (("m", slice(0, 200)), ("n", slice(200, 400))):
        np.savez(root / f"{name}.npz", x=x[part], y=y[part])
    return load_row_splits(root / "m.npz", root / "n.npz"), model


def asked(splits: Any, labels_of: Any, records: Any) -> np.ndarray:
    true = splits.table.labels[[r.position for r in records]].astype(np.int64)
    return distances(splits.table, records, true, labels_of, REQUEST, 0)


def test_members_are_farther_from_the_boundary(digits):
    splits, model = digits
    members = asked(splits, model.predict, splits.members)
    nonmembers = asked(splits, model.predict, splits.nonmembers)
    positions = [r.position for r in splits.nonmembers]
    is_right = model.predict(splits.table.inputs(positions)) == splits.table.labels[
        positions
    ].astype(int)
    assert np.array_equal(nonmembers > 0, is_right)
    plain = (is_right.mean() + 1) / 2
    assert auc(members, nonmembers).value > 0.6
    assert auc(members, nonmembers).value > 1 - plain


def test_only_labels_count_and_no_record_looks_at_another(digits):
    splits, model = digits
    few = splits.members[:12]
    whole = asked(splits, model.predict, few)
    again = asked(splits, lambda inputs: model.predict_proba(inputs).argmax(axis=1), few)
    assert whole.tolist() == again.tolist()
    assert asked(splits, model.predict, few[3:4])[0] == pytest.approx(whole[3])


def test_only_numbers_move():
    frame = pd.DataFrame(
        {"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [0.5, np.nan, 1.5], "d": [True, False, True]}
    )
    table = Table(frame, ["0", "1", "0"])
    movable, rows = Movable(table), np.arange(3)
    points = movable.points(rows)
    assert points.shape == (3, 2)
    assert points.std(axis=0)[0] == pytest.approx(1)
    pd.testing.assert_frame_equal(
        movable.inputs(rows, points), frame, check_dtype=False, check_exact=False
    )
    moved = movable.inputs(rows, points + 1)
    assert moved["b"].tolist() == ["x", "y", "z"]
    assert np.isnan(moved["c"][1])
    assert (moved["a"] - frame["a"]).to_numpy() == pytest.approx(np.std([1, 2, 3]))
    assert has_numbers(table)
    assert not has_numbers(Table(frame[["b", "d"]], ["0", "1", "0"]))


def test_pictures_stay_pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3)).astype(np.uint8)
    table = Table(pixels, ["0", "1", "0", "1"], is_pictures=True)
    movable = Movable(table)
    points = movable.points(np.arange(4))
    assert points.shape == (4, np.prod(draws_per_record(table)))
    moved = movable.inputs(np.arange(4), points + 100)
    assert moved.shape == (4, 3, 3, 3)
    assert moved.max() <= 1
    assert movable.inputs(np.arange(4), points) == pytest.approx(table.inputs(), abs=1e-6)


def test_what_it_cannot_run_on():
    able = ClassifierCapabilities("classifier", "", 2, has_numbers=False)
    assert "all columns are categories or binary" in boundary.applicable(able)
    with pytest.raises(UsageError, match="searches must be above 0"):
        boundary.BoundaryConfig(searches=0)
