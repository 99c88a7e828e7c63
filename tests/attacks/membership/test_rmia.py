"""RMIA: golden values, the table of all pairs, its ranking, and the tuning of `a`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import signals
from attacks.errors import DataError, Inapplicable, UsageError
from attacks.membership import _ratios, rmia
from attacks.membership._classifier import Shadows
from attacks.observations import (
    Calibration,
    Classes,
    Logits,
    ShadowConfidence,
    ShadowKeep,
    ShadowLogits,
)
from attacks.statistics import auc
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, calibration, observe, rows
from tests.attacks.membership.synthetic_classifier import pairs

ONLINE = rmia.RmiaConfig()
OFFLINE = rmia.RmiaConfig(mode="offline", a=1.0)
X = ([0.9, 0.5, 0.8, 0.3], [0.6, 0.4, 0.8, 0.35])
Z = ([0.7, 0.2, 0.5, 0.9, 0.6], [0.7, 0.3, 0.4, 0.8, 0.65])


def answers(p_target, p_out):
    """One pair of shadow models, the second of which is OUT; two classes."""

    def phi(p):
        return np.log(p) - np.log1p(-np.asarray(p))

    n = len(p_target)
    target = phi(p_target)[:, None]
    return {
        Classes(): np.zeros(n, dtype=int),
        Logits(): np.stack([target, np.zeros((n, 1))], axis=-1),
        ShadowConfidence(): np.stack([np.full(n, 3.0), phi(p_out)], axis=1)[:, :, None],
        ShadowKeep(): np.tile([True, False], (n, 1)),
    }


def shares(scores, z):
    """The share of the population in a score whose ties are broken."""
    return np.floor(scores * (z + 1)) / z


@pytest.mark.parametrize(
    ("a", "gamma", "ratios", "expected"),
    [
        (1.0, 1.0, (1.5, 1.25, 1.0, 0.857143), (1.0, 0.8, 0.4, 0.2)),
        (1.0, 2.0, (1.5, 1.25, 1.0, 0.857143), (0.2, 0, 0, 0)),
        (0.3, 1.0, (1.216216, 0.819672, 0.919540, 0.519481), (1.0, 0.4, 0.8, 0.2)),
        (0.0, 1.0, None, (1.0, 0.2, 0.8, 0.2)),
        (0.0, 2.0, None, (0.2, 0.2, 0.2, 0)),
    ],
)
def test_golden_values(a, gamma, ratios, expected):
    config = rmia.RmiaConfig(mode="offline", a=a, gamma=gamma, strict=True)
    part = Calibration(answers(*Z), np.zeros(5, dtype=bool))
    scores = rmia.score(answers(*X), config, part)
    np.testing.assert_allclose(shares(scores, 5), expected)
    if ratios:
        found = np.exp(rmia.score(answers(*X), config))
        np.testing.assert_allclose(found, ratios, atol=1e-6)


def naive_ratio(observations, config, i):
    """Probabilities multiplied and divided as they are."""
    ratios = []
    for q in range(config.queries):
        z = observations[Logits(queries=config.queries)][i, q] / config.temperature
        p = (np.exp(z) / np.exp(z).sum())[observations[Classes()][i]]
        request = ShadowConfidence(queries=config.queries, temperature=config.temperature)
        shadow = 1 / (1 + np.exp(-observations[request][i, :, q]))
        keep = observations[ShadowKeep()][i]
        p_in, p_out = np.mean(shadow[keep]), np.mean(shadow[~keep])
        usual = (p_in + p_out) / 2
        if config.mode == "offline":
            usual = ((1 + config.a) * p_out + 1 - config.a) / 2
        ratios.append(p / usual)
    return np.exp(np.mean(np.log(ratios)))


@given(
    seed=SEEDS,
    n=SIZES,
    queries=st.integers(1, 2),
    a=st.sampled_from([None, 0.0, 0.4, 1.0]),
    gamma=st.sampled_from([0.5, 1.0, 2.0]),
    temperature=st.sampled_from([1.0, 2.0]),
    strict=st.booleans(),
)
def test_equals_the_table_of_all_pairs(seed, n, queries, a, gamma, temperature, strict):
    config = rmia.RmiaConfig(
        mode="online" if a is None else "offline",
        a=a,
        gamma=gamma,
        temperature=temperature,
        queries=queries,
        strict=strict,
    )
    rng = np.random.default_rng(seed)
    part = calibration(rmia.requests(config), rng, n=10)
    observations = observe(rmia.requests(config), n, rng, np.arange(n // 2))
    ratios = [naive_ratio(observations, config, i) for i in range(n)]
    np.testing.assert_allclose(rmia.score(observations, config), np.log(ratios), atol=1e-9)
    population = [
        naive_ratio(part.observations, config, i) for i in range(10) if not part.is_member[i]
    ]
    expected = [np.mean([r / z > gamma for z in population]) for r in ratios]
    found = shares(rmia.score(observations, config, part), 5)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_equal_ratios_count_unless_strict():
    part = Calibration(answers([0.5, 0.5], [0.5, 0.5]), np.zeros(2, dtype=bool))
    same = answers([0.5], [0.5])
    config = dataclasses.replace(OFFLINE, gamma=1.0)
    assert shares(rmia.score(same, config, part), 2) == [1]
    assert shares(rmia.score(same, dataclasses.replace(config, strict=True), part), 2) == [0]


@given(
    seed=SEEDS, gamma=st.sampled_from([0.1, 1.0, 2.0, 50.0]), mode=st.sampled_from(["on", "off"])
)
def test_the_ranking_is_that_of_the_ratio_whatever_gamma_is(seed, gamma, mode):
    config = dataclasses.replace(ONLINE if mode == "on" else OFFLINE, gamma=gamma)
    rng = np.random.default_rng(seed)
    part = calibration(rmia.requests(config), rng, n=12)
    observations = observe(rmia.requests(config), 30, rng, np.arange(10))
    alone, with_part = (np.argsort(rmia.score(observations, config, p)) for p in (None, part))
    assert np.array_equal(alone, with_part)


def test_the_population_is_the_nonmembers_in_any_order():
    rng = np.random.default_rng(0)
    part = calibration(rmia.requests(ONLINE), rng)
    observations = observe(rmia.requests(ONLINE), 20, rng)
    expected = rmia.score(observations, ONLINE, part)
    nonmembers = rng.permutation(np.flatnonzero(~part.is_member))
    alone = Calibration(rows(part.observations, nonmembers), np.zeros(len(nonmembers), dtype=bool))
    assert np.array_equal(rmia.score(observations, ONLINE, alone), expected)
    only_members = Calibration(part.observations, np.ones(60, dtype=bool))
    log_ratio = rmia.score(observations, ONLINE)
    assert np.array_equal(rmia.score(observations, ONLINE, only_members), log_ratio)


@given(seed=SEEDS, n=SIZES)
def test_with_a_1_and_one_out_model_it_ranks_by_the_quotient(seed, n):
    p_target, p_out = np.random.default_rng(seed).uniform(0.01, 0.99, (2, n))
    scores = rmia.score(answers(p_target, p_out), OFFLINE)
    np.testing.assert_allclose(np.exp(scores), p_target / p_out, rtol=1e-9)


def test_probabilities_far_below_the_smallest_number_have_a_ratio():
    observations = answers([0.5, 0.5], [0.5, 0.5])
    observations[Logits()] = np.array([[[-900.0, 0.0]], [[-901.0, 0.0]]])
    observations[ShadowConfidence()] = np.full((2, 2, 1), -900.0)
    np.testing.assert_allclose(rmia.score(observations, OFFLINE), [0, -1], atol=1e-9)


# --- tuning -----------------------------------------------------------------------------------


def shadow_models(seed, *, p_in, p_out, n=400, m=8):
    """Log-probabilities whose IN models know p_in, and OUT models p_out, of each record."""
    rng = np.random.default_rng(seed)
    keep = pairs(n, m, rng)
    p = np.where(keep, p_in(rng, n)[:, None], p_out(rng, n)[:, None])
    p = np.clip(p * np.exp(rng.normal(0, 0.15, (n, m))), 1e-6, 1 - 1e-6)
    return Shadows(np.log(p)[:, :, None], keep)


def flat(rng, n):
    return np.full(n, 0.9)


def test_a_is_high_where_members_gain_a_constant_factor_and_low_where_all_are_learnt_by_heart():
    difficulty = np.random.default_rng(5).uniform(0.05, 0.5, 400)
    factor = shadow_models(0, p_in=lambda rng, n: 1.4 * difficulty, p_out=lambda rng, n: difficulty)
    by_heart = shadow_models(0, p_in=flat, p_out=lambda rng, n: difficulty)
    assert _ratios.tuned_a(factor) > 0.7
    assert _ratios.tuned_a(by_heart) < 0.5


def naive_auc_against(shadows, j, a):
    """Model j attacked one record at a time, with the pairs that are not its own."""
    n, m = shadows.keep.shape
    is_member = shadows.keep[:, j]
    scores = np.zeros(n)
    for i in range(n):
        out = [
            np.exp(shadows.values[i, o, 0])
            for o in range(m)
            if o // 2 != j // 2 and not shadows.keep[i, o]
        ]
        usual = ((1 + a) * np.mean(out) + 1 - a) / 2
        scores[i] = np.exp(shadows.values[i, j, 0]) / usual
    return auc(scores[is_member], scores[~is_member]).value


def test_tuning_is_the_best_of_the_grid_over_shadow_models_without_their_twins():
    shadows = shadow_models(1, p_in=flat, p_out=lambda rng, n: rng.uniform(0.1, 0.9, n), m=6)
    table = np.array([[naive_auc_against(shadows, j, a) for a in _ratios.GRID] for j in range(6)])
    for j in range(6):
        np.testing.assert_allclose(_ratios._aucs_against(shadows, j), table[j], atol=1e-12)
    assert _ratios.tuned_a(shadows) == _ratios.GRID[int(np.argmax(table.mean(axis=0)))]


def test_a_twin_is_known_by_what_it_was_trained_on_not_by_its_place():
    shadows = shadow_models(2, p_in=flat, p_out=lambda rng, n: rng.uniform(0.1, 0.9, n), m=4)
    honest = _ratios._aucs_against(shadows, 0)
    shuffled = Shadows(shadows.values[:, [0, 2, 1, 3]], shadows.keep[:, [0, 2, 1, 3]])
    np.testing.assert_allclose(_ratios._aucs_against(shuffled, 0), honest)


def test_a_single_pair_leaves_nothing_to_tune_on():
    shadows = shadow_models(3, p_in=flat, p_out=flat, m=2)
    assert _ratios.tuned_a(shadows) == _ratios.UNTUNED
    single = Shadows(shadows.values[:1], shadows.keep[:1])
    assert _ratios.tuned_a(single) == _ratios.UNTUNED


def test_the_target_s_answers_do_not_change_a():
    config = rmia.RmiaConfig(mode="offline")
    rng = np.random.default_rng(6)
    observations = observe(rmia.requests(config), 40, rng, np.arange(10))
    phi = signals.phi(observations[Logits()], observations[Classes()])
    a = _ratios.tuned_a(
        Shadows(signals.log_p(observations[ShadowConfidence()]), observations[ShadowKeep()])
    )
    fixed = dataclasses.replace(config, a=a)
    assert np.array_equal(rmia.score(observations, config), rmia.score(observations, fixed))
    other = dict(observations)
    other[Logits()] = -observations[Logits()]
    assert np.array_equal(rmia.score(other, config), rmia.score(other, fixed))
    assert np.ptp(phi) > 1


# --- the SM-Taylor softmax, settings, errors ---------------------------------------------------


def test_the_taylor_signal_reads_whole_vectors():
    config = rmia.RmiaConfig(signal="taylor", temperature=2.0)
    rng = np.random.default_rng(7)
    observations = observe(rmia.requests(config), 9, rng, np.arange(4))
    classes, keep = observations[Classes()], observations[ShadowKeep()]
    scores = rmia.score(observations, config)
    for i in range(9):

        def p(logits, y=classes[i]):
            return signals.taylor_p(np.array([logits]), np.array([y]))[0]

        shadow = np.array([p(row) for row in observations[ShadowLogits()][i]])
        usual = (shadow[keep[i]].mean() + shadow[~keep[i]].mean()) / 2
        assert scores[i] == pytest.approx(np.log(p(observations[Logits()][i, 0]) / usual))


def test_shares_its_observations_with_lira_by_default():
    from attacks.membership import lira

    own = rmia.requests(rmia.default_config(CLASSIFIER))
    assert own == lira.requests(lira.default_config(CLASSIFIER))
    assert rmia.default_config(CLASSIFIER).queries == 2


def test_a_record_without_out_models_is_an_error():
    observations = answers(*X)
    observations[ShadowKeep()][2] = True
    with pytest.raises(DataError, match="1 of 4 records"):
        rmia.score(observations, OFFLINE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "both"}, "online or offline, got 'both'"),
        ({"a": 1.1}, "a must be between 0 and 1, got 1.1"),
        ({"gamma": 0.0}, "gamma must be above 0"),
        ({"temperature": -1.0}, "temperature must be above 0"),
        ({"signal": "hinge"}, "softmax or taylor, got 'hinge'"),
        ({"taylor_degree": 3}, "taylor_degree must be even, got 3"),
        ({"signal": "taylor", "queries": 2}, "one query, got 2"),
    ],
)
def test_refuses_a_wrong_configuration(options, message):
    with pytest.raises(UsageError, match=message):
        rmia.RmiaConfig(**options)


@given(seed=SEEDS, n=SIZES, q=st.integers(1, 5), strict=st.booleans())
def test_the_vote_equals_an_obvious_loop(seed, n, q, strict):
    rng = np.random.default_rng(seed)
    ratios, population = rng.integers(-2, 3, (n, q)) / 2, rng.integers(-2, 3, (6, q)) / 2
    found = _ratios.share_outvoted(ratios, population, gap=0.5, strict=strict)
    for i in range(n):
        n_beaten = 0
        for z in population:
            apart = ratios[i] - z
            votes = sum(a > 0.5 if strict else a >= 0.5 for a in apart)
            n_beaten += votes > q / 2
        assert found[i] == n_beaten / 6


def test_with_one_query_the_vote_is_the_mean():
    observations, part = rows_and_part()
    scores = [
        rmia.score(observations, dataclasses.replace(ONLINE, over_queries=how), part)
        for how in ("mean", "vote")
    ]
    np.testing.assert_allclose(scores[0], scores[1])


def test_a_vote_with_several_queries_finds_the_planted():
    config = dataclasses.replace(ONLINE, over_queries="vote", queries=3, trim=0.2)
    rng = np.random.default_rng(0)
    observations = observe(rmia.requests(config), 30, rng, np.arange(5))
    part = calibration(rmia.requests(config), rng)
    scores = rmia.score(observations, config, part)
    assert scores[:5].min() > scores[5:].max()
    with pytest.raises(Inapplicable, match="needs a population"):
        rmia.score(observations, config)


def rows_and_part():
    rng = np.random.default_rng(1)
    return observe(rmia.requests(ONLINE), 25, rng, np.arange(4)), calibration(
        rmia.requests(ONLINE), rng
    )


@given(seed=SEEDS, n=SIZES, m=st.integers(1, 12), trim=st.sampled_from([0.0, 0.1, 0.2, 0.4]))
def test_the_trimmed_mean_equals_an_obvious_loop(seed, n, m, trim):
    rng = np.random.default_rng(seed)
    log_p = np.log(rng.uniform(0.01, 1, (n, m, 2)))
    mask = rng.random((n, m)) < 0.7
    mask[:, 0] = True
    found = _ratios.log_mean(log_p, mask, trim)
    for i in range(n):
        for j in range(2):
            own = sorted(np.exp(log_p[i, mask[i], j]))
            cut = int(trim * len(own) + 1e-9)
            assert found[i, j] == pytest.approx(np.log(np.mean(own[cut : len(own) - cut])))


@pytest.mark.parametrize("options", [{"trim": 0.5}, {"trim": -0.1}, {"over_queries": "median"}])
def test_refuses_a_wrong_vote_or_trim(options):
    with pytest.raises(UsageError):
        rmia.RmiaConfig(**options)
