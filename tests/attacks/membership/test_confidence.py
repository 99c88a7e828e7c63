"""Confidence signals: golden values, obvious twins, and both ends of the scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from attacks.errors import DataError, ShapeError
from attacks.membership import _confidence
from tests.attacks.membership.synthetic import SEEDS, SIZES

Z = np.array([[2.0, 1.0, 0.0]])


def draw(seed, n, k=3, scale=3.0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (n, 2, k)), rng.integers(k, size=n)


def at(y, n=1):
    return np.full(n, y)


def naive_softmax(z):
    exps = [np.exp(value) for value in z]
    return [value / sum(exps) for value in exps]


def test_golden_values():
    assert _confidence.phi(Z, at(0))[0] == pytest.approx(0.6867383, abs=1e-7)
    p = np.exp(_confidence.log_softmax(Z))[0]
    np.testing.assert_allclose(p, [0.665241, 0.244728, 0.090031], atol=1e-6)
    assert _confidence.entropy(Z)[0] == pytest.approx(0.8323956, abs=1e-7)
    assert _confidence.modified_entropy(Z, at(0))[0] == pytest.approx(0.2136335, abs=1e-7)
    assert _confidence.modified_entropy(Z, at(2))[0] == pytest.approx(2.9875404, abs=1e-7)
    assert _confidence.hinge(Z, at(1))[0] == -1


@pytest.mark.parametrize(("degree", "expected"), [(3, 0.3985030), (4, 0.3981202)])
def test_golden_values_of_the_taylor_softmax(degree, expected):
    z = np.array([[2.0, 1.0, -1.0]])
    found = _confidence.taylor_p(z, at(0), temperature=2.0, margin=0.6, degree=degree)
    assert found[0] == pytest.approx(expected, abs=1e-7)
    plain = np.exp(_confidence.log_softmax(z / 2.0))[0, 0]
    assert plain == pytest.approx(0.5465494, abs=1e-7)


def test_an_odd_taylor_degree_can_leave_0_to_1_and_an_even_one_cannot():
    z = np.array([[-2.6, 0.0, 0.0], [-5.0, 0.0, 0.0]])  # the cubic is negative below -1.596
    negative, above_one = _confidence.taylor_p(z, at(0, 2), degree=3)
    assert negative < 0
    assert above_one > 1
    far = np.linspace(-300, 300, 2001)[:, None] * np.array([1.0, 0.3, 0.0])
    p = _confidence.taylor_p(far, at(0, 2001))
    assert np.all((p > 0) & (p < 1))


@given(seed=SEEDS, n=SIZES, k=st.integers(2, 5), degree=st.integers(1, 6))
def test_a_high_taylor_degree_equals_an_obvious_loop(seed, n, k, degree):
    z, classes = draw(seed, n, k)
    found = _confidence.taylor_p(z, classes, temperature=1.5, margin=0.4, degree=degree)

    def polynomial(v):
        return sum(v**i / special.factorial(i) for i in range(degree + 1))

    for i, y in enumerate(classes):
        for q in range(2):
            top = polynomial(z[i, q, y] / 1.5 - 0.4)
            others = sum(polynomial(z[i, q, c] / 1.5) for c in range(k) if c != y)
            assert found[i, q] == pytest.approx(top / (top + others), rel=1e-9)


@given(seed=SEEDS, n=SIZES, k=st.integers(2, 5))
def test_signals_equal_obvious_loops(seed, n, k):
    z, classes = draw(seed, n, k)
    signals = {
        "phi": _confidence.phi(z, classes),
        "hinge": _confidence.hinge(z, classes),
        "log_p": _confidence.log_p(_confidence.phi(z, classes)),
        "entropy": _confidence.entropy(z),
        "mentr": _confidence.modified_entropy(z, classes),
    }
    complement = _confidence.log_complement(z)
    for i, y in enumerate(classes):
        for q in range(2):
            p = naive_softmax(z[i, q])
            others = [c for c in range(k) if c != y]
            expected = {
                "phi": np.log(p[y] / (1 - p[y])),
                "hinge": z[i, q, y] - max(z[i, q, c] for c in others),
                "log_p": np.log(p[y]),
                "entropy": -sum(v * np.log(v) for v in p),
                "mentr": -(1 - p[y]) * np.log(p[y]) - sum(p[c] * np.log(1 - p[c]) for c in others),
            }
            for name, value in expected.items():
                assert signals[name][i, q] == pytest.approx(value, rel=1e-6, abs=1e-9), name
            for c in range(k):
                assert complement[i, q, c] == pytest.approx(np.log(1 - p[c]), rel=1e-6, abs=1e-9)


def test_equals_scipy():
    z, classes = draw(0, 50, 4)
    p = special.softmax(z, axis=-1)
    np.testing.assert_allclose(_confidence.log_softmax(z), special.log_softmax(z, axis=-1))
    np.testing.assert_allclose(_confidence.entropy(z), stats.entropy(p, axis=-1), atol=1e-12)
    phi = _confidence.phi(z, classes)
    np.testing.assert_allclose(_confidence.log_p(phi), special.log_expit(phi), rtol=1e-14)
    np.testing.assert_array_equal(_confidence.loss(phi), -_confidence.log_p(phi))


def test_phi_keeps_its_digits_where_the_probability_rounds_to_0_or_1():
    z = np.array([[800.0, 0.0, 0.0], [-800.0, 0.0, 0.0]])
    phi = _confidence.phi(z, at(0, 2))
    np.testing.assert_allclose(phi, [800 - np.log(2), -800 - np.log(2)])
    np.testing.assert_allclose(_confidence.loss(phi)[1], 800 + np.log(2))
    assert _confidence.log_complement(z)[0, 0] == pytest.approx(np.log(2) - 800)


def test_log_probabilities_serve_as_logits():
    p = np.array([[1 - 3e-12, 1e-12, 2e-12]])
    assert _confidence.phi(np.log(p), at(0))[0] == pytest.approx(np.log(1 / 3e-12), rel=1e-6)


@given(seed=SEEDS, n=SIZES)
def test_a_constant_added_to_all_logits_changes_nothing(seed, n):
    z, classes = draw(seed, n)
    shifted = z + 100
    for signal in (_confidence.phi, _confidence.hinge, _confidence.modified_entropy):
        np.testing.assert_allclose(signal(shifted, classes), signal(z, classes), atol=1e-9)


def test_modified_entropy_is_zero_for_certainty_and_unbounded_for_a_certain_mistake():
    sure = np.array([[50.0, 0.0, 0.0]])
    assert 0 < _confidence.modified_entropy(sure, at(0))[0] < 1e-20
    assert _confidence.modified_entropy(np.array([[1000.0, 0.0, 0.0]]), at(0))[0] == 0
    mistakes = np.array([[-a, 0.0, 0.0] for a in (1.0, 10.0, 100.0, 1000.0)])
    values = _confidence.modified_entropy(mistakes, at(0, 4))
    assert np.all(np.diff(values) > 0)
    assert values[-1] > 999


def test_modified_entropy_falls_as_the_true_class_gains_on_fixed_others():
    p_y = np.linspace(0.001, 0.999, 400)
    p = np.stack([p_y, 0.7 * (1 - p_y), 0.3 * (1 - p_y)], axis=1)
    assert np.all(np.diff(_confidence.modified_entropy(np.log(p), at(0, 400))) < 0)


def test_entropy_does_not_look_at_the_class_and_modified_entropy_does():
    z = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert _confidence.entropy(z)[0] == _confidence.entropy(z)[1]
    right, wrong = _confidence.modified_entropy(z, at(0, 2))
    assert right < wrong


def test_no_records():
    empty = np.zeros((0, 2, 3))
    for signal in (_confidence.phi, _confidence.hinge, _confidence.modified_entropy):
        assert signal(empty, np.zeros(0, dtype=int)).shape == (0, 2)
    assert _confidence.entropy(empty).shape == (0, 2)


@pytest.mark.parametrize(
    ("logits", "classes", "error", "message"),
    [
        (np.zeros((2, 1)), [0, 0], ShapeError, r"two classes or more, got 1.*\(0, s\)"),
        (np.zeros((2, 3)), [0], ShapeError, "got 1 for 2 records"),
        (np.zeros((2, 3)), [0, 3], DataError, "from 0 to 2, got 0 to 3"),
        (np.zeros((2, 3)), [-1, 0], DataError, "got -1 to 0"),
    ],
)
def test_classes_and_logits_that_do_not_fit_are_refused(logits, classes, error, message):
    with pytest.raises(error, match=message):
        _confidence.phi(logits, np.array(classes))
