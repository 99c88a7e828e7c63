"""The rules of a scan of images at their edges, and the charts of its page."""

from __future__ import annotations

import altair as alt
import numpy as np
import pytest

from attacks.extraction.replication import replication
from attacks.extraction.results import CopyRate
from attacks.results import ControlResult, ControlStatus, Estimate, Outcome
from attacks.statistics.rates import share_estimate
from auditor.images.controls import negative_control
from auditor.images.judge import judge
from auditor.images.measure import CopyLimit, ImageFigures
from auditor.matching import Matches
from auditor.policy import Policy, parse_policy
from reports.html.images_charts import copies_chart, similarity_chart
from reports.images_record import SimilarityBin

CAUGHT = ControlResult("positive", ControlStatus.PASSED, "all found")
MISSED = ControlResult("positive", ControlStatus.FAILED, "none found")


def figures(n, k, n_records=None, n_claimed=0, n_background=200, n_alike=0) -> ImageFigures:
    """n generated pictures with k copies; so many of the held-out pictures claimed."""
    is_copy = np.arange(n) < k
    similarity = np.where(np.arange(n) < n_alike, 0.99, 0.3).astype(np.float32)
    matches = Matches(similarity, np.zeros(n, int), np.full(n, 0.2), np.full(n, "as it is"))
    claimed, compared, alike = None, None, None
    if n_background:
        claimed = np.arange(n_background) < n_claimed
        alike = np.full(n_background, 0.3, np.float32)
        compared = replication(similarity, np.repeat(alike, 2))
    return ImageFigures(
        limit=CopyLimit(0.05, "a test", 100),
        matches=matches,
        is_copy=is_copy,
        copied_groups=np.arange(k if n_records is None else n_records),
        copy_share=share_estimate(is_copy),
        by_copies=(),
        background_claimed=claimed,
        replication=compared,
        background_similarity=alike,
    )


def outcomes(found, positive=CAUGHT, policy=None):
    controls = (positive, negative_control(found.background_claimed))
    judgement = judge(found, controls, policy or Policy())
    return tuple(rule.outcome for rule in judgement.rules), judgement


@pytest.mark.parametrize(("n", "outcome"), [(298, Outcome.INCONCLUSIVE), (299, Outcome.PASS)])
def test_a_pass_needs_299_pictures_without_a_copy(n, outcome):
    (extracted, _), judgement = outcomes(figures(n, 0))
    assert extracted is outcome
    if outcome is Outcome.INCONCLUSIVE:
        assert "about 300 generated pictures" in judgement.rules[0].needed


def test_one_copy_fails_and_a_higher_limit_allows_it():
    assert outcomes(figures(1000, 1))[0][0] is Outcome.FAIL
    lax = parse_policy("rules:\n  extracted:\n    limit: 1\n", source="a test")
    assert outcomes(figures(1000, 1), policy=lax)[0][0] is Outcome.PASS
    assert outcomes(figures(1000, 2), policy=lax)[0][0] is Outcome.FAIL
    # many copies of one record: within the limit of records, not of the share
    assert outcomes(figures(1000, 30, n_records=1), policy=lax)[0][0] is Outcome.INCONCLUSIVE


def test_claims_on_held_out_pictures_weaken_a_fail():
    assert outcomes(figures(1000, 3, n_claimed=1))[0][0] is Outcome.INCONCLUSIVE
    assert outcomes(figures(1000, 200, n_claimed=1))[0][0] is Outcome.FAIL
    found, judgement = outcomes(figures(1000, 200, n_claimed=40))
    assert found == (Outcome.INVALID, Outcome.INVALID)
    assert judgement.verdict.exit_code == 3


def test_nothing_passes_without_controls():
    (one, other), judgement = outcomes(figures(1000, 0), positive=MISSED)
    assert one is other is Outcome.INCONCLUSIVE
    assert "planted copies" in judgement.rules[0].needed
    (one, other), judgement = outcomes(figures(1000, 0, n_background=0))
    assert one is other is Outcome.INCONCLUSIVE
    assert outcomes(figures(1000, 1, n_background=0))[0][0] is Outcome.FAIL


def test_replication_fails_on_a_shown_excess_alone():
    assert outcomes(figures(1000, 0))[0][1] is Outcome.PASS
    assert outcomes(figures(1000, 0, n_alike=100))[0][1] is Outcome.FAIL
    found, judgement = outcomes(figures(1000, 0, n_alike=30))
    assert found[1] is Outcome.INCONCLUSIVE
    assert "more held-out" in judgement.rules[1].needed


@pytest.mark.parametrize("has_background", [True, False])
def test_charts_are_valid_vega_lite(has_background):
    bins = tuple(
        SimilarityBin(low=i / 4, high=(i + 1) / 4, generated=0.25, background=background)
        for i, background in enumerate([0.25 if has_background else None] * 4)
    )
    rates = (CopyRate("1", 10, 0, Estimate(0.0, 0.0, 0.3)),)
    charts = [similarity_chart(bins, 0.9 if has_background else None), copies_chart(rates)]
    for chart in charts:
        alt.Chart.from_dict(chart.spec).to_dict(validate=True)
        assert all(len(row) == len(chart.columns) for row in chart.rows)
