"""The contract of a method: the catalogue, its labels, records, claims, and shadow models."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError, UsageError
from auditor.methods import Records, registry
from auditor.methods.claims import Check, judge_claim
from auditor.methods.classifiers import (
    MethodTrainer,
    accuracy,
    centred_by_class,
    true_class_confidence,
)
from auditor.methods.digits import digit_data
from auditor.methods.findings import auc_estimate
from auditor.methods.protocol import MethodManifest, checked_keep

NAMES = list(registry.BUILT_IN)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_is_complete_and_labelled(name):
    module = registry.method(name)
    m = module.MANIFEST
    faults = [f"no {member}" for member in registry.MEMBERS if not hasattr(module, member)]
    faults += [f"empty {f.name}" for f in dataclasses.fields(m) if not getattr(m, f.name)]
    if m.name != name:
        faults.append(f"manifest says {m.name}")
    if not re.fullmatch(r"arXiv:\d{4}\.\d{5}", m.reference) or m.reference not in module.__doc__:
        faults.append(f"reference {m.reference}")
    if "Measured" not in module.__doc__:
        faults.append("the docstring reports no measurement")
    if not m.claim.endswith(".") or not m.privacy_question.endswith("?"):
        faults.append("claim must be a sentence and the question a question")
    assert not faults


def test_listing_methods_imports_nothing_heavy():
    program = textwrap.dedent("""
        import sys
        from auditor.methods import registry
        assert [m.MANIFEST.name for m in registry.all_methods()][:2] == ["memo", "tesla"]
        sys.exit(any(name in sys.modules for name in ("torch", "sklearn", "scipy")))
    """)
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'tesla'"):
        registry.method("telsa")


class Foreign:
    """A method of another package."""

    MANIFEST = MethodManifest("foreign", "t", "classifier", "arXiv:0000.00000", "c.", "q?")
    default_data = train = baseline = claim = own_question = staticmethod(lambda: None)


class Incomplete:
    MANIFEST = Foreign.MANIFEST


@pytest.fixture
def entry_points(monkeypatch):
    def install(**loaded):
        class EntryPoint:
            dist, module = None, "foreign_package"

            def __init__(self, name, value):
                self.name, self.value = name, value

            def load(self):
                if isinstance(self.value, Exception):
                    raise self.value
                return self.value

        points = {name: EntryPoint(name, value) for name, value in loaded.items()}
        monkeypatch.setattr(registry, "_entry_points", lambda: points)

    registry._load.cache_clear()
    return install


def test_a_foreign_method_is_found_and_broken_ones_disturb_nothing(entry_points):
    entry_points(
        foreign=Foreign, memo=Foreign, other=Foreign, partial=Incomplete, bad=ImportError("no")
    )
    assert registry.names() == (*NAMES, "bad", "foreign", "other", "partial")
    assert registry.method("foreign") is Foreign
    assert [m.MANIFEST.name for m in registry.all_methods()] == [*NAMES, "foreign"]
    reasons = registry.broken_methods()
    assert "belongs to a built-in" in reasons["memo (module foreign_package)"]
    assert "cannot be loaded" in reasons["bad"]
    assert "calls itself 'foreign'" in reasons["other"]
    assert "lacks default_data, train" in reasons["partial"]


# --- records --------------------------------------------------------------------------------


def test_records_need_one_row_in_every_array():
    with pytest.raises(ShapeError, match="3 features, 3 classes, 2 users"):
        Records(np.zeros((3, 2)), np.zeros(3, int), extras={"users": np.zeros(2)})


def test_taking_rows_keeps_all_columns_together():
    records = Records(
        np.arange(8.0).reshape(4, 2), np.arange(4), tuple("abcd"), {"users": np.arange(4) * 10}
    )
    for rows in (np.array([3, 1]), np.array([False, True, False, True])):
        taken = records.take(rows)
        order = np.arange(4)[rows]
        assert taken.classes.tolist() == order.tolist()
        assert taken.ids == tuple("abcd"[i] for i in order)
        assert taken.extras["users"].tolist() == (order * 10).tolist()
        assert taken.features[:, 0].tolist() == (order * 2.0).tolist()


def test_keep_must_fit_and_keep_something():
    records = Records(np.zeros((3, 1)))
    with pytest.raises(ShapeError, match="3,"):
        checked_keep(records, np.ones(2, bool))
    with pytest.raises(ShapeError):
        checked_keep(records, np.array([0, 1, 2]))
    with pytest.raises(DataError, match="marks no record"):
        checked_keep(records, np.zeros(3, bool))
    with pytest.raises(DataError, match="no classes"):
        records.required_classes()


def test_the_digits_are_distinct_and_the_test_set_is_apart():
    full, quick = digit_data(), digit_data(600)
    assert (len(full.pool), len(full.test), len(quick.pool)) == (1200, 597, 600)
    assert np.array_equal(full.pool.features[:600], quick.pool.features)
    assert np.array_equal(full.test.features, quick.test.features)
    everything = np.concatenate([full.pool.features, full.test.features]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == 1797
    assert full.pool.features.dtype == np.float32
    assert 0 <= full.pool.features.min() < full.pool.features.max() == 1


# --- claims ---------------------------------------------------------------------------------


def test_a_claim_needs_its_floor_its_limit_and_its_checks():
    def holds(gains, **options):
        return judge_claim("m", range(3), gains, [0.0] * 3, floor=0.1, **options).holds

    assert holds([0.2, 0.21, 0.22])
    assert not holds([0.05, 0.06, 0.07])  # below the floor
    assert not holds([0.5, 0.0, 0.1])  # too uncertain
    assert not holds([0.0, 0.0, 0.0])
    assert not holds([0.2, 0.21, 0.22], checks=[Check("it is flat", False)])
    with pytest.raises(UsageError, match="at least 3 trials"):
        judge_claim("m", range(2), [1, 1], [0, 0], floor=0.1)


def test_a_claim_says_what_it_found():
    result = judge_claim(
        "accuracy", range(5, 8), [0.5, 0.6, 0.7], [0.3, 0.3, 0.3], floor=0.1, checks=[Check("x", 0)]
    )
    assert result.effects == pytest.approx((0.2, 0.3, 0.4))
    assert (result.mean, result.sd) == (pytest.approx(0.3), pytest.approx(0.1))
    # t of 2 degrees of freedom at 95 %: 2.91999
    assert result.low == pytest.approx(0.3 - 2.91999 * 0.1 / 3**0.5, abs=1e-5)
    assert result.seeds == (5, 6, 7)
    assert "0.600 with the mechanism against 0.300" in result.description
    assert "not met: x" in result.description


# --- what methods share ---------------------------------------------------------------------


@given(seed=st.integers(0, 1000), n=st.integers(1, 6), k=st.integers(2, 5))
def test_confidence_is_the_logit_of_the_true_probability(seed, n, k):
    rng = np.random.default_rng(seed)
    logits, classes = rng.normal(size=(n, k)) * 3, rng.integers(k, size=n)
    for i, phi in enumerate(true_class_confidence(logits, classes)):
        p = np.exp(logits[i]) / np.exp(logits[i]).sum()
        assert phi == pytest.approx(np.log(p[classes[i]] / (1 - p[classes[i]])))


def test_confidence_stays_finite_where_probabilities_round():
    assert true_class_confidence(
        np.array([[900.0, 0.0], [-900.0, 0.0]]), np.array([0, 0])
    ).tolist() == [900, -900]


def test_centring_takes_the_median_of_each_class_off():
    scores, classes = np.array([1.0, 5.0, 2.0, 9.0]), np.array([0, 1, 0, 1])
    assert centred_by_class(scores, classes).tolist() == [-0.5, -2, 0.5, 2]
    assert scores.tolist() == [1, 5, 2, 9]


def test_an_empty_side_has_a_reason_in_place_of_an_auc():
    empty = auc_estimate(np.zeros(0), np.ones(3))
    assert empty.value is None
    assert "positive side" in empty.reason
    assert auc_estimate(np.ones(3), np.zeros(3)).value == 1


def test_a_method_trains_shadow_models_of_any_rows():
    class Constant:
        def __init__(self, records, keep, seed):
            self.answer = np.eye(3)[records.classes[keep][0]] + 0 * seed

        def logits(self, features):
            return np.tile(self.answer, (len(features), 1))

    features, classes = np.zeros((4, 2)), np.array([0, 1, 2, 2])
    keep = np.array([[0, 1, 1, 0], [0, 0, 0, 1]], bool)
    models = MethodTrainer(Constant).train(features, classes, keep, [1, 2])
    records = Records(features, classes)
    assert [accuracy(model, records) for model in models] == [0.25, 0.5]
    assert accuracy(models[0], records, among=np.array([1, 2])) == pytest.approx(1 / 3)
    with pytest.raises(DataError, match="no record"):
        accuracy(models[0], records, among=np.array([7]))
