"""Requests: keys, requirements, and the count of calls that the plan relies on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.observations import (
    CONDITIONS,
    CleanNorms,
    NoiseError,
    ProximalError,
    StepError,
    StepResidual,
    VariationDistance,
    calls_per_record,
    with_requirements,
)

STEPS = st.integers(0, 20)
TEXTS = st.sampled_from(CONDITIONS)
REQUESTS = st.one_of(
    st.builds(NoiseError, t=STEPS, repetition=st.integers(0, 2), condition=TEXTS),
    st.builds(CleanNorms, t=STEPS, condition=TEXTS),
    st.builds(ProximalError, t=STEPS, normalisation=st.sampled_from([None, "unit", "paper"])),
    st.builds(StepError, t=st.just(100), k=st.sampled_from([10, 20])),
    st.builds(StepResidual, t=st.just(100), k=st.sampled_from([10, 20])),
    st.builds(VariationDistance, t=st.integers(1, 20), k=st.integers(1, 20)),
)


@given(first=REQUESTS, second=REQUESTS)
def test_keys_are_equal_exactly_for_equal_requests(first, second):
    assert (first.key == second.key) == (first == second)
    assert json.loads(first.key)[0] == first.kind


def test_keys_survive_the_process():
    request = NoiseError(t=100, condition="null", crop=0.95)
    program = (
        "from attacks.observations import NoiseError;"
        "print(NoiseError(t=100, condition='null', crop=0.95).key, end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == request.key


def test_the_version_is_part_of_the_key(monkeypatch):
    before = StepError().key
    monkeypatch.setattr(StepError, "version", 2)
    assert StepError().key != before


@given(requests=st.lists(REQUESTS, max_size=8))
def test_the_plan_is_closed_ordered_and_without_repeats(requests):
    plan = with_requirements(requests)
    assert len(set(plan)) == len(plan)
    assert set(requests) <= set(plan)
    for position, request in enumerate(plan):
        assert set(request.requires) <= set(plan[:position])
    assert with_requirements(reversed(requests)) == plan
    assert set(with_requirements(plan)) == set(plan)


@given(requests=st.lists(REQUESTS, max_size=8), more=st.lists(REQUESTS, max_size=4))
def test_sharing_never_costs_more_than_running_alone(requests, more):
    together = calls_per_record([*requests, *more])
    assert together <= calls_per_record(requests) + calls_per_record(more)
    assert together >= max(calls_per_record(requests), calls_per_record(more))


@pytest.mark.parametrize(
    ("requests", "calls"),
    [
        ([], 0),
        ([CleanNorms()], 1),
        ([ProximalError(t=200)], 2),
        ([ProximalError(t=200), ProximalError(t=200, normalisation="unit")], 3),
        ([StepError()], 12),
        ([StepResidual()], 12),
        ([StepResidual(), StepError(), CleanNorms()], 12),
        ([StepError(), StepError(condition="null")], 24),
        ([CleanNorms(t=0), CleanNorms(t=100)], 2),
        ([NoiseError(t=5), NoiseError(t=5, condition="null"), NoiseError(t=5, crop=0.9)], 3),
        ([VariationDistance(t=200, k=100)], 20),
        ([VariationDistance(t=10, k=10)], 10),
        ([VariationDistance(t=25, k=10, n=2)], 6),
    ],
)
def test_calls(requests, calls):
    assert calls_per_record(requests) == calls
