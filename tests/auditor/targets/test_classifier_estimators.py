"""scikit-learn models as targets: answers, columns, classes, and files that are refused."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.special import logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from attacks import signals
from attacks.errors import DataError, TargetError
from auditor.records import load_row_splits
from auditor.targets.classifier import open_classifier, probability_floor

CANCER = load_breast_cancer(as_frame=True)
WINE = load_wine(as_frame=True)
DIGITS = load_digits()


def opened(folder, estimator, example, **options):
    path = folder / "model.skops"
    skops.io.dump(estimator, path)
    return open_classifier(path, example=example, **options)


def phi(logits, classes, eps):
    return signals.phi(signals.clipped(logits, classes, eps), classes)


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)


def test_probabilities_become_their_logarithms(tmp_path):
    model = scaled(LogisticRegression()).fit(WINE.data, WINE.target)
    target = opened(tmp_path, model, WINE.data)
    p = model.predict_proba(WINE.data)
    np.testing.assert_allclose(np.exp(target.logits(WINE.data)), p, rtol=1e-9)
    assert target.capabilities.gives == "probabilities"
    assert target.capabilities.architecture == "Pipeline(LogisticRegression)"
    assert target.capabilities.can_be_queried
    assert target.classes == ("0", "1", "2")
    assert target.capabilities.n_classes == 3
    truth = target.class_indices(WINE.target)
    assert target.clipped_share(target.logits(WINE.data), truth) == 0
    assert target.n_parameters is None
    assert list(target.hashes) == ["model.skops"]
    assert target.logits(WINE.data[:0]).shape == (0, 3)


def test_a_confident_answer_is_not_rounded_away(tmp_path):
    """phi of members may be far above what 1 - p can hold."""
    x = np.array([[-5.0], [-1.0], [0.0], [1.0], [5.0]] * 4)
    y = np.array([0, 0, 1, 2, 2] * 4)
    model = LogisticRegression(C=1e3, max_iter=1000).fit(x, y)
    logits = opened(tmp_path, model, x).logits(x[:5])
    phi = logits[0, 0] - np.logaddexp(logits[0, 1], logits[0, 2])
    wanted = model.decision_function(x[:1])[0]
    assert phi == pytest.approx(wanted[0] - np.logaddexp(*wanted[1:]), rel=1e-6)
    assert phi > 40


def test_forests_are_clipped_at_half_a_vote(tmp_path):
    trees = 20
    model = RandomForestClassifier(trees, random_state=0).fit(CANCER.data, CANCER.target)
    target = opened(tmp_path, model, CANCER.data)
    p = model.predict_proba(CANCER.data)
    eps = 1 / (2 * trees)
    assert target.eps == eps
    logits, truth = target.logits(CANCER.data), target.class_indices(CANCER.target)
    np.testing.assert_allclose(np.exp(logits), p, atol=2e-16)
    p = p[np.arange(len(p)), truth]
    np.testing.assert_allclose(phi(logits, truth, eps), logit(np.clip(p, eps, 1 - eps)))
    assert target.clipped_share(logits, truth) == np.mean((p == 0) | (p == 1)) > 0.1


@pytest.mark.parametrize(
    ("estimator", "floor"),
    [
        (RandomForestClassifier(10, random_state=0), 0.05),
        (RandomForestClassifier(10, max_depth=2, random_state=0), 1e-6),
        (BaggingClassifier(n_estimators=5, random_state=0), 0.1),
        (BaggingClassifier(GaussianNB(), n_estimators=3, random_state=0), None),
        (DecisionTreeClassifier(random_state=0), 1e-6),
        (scaled(KNeighborsClassifier()), 1e-6),
        (CalibratedClassifierCV(GaussianNB(), method="isotonic"), 1e-6),
        (CalibratedClassifierCV(GaussianNB()), None),
        (HistGradientBoostingClassifier(max_iter=5), None),
        (GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2]}, cv=2), 1e-6),
    ],
)
def test_how_far_probabilities_are_clipped(tmp_path, estimator, floor):
    fitted = estimator.fit(WINE.data, WINE.target)
    assert probability_floor(fitted) == floor
    target = opened(tmp_path, fitted, WINE.data)  # scikit-learn's own types all load
    assert target.eps == (0 if floor is None else floor)
    assert np.isfinite(target.logits(WINE.data)).all()
    accuracy = np.mean(target.logits(WINE.data).argmax(axis=1) == target.class_indices(WINE.target))
    assert accuracy > 0.9


def test_margins(tmp_path):
    two = scaled(SVC()).fit(CANCER.data, CANCER.target)
    target = opened(tmp_path, two, CANCER.data)
    assert target.capabilities.gives == "logits"
    logits = target.logits(CANCER.data)
    np.testing.assert_array_equal(logits[:, 0], 0)
    np.testing.assert_allclose(logits[:, 1], two.decision_function(CANCER.data))
    assert target.clipped_share(logits, np.zeros(len(logits), int)) is None
    three = RidgeClassifier().fit(WINE.data, WINE.target)
    np.testing.assert_allclose(
        opened(tmp_path, three, WINE.data).logits(WINE.data), three.decision_function(WINE.data)
    )


def test_labels_alone(tmp_path):
    model = SVC(decision_function_shape="ovo").fit(WINE.data, WINE.target)
    target = opened(tmp_path, model, WINE.data)
    assert target.capabilities.gives == "labels"
    logits = target.logits(WINE.data)
    np.testing.assert_array_equal(logits.argmax(axis=1), model.predict(WINE.data))
    assert len(np.unique(logits.round(9))) == 2
    assert target.clipped_share(logits, np.zeros(len(logits), int)) is None


def test_classes_that_a_model_has_never_seen(tmp_path):
    seen = DIGITS.target % 3 != 0
    x, y = DIGITS.data, DIGITS.target
    forest = RandomForestClassifier(30, random_state=0).fit(x[seen], y[seen])
    svm = SVC().fit(x[seen], y[seen])
    for model in (forest, svm):
        target = opened(tmp_path, model, x, classes=range(10))
        assert target.classes == tuple("0123456789")
        logits = target.logits(x)
        assert logits.shape == (1797, 10)
        unseen = [0, 3, 6, 9]
        known = [1, 2, 4, 5, 7, 8]
        assert np.isfinite(logits).all()
        assert (logits[:, unseen].max(axis=1) <= logits[:, known].min(axis=1)).all()
        assert (target.class_indices(y) == y).all()
    narrow = opened(tmp_path, forest, x)
    with pytest.raises(DataError, match=r"722 of 1797 records .*6 classes \(4 of 10 distinct"):
        narrow.class_indices(y)
    with pytest.raises(TargetError, match="2 of the 6 classes .* not among the 4"):
        opened(tmp_path, forest, x, classes=(1, 2, 4, 5))


def test_labels_of_any_type(tmp_path):
    words = np.array(["no", "yes"])[CANCER.target]
    for y, labels in (
        (words, words),
        (CANCER.target == 1, CANCER.target),
        (CANCER.target, np.where(CANCER.target == 1, "True", "False")),
        (CANCER.target.astype(float), CANCER.target.astype(str)),
    ):
        model = GaussianNB().fit(CANCER.data, y)
        target = opened(tmp_path, model, CANCER.data)
        assert (target.class_indices(labels) == CANCER.target).all()
    with pytest.raises(DataError) as caught:
        opened(tmp_path, GaussianNB().fit(CANCER.data, words), CANCER.data).class_indices(
            ["yes", "perhaps"]
        )
    assert "perhaps" not in str(caught.value)


def mixed_table():
    frame = WINE.data.copy()
    frame["cellar"] = np.array(["north", "south", None], dtype=object)[np.arange(len(frame)) % 3]
    return frame.assign(label=np.array(["a", "b", "c"])[WINE.target])


def test_a_pipeline_with_columns_from_file_to_logits(tmp_path):
    frame = mixed_table().sample(frac=1, random_state=0)
    frame[:90].to_csv(tmp_path / "m.csv", index=False)
    frame[90:].to_csv(tmp_path / "n.csv", index=False)
    read = pd.read_csv(tmp_path / "m.csv")
    model = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["cellar"]),
            (StandardScaler(), list(WINE.data.columns)),
        ),
        LogisticRegression(),
    ).fit(read.drop(columns="label"), read["label"])
    splits = load_row_splits(tmp_path / "m.csv", tmp_path / "n.csv")
    target = opened(tmp_path, model, splits.table.inputs())
    logits = target.logits(splits.table.inputs())
    truth = target.class_indices(splits.table.labels)
    assert np.mean(logits.argmax(axis=1) == truth) > 0.95
    positions = [r.position for r in splits.members]
    np.testing.assert_allclose(target.logits(splits.table.inputs(positions)), logits[positions])


def test_positions_in_place_of_names(tmp_path):
    frame = mixed_table().drop(columns="label")
    frame.columns = range(frame.shape[1])
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), [13]), (StandardScaler(), list(range(13)))),
        LogisticRegression(),
    ).fit(frame, WINE.target)
    named = frame.rename(columns=str)
    target = opened(tmp_path, model, named)
    np.testing.assert_allclose(np.exp(target.logits(named)), model.predict_proba(frame))


def test_arrays_for_models_with_and_without_names(tmp_path):
    some = slice(0, 300)
    plain = LogisticRegression(C=0.1).fit(DIGITS.data[some] / 16, DIGITS.target[some])
    target = opened(tmp_path, plain, DIGITS.images / 16)  # (n, 8, 8) is flattened
    np.testing.assert_allclose(
        np.exp(target.logits(DIGITS.images / 16)), plain.predict_proba(DIGITS.data / 16)
    )
    named = GaussianNB().fit(WINE.data, WINE.target)
    target = opened(tmp_path, named, WINE.data.to_numpy())
    np.testing.assert_allclose(
        np.exp(target.logits(WINE.data.to_numpy())),
        np.maximum(named.predict_proba(WINE.data), 1e-30),
    )


def test_columns_that_do_not_fit(tmp_path):
    model = GaussianNB().fit(WINE.data, WINE.target)
    cases = {
        "lack hue": WINE.data.drop(columns="hue"),
        "does not take: row": WINE.data.assign(row=1),
        "takes 13 features and the records have 12": WINE.data.to_numpy()[:, :12],
    }
    for message, example in cases.items():
        with pytest.raises(TargetError, match=message):
            opened(tmp_path, model, example)
    unnamed = GaussianNB().fit(WINE.data.to_numpy(), WINE.target)
    with pytest.raises(TargetError, match="takes 13 features and the records have 14"):
        opened(tmp_path, unnamed, WINE.data.assign(row=1))


def test_errors_of_a_model_show_no_cell(tmp_path):
    frame = mixed_table().drop(columns="label")
    model = GaussianNB().fit(frame.assign(cellar=1.0), WINE.target)
    private = frame.assign(cellar="Springfield")
    private.loc[3, "hue"] = np.nan
    with pytest.raises(TargetError, match="texts in cellar and missing cells in hue") as caught:
        opened(tmp_path, model, private)
    assert "Springfield" not in str(caught.value)


def test_what_is_no_classifier(tmp_path):
    from sklearn.linear_model import LinearRegression

    y = np.stack([CANCER.target, CANCER.target], axis=1)
    models = {
        "LinearRegression, which is no fitted": LinearRegression().fit(CANCER.data, CANCER.target),
        "GaussianNB, which is no fitted": GaussianNB(),
        "MultiOutputClassifier, which": MultiOutputClassifier(GaussianNB()).fit(CANCER.data, y),
        "knows one class only": GaussianNB().fit(CANCER.data, np.zeros(569)),
    }
    for message, model in models.items():
        with pytest.raises(TargetError, match=message):
            opened(tmp_path, model, CANCER.data)


def shout(x):
    return x


def test_types_of_others_are_refused_by_name(tmp_path):
    model = make_pipeline(FunctionTransformer(shout), GaussianNB()).fit(WINE.data, WINE.target)
    with pytest.raises(TargetError, match=r"not part of scikit-learn .*shout; save the model"):
        opened(tmp_path, model, WINE.data)
    trusted = opened(tmp_path, model, WINE.data, allow_pickle=True)
    assert trusted.capabilities.n_classes == 3


@pytest.mark.parametrize(
    ("name", "is_stock"),
    [
        ("sklearn.tree._tree.Tree", True),
        ("sklearn.neighbors._kd_tree.KDTree", True),
        ("sklearn.utils._bunch.Bunch", True),
        ("sklearn.calibration.partial", False),
        ("sklearn.base.warnings", False),
        ("sklearn.externals.joblib.load", False),
        ("sklearn.nowhere.Tree", False),
        ("sklearn.utils._testing.TempMemmap", False),
        ("sklearnx.tree.Tree", False),
        ("os.system", False),
        ("builtins.eval", False),
    ],
)
def test_only_classes_of_scikit_learn_itself_are_stock(name, is_stock):
    from auditor.targets.classifier.estimators import _is_stock

    assert _is_stock(name) is is_stock


class Hostile:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (self.mark, "w"))


@pytest.mark.parametrize("suffix", ["pkl", "pickle", "joblib"])
def test_pickles_are_refused_without_running(tmp_path, suffix):
    mark = tmp_path / "executed"
    path = tmp_path / f"model.{suffix}"
    joblib.dump(Hostile(str(mark)), path)
    with pytest.raises(TargetError, match=r"is a pickle.*skops.io.dump.*--allow-pickle"):
        open_classifier(path, example=WINE.data)
    assert not mark.exists()
    model = GaussianNB().fit(WINE.data, WINE.target)
    joblib.dump(model, path)
    target = open_classifier(path, example=WINE.data, allow_pickle=True)
    assert target.capabilities.architecture == "GaussianNB"


def test_damaged_files(tmp_path):
    for suffix in ("skops", "pkl"):
        path = tmp_path / f"model.{suffix}"
        path.write_bytes(b"junk")
        with pytest.raises(TargetError, match=f"model.{suffix} cannot be loaded"):
            open_classifier(path, example=WINE.data, allow_pickle=True)


def test_without_skops_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skops.io", None)
    (tmp_path / "model.skops").write_bytes(b"x")
    with pytest.raises(TargetError, match=r'pip install "memorization-auditor\[tabular\]"'):
        open_classifier(tmp_path / "model.skops", example=WINE.data)


def test_the_key_follows_weights_and_classes(tmp_path):
    first = GaussianNB().fit(WINE.data, WINE.target)
    second = GaussianNB().fit(WINE.data[1:], WINE.target[1:])
    skops.io.dump(first, tmp_path / "first.skops")
    path = tmp_path / "first.skops"
    keys = [
        open_classifier(path, example=WINE.data).key,
        open_classifier(path, example=WINE.data[:10]).key,
        opened(tmp_path, second, WINE.data).key,
        open_classifier(path, example=WINE.data, classes=(0, 1, 2, 3)).key,
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
