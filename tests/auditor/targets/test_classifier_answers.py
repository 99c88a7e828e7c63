"""From raw answers to logits: golden values, twins, saved predictions, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from attacks.errors import TargetError
from attacks.signals import clipped
from auditor.records import load_row_splits
from auditor.records.rows import SavedPredictions, Table
from auditor.targets.classifier import (
    log_probabilities,
    open_classifier,
    open_predictions,
    recognise,
)
from auditor.targets.classifier.answers import MASKED, Shape, shape_of, to_logits

FRAME = load_wine(as_frame=True).frame.sample(frac=1, random_state=0, ignore_index=True)
WINE = ((FRAME - FRAME.mean()) / FRAME.std()).assign(target=FRAME["target"])


def phi(logits, label):
    """log p_y - log of the sum of the other probabilities, for one row."""
    others = [value for c, value in enumerate(logits) if c != label]
    return logits[label] - np.logaddexp.reduce(others)


def test_golden_values():
    p = np.array([[0.665241, 0.244728, 0.090031]])
    assert phi(log_probabilities(p)[0], 0) == pytest.approx(0.6867383, abs=1e-5)
    logits = to_logits(np.array([[2.0, 1.0, 0.0]]), Shape("logits", 3), "m")
    assert phi(logits[0], 0) == pytest.approx(0.6867383, abs=1e-7)


def test_exact_zeros_and_ones_with_two_classes():
    p = log_probabilities(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
    logits = clipped(p, np.zeros(3, int), 0.01)
    assert [phi(row, 0) for row in logits] == pytest.approx([np.log(99), -np.log(99), 0])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 6).flatmap(
        lambda k: st.lists(
            st.lists(st.floats(0, 1), min_size=k, max_size=k).filter(lambda r: sum(r) > 0.1),
            min_size=1,
            max_size=5,
        )
    )
)
def test_only_what_a_float_cannot_hold_is_moved(rows):
    p = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    least = 1e-16 if p.shape[1] == 2 else 1e-30
    expected = [[np.log(max(v, least)) for v in row] for row in p.tolist()]
    np.testing.assert_allclose(log_probabilities(p), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "kind", "n_columns"),
    [
        ([[0.2, 0.8], [1.0, 0.0]], "probabilities", 2),
        ([[0.2, 0.9], [1.0, 0.0]], "logits", 2),
        ([[-0.2, 1.2], [0.5, 0.5]], "logits", 2),
        ([[-1.2, -0.4], [0.0, -9.0]], "logits", 2),
        ([0.2, 0.9], "probabilities", 1),
        ([[0.2], [1.9]], "logits", 1),
    ],
)
def test_what_answers_are(values, kind, n_columns):
    assert shape_of(np.array(values), None, "m") == Shape(kind, n_columns)


def test_one_column_is_the_second_class():
    logits = to_logits(np.array([[3.0], [-2.0]]), Shape("logits", 1), "m")
    np.testing.assert_array_equal(logits, [[0, 3], [0, -2]])
    logits = to_logits(np.array([[0.25], [1.0]]), Shape("probabilities", 1), "m")
    np.testing.assert_allclose(np.exp(logits), [[0.75, 0.25], [1e-16, 1]])


def test_masked_logits_become_finite():
    logits = to_logits(np.array([[3.0, -np.inf]]), Shape("logits", 2), "m")
    assert logits.tolist() == [[3.0, 3.0 + MASKED]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[np.nan, 1.0], [1.0, 0.0]], "NaN or infinity about 1 of 2 records"),
        ([[np.inf, 1.0], [1.0, 0.0]], "NaN or infinity about 1 of 2 records"),
        ([[[1.0]], [[2.0]]], r"shape \(2, 1, 1\)"),
        (np.empty((2, 0)), "no column"),
    ],
)
def test_answers_that_are_refused(values, message):
    with pytest.raises(TargetError, match=message):
        shape_of(np.array(values), None, "m")


def test_a_model_that_changes_its_mind_is_refused():
    shape = Shape("probabilities", 2)
    with pytest.raises(TargetError, match="answers with 3 columns, before with 2"):
        to_logits(np.ones((2, 3)), shape, "m")
    with pytest.raises(TargetError, match="do not add up to 1 for 1 of 2 records"):
        to_logits(np.array([[0.5, 0.5], [0.5, 0.9]]), shape, "m")


# --- saved predictions ----------------------------------------------------------------------


def saved(tmp_path, model, prefix="p_", rounded=None):
    x, y = WINE.drop(columns="target"), WINE["target"]
    answers = model.predict_proba(x) if prefix == "p_" else model.decision_function(x)
    columns = [f"{prefix}{label}" for label in model.classes_]
    frame = pd.DataFrame(answers, columns=columns)
    frame = frame if rounded is None else frame.round(rounded)
    whole = pd.concat([x.assign(label=y), frame], axis=1)
    whole[:90].to_parquet(tmp_path / "m.parquet")
    whole[90:].to_parquet(tmp_path / "n.parquet")
    splits = load_row_splits(tmp_path / "m.parquet", tmp_path / "n.parquet", predictions="columns")
    return splits, answers


def fitted(estimator):
    return estimator.fit(WINE.drop(columns="target")[:90], WINE["target"][:90])


def test_saved_predictions_answer_as_the_model_does(tmp_path):
    import skops.io

    for prefix in ("p_", "logit_"):
        model = fitted(LogisticRegression())
        splits, answers = saved(tmp_path, model, prefix)
        target = open_predictions(splits.table)
        assert not target.capabilities.can_be_queried
        assert target.capabilities.gives == ("probabilities" if prefix == "p_" else "logits")
        assert set(target.hashes) == {"m.parquet", "n.parquet"}
        assert target.n_parameters is None
        assert target.classes == ("0", "1", "2")
        positions = [r.position for r in splits.members]
        logits = target.logits(splits.table.inputs(positions))
        rows = [r.source.row for r in splits.members]
        wanted = np.log(answers[rows]) if prefix == "p_" else answers[rows]
        np.testing.assert_allclose(logits, wanted, atol=1e-9)
    skops.io.dump(model, tmp_path / "m.skops")
    bare = Table(splits.table.features, splits.table.labels)
    whole = open_classifier(tmp_path / "m.skops", example=bare.inputs())
    for label in range(3):
        alone = [phi(row, label) for row in target.logits(splits.table.inputs())]
        assert alone == pytest.approx([phi(row, label) for row in whole.logits(bare.inputs())])


def test_zeros_among_saved_predictions_keep_their_order(tmp_path):
    splits, answers = saved(tmp_path, fitted(RandomForestClassifier(25, random_state=0)))
    target = open_predictions(splits.table)
    smallest = answers[answers > 0].min()
    assert target.eps == pytest.approx(smallest / 2)
    assert smallest == pytest.approx(1 / 25)  # so eps is the half vote that the forest would have
    logits = target.logits(splits.table.inputs())
    truth = target.class_indices(splits.table.labels)
    assert target.clipped_share(logits, truth) > 0.2
    rows = {r.position: r.source.row + 90 * (r in splits.nonmembers)
            for r in (*splits.members, *splits.nonmembers)}  # fmt: skip
    p = answers[[rows[i] for i in range(len(rows))]]
    for label in range(3):
        order = np.argsort(p[:, label], kind="stable")
        assert (np.diff(logits[order, label]) >= -1e-12).all()


def test_rounded_probabilities_are_accepted(tmp_path):
    splits, _ = saved(tmp_path, fitted(LogisticRegression()), rounded=2)
    target = open_predictions(splits.table)
    assert target.eps == pytest.approx(0.005)
    assert np.isfinite(target.logits(splits.table.inputs())).all()


def table_of(values, kind="probabilities", classes=None):
    n = len(values)
    predictions = SavedPredictions(np.array(values, float), classes, kind, ())
    return Table(np.empty((n, 0)), ["0"] * n, predictions=predictions)


def test_faults_of_saved_predictions():
    cases = [
        (table_of([[0.5, 0.5], [0.5, 0.9]]), None, "do not add up to 1 for 1 of 2"),
        (table_of([[0.5, 0.5], [-0.5, 1.5]]), None, "do not lie in"),
        (table_of([[0.5, 0.5], [np.nan, 0.9]]), None, "NaN or infinity about 1 of 2"),
        (table_of([[1.0, 0.0]]), ["a", "b", "c"], "2 columns, but 3 classes"),
        (table_of([[1.0, 0.0]], classes=("a", "b")), ["a", "c"], "1 of the 2 classes"),
        (Table(np.zeros((2, 2)), ["0", "1"]), None, "no saved predictions; add columns p_0"),
        (table_of(np.empty((0, 2))), None, "opened with a few records"),
    ]
    for table, classes, message in cases:
        with pytest.raises(TargetError, match=message):
            open_predictions(table, classes=classes)
    late = np.full((400, 2), 0.5)
    late[399] = 0.9
    with pytest.raises(TargetError, match="do not add up to 1 for 1 of 400"):
        open_predictions(table_of(late))


# --- recognising ----------------------------------------------------------------------------


def test_families(tmp_path):
    for name in ("m.skops", "m.onnx", "m.safetensors", "m.pt2", "m.pkl", "m.joblib", "M.ONNX"):
        (tmp_path / name).write_bytes(b"x")
        assert recognise(str(tmp_path / name)) == "classifier"
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    assert recognise(str(tmp_path / "pipeline")) == "diffusion"
    assert recognise("someone/a-model") == "diffusion"
    assert recognise("predictions") == "classifier"


def test_what_was_looked_for_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.pth").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    cases = {
        str(tmp_path / "empty"): "no model_index.json .* one file",
        str(tmp_path / "model.pth"): "pickled checkpoint, which can run code",
        str(tmp_path / "notes.txt"): "no model that auditor knows.*skops",
        str(tmp_path / "gone.skops"): "there is no model at",
        "models/gone.onnx": "there is no model at",
        "nowhere": "there is no model at .*predictions",
    }
    for model, message in cases.items():
        with pytest.raises(TargetError, match=message):
            recognise(model)


def test_bad_arguments(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "model_index.json").write_text("{}")
    example = np.zeros((3, 2))
    for options, message in (
        ({"precision": "fp16"}, "precision 'fp16' is not for classifiers"),
        ({"factory": "a:b"}, "m.onnx needs none"),
    ):
        with pytest.raises(TargetError, match=message):
            open_classifier(tmp_path / "m.onnx", example=example, **options)
    for model in (tmp_path / "p", "someone/a-model", "predictions"):
        with pytest.raises(TargetError, match="is no file of a classifier"):
            open_classifier(model, example=example)
    (tmp_path / "m.safetensors").write_bytes(b"x")
    with pytest.raises(TargetError, match="device 'warp'"):
        open_classifier(tmp_path / "m.safetensors", example=example, device="warp", factory="a:b")
