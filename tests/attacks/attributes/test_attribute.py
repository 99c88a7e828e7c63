"""Attribute inference: null, planted, twins, invariances, and what cannot be asked."""

from __future__ import annotations

import builtins
import socket

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.attributes import _combination, attribute
from attacks.attributes.cells import cell_names, cell_of_number, cells_of
from attacks.attributes.evaluate import OTHERS, attribute_finding
from attacks.errors import DataError, Inapplicable, UsageError
from attacks.manifest import ClassifierCapabilities, DiffusionCapabilities
from attacks.observations import Calibration, Cells, calls_per_record

CELLS = Cells(("a", "b", "c"))
REQUESTS = attribute.requests("s", CELLS)
FACTS = {"calls": 3, "knowledge": "everything else"}
SURE, UNSURE = 2.0, 0.0


def population(n, rng, *, remembered, strength=1.0):
    """Answers about n records whose hidden value follows another column in two of three.

    The model is surer of a remembered record when it is asked with the record's own value.
    """
    hint = rng.integers(3, size=n)
    truth = np.where(rng.random(n) < strength * 2 / 3, hint, rng.integers(3, size=n))
    phi = rng.normal(0, 1, (n, 3))
    own = np.arange(3) == truth[:, None]
    phi += np.where(own & remembered[:, None], SURE, UNSURE)
    classes = rng.integers(2, size=n)
    return dict(zip(REQUESTS, (classes, truth, np.eye(3)[hint], phi), strict=True))


def made(seed, *, leaks, n=300, n_calibration=240):
    """(observations, calibration part, members): half of each part are members."""
    rng = np.random.default_rng(seed)
    is_member, known = np.arange(n) % 2 == 0, np.arange(n_calibration) % 2 == 0
    observations = population(n, rng, remembered=is_member & leaks)
    part = population(n_calibration, rng, remembered=known & leaks)
    return observations, Calibration(part, known), is_member


def finding_of(seed, *, leaks, **options):
    observations, part, is_member = made(seed, leaks=leaks)
    config = attribute.AttributeConfig(**options)
    found = attribute.guesses(observations, "s", CELLS, config, part)
    return attribute_finding(found, is_member, "s", CELLS.values, **FACTS)


@pytest.mark.parametrize("guess", ["combined", "confidence"])
def test_a_model_that_remembers_the_value_is_shown(guess):
    found = finding_of(0, leaks=True, guess=guess)
    assert found.leak.low > 0.1
    assert found.is_shown or guess == "confidence"
    assert found.attacked_members.value > found.imputed_members.value
    assert found.kind == "attribute"


def test_both_sources_together_beat_either_alone():
    both = finding_of(0, leaks=True)
    alone = finding_of(0, leaks=True, guess="confidence")
    assert both.attacked_members.value > alone.attacked_members.value
    assert both.attacked_members.value > both.imputed_members.value


def test_without_memorisation_no_leak_is_shown():
    found = [finding_of(seed, leaks=False) for seed in range(8)]
    assert not any(one.is_shown for one in found)
    covered = [one.leak.low <= 0 <= one.leak.high for one in found]
    assert sum(covered) >= 7
    assert abs(np.mean([one.leak.value for one in found])) < 0.02


def test_what_the_model_teaches_about_everybody_is_no_leak():
    """The model is sure of the true value of nonmembers too: statistics, not memory."""
    rng = np.random.default_rng(3)
    is_member, known = np.arange(300) % 2 == 0, np.arange(240) % 2 == 0
    everybody = np.ones(300, bool)
    observations = population(300, rng, remembered=everybody)
    part = Calibration(population(240, rng, remembered=everybody[:240]), known)
    found = attribute.guesses(observations, "s", CELLS, attribute.AttributeConfig(), part)
    result = attribute_finding(found, is_member, "s", CELLS.values, **FACTS)
    assert result.advantage_members.low > 0.03
    assert result.advantage_nonmembers.low > 0.03
    assert not result.is_shown


def test_the_imputation_never_sees_the_model():
    observations, part, _ = made(1, leaks=True)
    config = attribute.AttributeConfig()
    before = attribute.guesses(observations, "s", CELLS, config, part).imputed
    rng = np.random.default_rng(0)
    for answers in (observations, part.observations):
        answers[REQUESTS[3]] = rng.normal(0, 5, answers[REQUESTS[3]].shape)
    after = attribute.guesses(observations, "s", CELLS, config, part).imputed
    assert before.tolist() == after.tolist()


def test_nothing_is_learnt_from_the_records_that_are_evaluated():
    """A record's guesses stay when the others are not there, or come in another order."""
    observations, part, _ = made(2, leaks=True)
    config = attribute.AttributeConfig()
    whole = attribute.guesses(observations, "s", CELLS, config, part)
    order = np.random.default_rng(0).permutation(300)[:100]
    some = {request: values[order] for request, values in observations.items()}
    found = attribute.guesses(some, "s", CELLS, config, part)
    for one, all_ in zip(found, whole, strict=True):
        assert one.tolist() == all_[order].tolist()


def test_confidence_alone_is_the_obvious_loop():
    observations, part, _ = made(4, leaks=True)
    config = attribute.AttributeConfig(guess="confidence")
    found = attribute.guesses(observations, "s", CELLS, config, part)
    phi = observations[REQUESTS[3]]
    assert found.attacked.tolist() == [
        max(range(3), key=lambda v: phi[i, v]) for i in range(len(phi))
    ]


def test_it_repeats_itself_and_touches_no_file(monkeypatch):
    observations, part, _ = made(5, leaks=True, n=60)
    config = attribute.AttributeConfig()
    first = attribute.guesses(observations, "s", CELLS, config, part)

    def refuse(*args, **kwargs):
        raise AssertionError("attribute inference opened a file or a socket")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    again = attribute.guesses(observations, "s", CELLS, config, part)
    assert all(a.tolist() == b.tolist() for a, b in zip(first, again, strict=True))


def test_a_stub_shows_nothing():
    observations, _, is_member = made(0, leaks=True)
    zeros = np.zeros(300, np.int64)
    stub = attribute.Guesses(observations[REQUESTS[1]], zeros, zeros)
    assert not attribute_finding(stub, is_member, "s", CELLS.values, **FACTS).is_shown


def test_records_without_a_value_are_left_out_and_counted():
    observations, part, is_member = made(6, leaks=True)
    observations[REQUESTS[1]] = np.where(np.arange(300) < 10, -1, observations[REQUESTS[1]])
    found = attribute.guesses(observations, "s", CELLS, attribute.AttributeConfig(), part)
    result = attribute_finding(found, is_member, "s", CELLS.values, **FACTS)
    assert (result.n_members, result.n_nonmembers, result.n_left_out) == (145, 145, 10)


def test_rare_values_are_put_together_and_never_shown_alone():
    truth = np.repeat([0, 1, 2, 3], [40, 6, 6, 48])
    is_member = np.arange(100) % 2 == 0
    guesses = attribute.Guesses(truth, np.zeros(100, int), truth)
    found = attribute_finding(guesses, is_member, "s", ("a", "b", "c", "d"), **FACTS)
    assert {row.value: (row.n_members, row.n_nonmembers) for row in found.by_value} == {
        "a": (20, 20),
        "d": (24, 24),
        OTHERS: (6, 6),
    }
    alone = attribute.Guesses(np.repeat([0, 1], [96, 4]), np.zeros(100, int), truth)
    found = attribute_finding(alone, is_member, "s", ("a", "b"), **FACTS)
    assert [row.value for row in found.by_value] == ["a"]


def test_a_side_without_records_gives_no_finding():
    guesses = attribute.Guesses(np.zeros(4, int), np.zeros(4, int), np.zeros(4, int))
    for side in (np.ones(4, bool), np.zeros(4, bool)):
        assert attribute_finding(guesses, side, "s", ("a", "b"), **FACTS) is None


def test_too_small_a_calibration_part_is_refused():
    observations, part, _ = made(7, leaks=True, n_calibration=38)
    with pytest.raises(Inapplicable, match="needs 20 calibration records of each side"):
        attribute.guesses(observations, "s", CELLS, attribute.AttributeConfig(), part)


def test_without_records_the_weights_are_those_of_the_imputation():
    weights = _combination.fit(np.zeros((0, 3, 2)), np.zeros(0, int), strength=1.0)
    assert weights.values.tolist() == [1.0, 0.0]


@given(seed=st.integers(0, 2**32 - 1))
def test_fitted_weights_are_better_than_their_neighbours(seed):
    """The fit maximises the penalised likelihood of a slow, obvious loop."""
    rng = np.random.default_rng(seed)
    opinions = rng.normal(0, 1, (12, 3, 2))
    chosen = rng.integers(3, size=12)
    weights = _combination.fit(opinions, chosen, strength=0.5)

    def penalised(values):
        utilities = weights._replace(values=values).utilities(opinions)
        total = 0.0
        for row, truth in zip(utilities, chosen, strict=True):
            total += row[truth] - np.log(sum(np.exp(u) for u in row))
        return total - ((values - np.array([1.0, 0.0])) ** 2).sum()  # 1 / (2 * strength) = 1

    best = penalised(weights.values)
    for step in ([0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05]):
        assert penalised(weights.values + np.array(step)) < best + 1e-9


@pytest.mark.parametrize(
    "options", [{"guess": "luck"}, {"bins": 1}, {"max_values": 1}, {"strength": 0}]
)
def test_settings_are_checked(options):
    with pytest.raises(UsageError):
        attribute.AttributeConfig(**options)


def test_what_it_can_run_on():
    assert attribute.applicable(ClassifierCapabilities("classifier", "", 2)) is None
    saved = ClassifierCapabilities("classifier", "", 2, can_be_queried=False)
    assert "saved predictions" in attribute.applicable(saved)
    image = DiffusionCapabilities("diffusion", "", False, False, 1000, 32)
    assert "needs a classifier" in attribute.applicable(image)
    assert calls_per_record(REQUESTS) == 3


def test_texts_are_cut_to_the_most_frequent():
    values = np.array(list("aaabbbbccd"))
    assert cells_of(values, bins=4, max_values=3) == Cells(("a", "b", "c"))
    assert cells_of(values, bins=4, max_values=9) == Cells(("a", "b", "c", "d"))


def test_few_numbers_stay_and_many_become_ranges():
    assert cells_of(np.array([3.0, 1.0, 1.0]), bins=2, max_values=4) == Cells((1.0, 3.0))
    many = np.arange(100.0)
    cells = cells_of(many, bins=4, max_values=16)
    assert len(cells.values) == 4
    assert len(cells.edges) == 3
    assert np.bincount(cell_of_number(many, cells)).tolist() == [25, 25, 25, 25]
    assert set(cells.values) <= set(many)
    assert cell_names(cells)[0] == "below 25"


@given(
    values=st.lists(st.integers(-5, 30).map(float), min_size=2, max_size=60),
    bins=st.integers(2, 6),
    most=st.integers(2, 8),
)
def test_every_known_number_lies_in_its_cell(values, bins, most):
    array = np.array(values)
    if len(set(values)) < 2:
        with pytest.raises(DataError):
            cells_of(array, bins=bins, max_values=most)
        return
    cells = cells_of(array, bins=bins, max_values=most)
    found = cell_of_number(array, cells)
    assert len(cells.values) >= 2
    for value, cell in zip(values, found, strict=True):
        if cells.edges is None:
            assert cells.values[cell] == value
        else:
            assert cell == sum(edge <= value for edge in cells.edges)
    middle = cell_of_number(np.array(cells.values, float), cells)
    assert middle.tolist() == list(range(len(cells.values)))
    assert len(set(cell_names(cells))) == len(cells.values)
    assert cell_of_number(np.array([np.nan]), cells).tolist() == [-1]
