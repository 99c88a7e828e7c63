"""Confidence signals: golden values, obvious twins, and both ends of the scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from attacks import signals
from attacks.errors import DataError, ShapeError
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
    assert signals.phi(Z, at(0))[0] == pytest.approx(0.6867383, abs=1e-7)
    p = np.exp(signals.log_softmax(Z))[0]
    np.testing.assert_allclose(p, [0.665241, 0.244728, 0.090031], atol=1e-6)
    assert signals.entropy(Z)[0] == pytest.approx(0.8323956, abs=1e-7)
    assert signals.modified_entropy(Z, at(0))[0] == pytest.approx(0.2136335, abs=1e-7)
    assert signals.modified_entropy(Z, at(2))[0] == pytest.approx(2.9875404, abs=1e-7)
    assert signals.hinge(Z, at(1))[0] == -1


@pytest.mark.parametrize(("degree", "expected"), [(3, 0.3985030), (4, 0.3981202)])
def test_golden_values_of_the_taylor_softmax(degree, expected):
    z = np.array([[2.0, 1.0, -1.0]])
    found = signals.taylor_p(z, at(0), temperature=2.0, margin=0.6, degree=degree)
    assert found[0] == pytest.approx(expected, abs=1e-7)
    plain = np.exp(signals.log_softmax(z / 2.0))[0, 0]
    assert plain == pytest.approx(0.5465494, abs=1e-7)


def test_an_odd_taylor_degree_can_leave_0_to_1_and_an_even_one_cannot():
    z = np.array([[-2.6, 0.0, 0.0], [-5.0, 0.0, 0.0]])  # the cubic is negative below -1.596
    negative, above_one = signals.taylor_p(z, at(0, 2), degree=3)
    assert negative < 0
    assert above_one > 1
    far = np.linspace(-300, 300, 2001)[:, None] * np.array([1.0, 0.3, 0.0])
    p = signals.taylor_p(far, at(0, 2001))
    assert np.all((p > 0) & (p < 1))


@given(seed=SEEDS, n=SIZES, k=st.integers(2, 5), degree=st.integers(1, 6))
def test_a_high_taylor_degree_equals_an_obvious_loop(seed, n, k, degree):
    z, classes = draw(seed, n, k)
    found = signals.taylor_p(z, classes, temperature=1.5, margin=0.4, degree=degree)

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
    found = {
        "phi": signals.phi(z, classes),
        "hinge": signals.hinge(z, classes),
        "log_p": signals.log_p(signals.phi(z, classes)),
        "entropy": signals.entropy(z),
        "mentr": signals.modified_entropy(z, classes),
    }
    complement = signals.log_complement(z)
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
                assert found[name][i, q] == pytest.approx(value, rel=1e-6, abs=1e-9), name
            for c in range(k):
                assert complement[i, q, c] == pytest.approx(np.log(1 - p[c]), rel=1e-6, abs=1e-9)


def test_equals_scipy():
    z, classes = draw(0, 50, 4)
    p = special.softmax(z, axis=-1)
    np.testing.assert_allclose(signals.log_softmax(z), special.log_softmax(z, axis=-1))
    np.testing.assert_allclose(signals.entropy(z), stats.entropy(p, axis=-1), atol=1e-12)
    phi = signals.phi(z, classes)
    np.testing.assert_allclose(signals.log_p(phi), special.log_expit(phi), rtol=1e-14)
    np.testing.assert_array_equal(signals.loss(phi), -signals.log_p(phi))


def test_phi_keeps_its_digits_where_the_probability_rounds_to_0_or_1():
    z = np.array([[800.0, 0.0, 0.0], [-800.0, 0.0, 0.0]])
    phi = signals.phi(z, at(0, 2))
    np.testing.assert_allclose(phi, [800 - np.log(2), -800 - np.log(2)])
    np.testing.assert_allclose(signals.loss(phi)[1], 800 + np.log(2))
    assert signals.log_complement(z)[0, 0] == pytest.approx(np.log(2) - 800)


def test_log_probabilities_serve_as_logits():
    p = np.array([[1 - 3e-12, 1e-12, 2e-12]])
    assert signals.phi(np.log(p), at(0))[0] == pytest.approx(np.log(1 / 3e-12), rel=1e-6)


@given(seed=SEEDS, n=SIZES, k=st.integers(2, 5), eps=st.sampled_from([1e-6, 0.005, 0.05, 0.25]))
def test_clipping_equals_an_obvious_loop(seed, n, k, eps):
    rng = np.random.default_rng(seed)
    votes = rng.multinomial(10, rng.dirichlet(np.full(k, 0.3)), (n, 2)) / 10
    classes = rng.integers(k, size=n)
    kept = signals.clipped(np.log(np.maximum(votes, 1e-30)), classes, eps)
    phi = signals.phi(kept, classes)
    for i, y in enumerate(classes):
        for q in range(2):
            p = min(max(votes[i, q, y], eps), 1 - eps)
            others = {c: max(votes[i, q, c], eps / (k - 1)) for c in range(k) if c != y}
            total = sum(others.values())
            expected = [p if c == y else (1 - p) * others[c] / total for c in range(k)]
            np.testing.assert_allclose(np.exp(kept[i, q]), expected, rtol=1e-9)
            assert phi[i, q] == pytest.approx(np.log(p / (1 - p)), abs=1e-9)


def test_clipping_each_class_would_lose_the_order():
    """Why only the true class is held within [eps, 1 - eps]: the others' floors would add up."""
    eps = 0.05
    votes = np.array([[0.7, 0.3, 0, 0, 0], [0.6, 0.1, 0.1, 0.1, 0.1]])
    of_all = signals.phi(np.log(np.clip(votes, eps, 1 - eps)), at(0, 2))
    assert of_all[0] - of_all[1] == pytest.approx(np.log(0.7 / 0.45 / (0.6 / 0.4)))
    sure = np.array([[1.0, 0, 0, 0, 0]])
    logits = np.log(np.maximum(np.concatenate([votes, sure]), 1e-30))
    phi = signals.phi(signals.clipped(logits, at(0, 3), eps), at(0, 3))
    np.testing.assert_allclose(phi, [np.log(7 / 3), np.log(1.5), np.log(19)])


def test_without_eps_nothing_is_clipped_and_a_wrong_eps_is_refused():
    z, classes = draw(0, 5, 4)
    np.testing.assert_array_equal(signals.clipped(z, classes, 0), z)
    for eps in (-0.1, 0.5, np.nan):
        with pytest.raises(DataError, match=r"\[0, 1/2\)"):
            signals.clipped(z, classes, eps)


@given(seed=SEEDS, n=SIZES)
def test_a_constant_added_to_all_logits_changes_nothing(seed, n):
    z, classes = draw(seed, n)
    shifted = z + 100
    for signal in (signals.phi, signals.hinge, signals.modified_entropy):
        np.testing.assert_allclose(signal(shifted, classes), signal(z, classes), atol=1e-9)


def test_modified_entropy_is_zero_for_certainty_and_unbounded_for_a_certain_mistake():
    sure = np.array([[50.0, 0.0, 0.0]])
    assert 0 < signals.modified_entropy(sure, at(0))[0] < 1e-20
    assert signals.modified_entropy(np.array([[1000.0, 0.0, 0.0]]), at(0))[0] == 0
    mistakes = np.array([[-a, 0.0, 0.0] for a in (1.0, 10.0, 100.0, 1000.0)])
    values = signals.modified_entropy(mistakes, at(0, 4))
    assert np.all(np.diff(values) > 0)
    assert values[-1] > 999


def test_modified_entropy_falls_as_the_true_class_gains_on_fixed_others():
    p_y = np.linspace(0.001, 0.999, 400)
    p = np.stack([p_y, 0.7 * (1 - p_y), 0.3 * (1 - p_y)], axis=1)
    assert np.all(np.diff(signals.modified_entropy(np.log(p), at(0, 400))) < 0)


def test_entropy_does_not_look_at_the_class_and_modified_entropy_does():
    z = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert signals.entropy(z)[0] == signals.entropy(z)[1]
    right, wrong = signals.modified_entropy(z, at(0, 2))
    assert right < wrong


def test_no_records():
    empty = np.zeros((0, 2, 3))
    for signal in (signals.phi, signals.hinge, signals.modified_entropy):
        assert signal(empty, np.zeros(0, dtype=int)).shape == (0, 2)
    assert signals.entropy(empty).shape == (0, 2)


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
        signals.phi(logits, np.array(classes))
