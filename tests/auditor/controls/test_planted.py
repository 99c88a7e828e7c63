"""The positive control's copy: when it is trained again, what is reported, what is stored."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.protocols import Tuning
from attacks.results import ControlStatus
from auditor.controls.planted import accepted_doses
from auditor.controls.positive import DoseScores, Training, positive_control
from auditor.policy import preset_policy

N_CHOSEN = 128
CAUGHT = {"a": np.r_[np.full(18, 5.0), np.linspace(0, 1, 110)]}
MISSED = {"a": np.r_[np.zeros(18), np.linspace(0, 1, 110)]}
PLAIN = Training(1, Tuning(), 6e-4)
AGAIN = Training(2, Tuning(1, True), 6e-4)


def copies(training, *afters, scores=None):
    return [
        DoseScores(dose, 0.1, after, scores if after < 0.08 else None, training)
        for dose, after in zip((1, 4, 16, 64), afters, strict=False)
    ]


def test_a_second_training_that_memorizes_establishes_the_control():
    doses = copies(PLAIN, 0.1, 0.1, 0.09, 0.09) + copies(AGAIN, 0.1, 0.1, 0.07, scores=CAUGHT)
    found = positive_control(doses, ["a"], N_CHOSEN, 0.001)
    assert found.caught_at == {"a": 16}
    assert found.result.status is ControlStatus.PASSED
    figures = found.result.figures
    assert (figures["largest_dose"], figures["loss_after"]) == (16, 0.07)
    assert (figures["is_averaged"], figures["n_trainings"]) == (True, 2)
    assert figures["learning_rate"] == 6e-4
    assert "averaged weights" in found.result.summary


def test_without_memory_the_best_attempt_is_reported():
    doses = copies(PLAIN, 0.1, 0.1, 0.1, 0.085) + copies(AGAIN, 0.1, 0.1, 0.1, 0.3)
    found = positive_control(doses, ["a"], N_CHOSEN, 0.001)
    assert found.result.status is ControlStatus.NOT_RUN
    assert found.result.figures["loss_after"] == 0.085
    assert found.result.figures["is_averaged"] is False
    assert "in any of 2 trainings" in found.result.summary


def test_nothing_is_caught_by_an_attack_that_sees_nothing():
    doses = copies(PLAIN, 0.1, 0.07, 0.06, 0.05, scores=MISSED)
    found = positive_control(doses, ["a"], N_CHOSEN, 0.001)
    assert found.result.status is ControlStatus.FAILED
    assert found.caught_at == {"a": None}


class Asked:
    """A target's trainings, of which a given one is the first to memorize."""

    def __init__(self, works_at):
        self.works_at = works_at
        self.tunings = []

    def attempt(self, scan, chosen, attempt, tuning):
        from auditor.controls import planted

        self.tunings.append(tuning)
        for dose in (1, 4, 16, 64):
            is_memorized = attempt == self.works_at and dose > 4
            yield planted._ObservedDose(
                dose, 0.1, 0.05 if is_memorized else 0.1, Training(attempt, tuning, 1e-3),
                {"x": None} if is_memorized else None,
            )  # fmt: skip


@pytest.mark.parametrize(("works_at", "n_trainings"), [(1, 1), (2, 2), (4, 4), (None, 4)])
def test_trains_again_only_until_a_copy_has_memorized(monkeypatch, works_at, n_trainings):
    """A recipe that memorized is never replaced, even if no attack saw anything in it."""
    from types import SimpleNamespace

    from auditor.controls import planted
    from auditor.targets.finetuning import TUNINGS

    asked = Asked(works_at)
    monkeypatch.setattr(planted, "_attempt", asked.attempt)
    monkeypatch.setattr(planted, "score_all", lambda *rest: (MISSED, ()))
    doses = list(planted._doses(SimpleNamespace(plan=None), [], None, None))
    assert asked.tunings == list(TUNINGS[:n_trainings])
    assert TUNINGS[0] == Tuning()
    assert len(doses) == 4 * n_trainings
    assert (doses[-1].scores is not None) == (works_at is not None)


def test_a_copy_that_did_not_memorize_is_trained_again_and_remembered(pixel_pipeline, tmp_path):
    """The untrained network cannot be made to memorize in one exposure: four trainings, once."""
    from auditor.progress import Progress
    from auditor.scan import ScanOptions, plan_scan
    from auditor.targets import finetuning
    from tests.conftest import write_images

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (80, 8, 8), dtype=np.uint8)
    (tmp_path / "policy.yaml").write_text("positive_control_dose: 1\n")
    options = ScanOptions(
        model=str(pixel_pipeline),
        members=write_images(tmp_path / "m", images[:40]),
        nonmembers=write_images(tmp_path / "n", images[40:]),
        out=tmp_path / "out",
        policy=tmp_path / "policy.yaml",
        attacks=("sima",),
        cache=tmp_path / "cache",
        device="cpu",
    )
    from auditor.controls.planted import planted_records

    trained = []
    with pytest.MonkeyPatch.context() as patched:
        original = finetuning.finetune

        def counted(*args, tuning, **rest):
            trained.append(tuning)
            return original(*args, tuning=tuning, **rest)

        patched.setattr(finetuning, "finetune", counted)
        results = []
        for _ in range(2):
            scan = plan_scan(options, Progress())
            results.append(planted_records(scan, list(scan.splits.nonmembers), None, None).result)
    assert tuple(trained) == finetuning.TUNINGS
    assert results[0] == results[1]
    assert results[0].status is ControlStatus.NOT_RUN
    assert results[0].figures["n_trainings"] == len(finetuning.TUNINGS)


@pytest.mark.parametrize(
    ("accepted", "doses"),
    [(1, [1]), (10, [1, 4]), (64, [1, 4, 16, 64]), (300, [1, 4, 16, 64, 256])],
)
def test_the_doses_climb_to_what_the_policy_accepts(accepted, doses):
    policy = preset_policy("default").model_copy(update={"positive_control_dose": accepted})
    assert accepted_doses(policy) == doses
