"""An interrupted audit of a method goes on after its last finished trial, and ends the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auditor.method_scan import MethodScanOptions, scan_method
from reports import method_json
from tests.auditor.comparison.kernel_method import kernel_method

MODELS = 4
"""Of a trial: two halves of method and baseline."""


class Counted:
    """A stub of a method that counts its trainings and claims, and can be interrupted."""

    def __init__(self, ours: float = 0.15, family: str = "classifier") -> None:
        self.n_trained = self.n_claims = 0
        self.most: float = float("inf")
        self._inner: Any = kernel_method(ours, 1.0, family=family)

    def method(self) -> SimpleNamespace:
        inner = self._inner
        members = vars(inner) | {
            name: self._training(getattr(inner, name)) for name in ("train", "baseline")
        }
        return SimpleNamespace(**members | {"claim": self._claim})

    def _training(self, recipe: Any) -> Any:
        class Training:
            """Counts for nothing in the key but the recipe."""

            __module__ = __name__

            def __init__(self) -> None:
                self.recipe = recipe

            def __call__(inner, *given: Any) -> Any:  # noqa: N805
                if self.n_trained >= self.most:
                    raise KeyboardInterrupt
                self.n_trained += 1
                return recipe(*given)

        return Training()

    def _claim(self, **asked: Any) -> Any:
        self.n_claims += 1
        return self._inner.claim(**asked)


def audit(counted: Counted, monkeypatch: pytest.MonkeyPatch, cache: Path, **changes: Any) -> Any:
    monkeypatch.setattr("auditor.method_scan.method", lambda name: counted.method())
    # what a stub is made of, in place of the counters that it holds
    key = json.dumps(
        [counted._inner.MANIFEST.family, counted._inner.train.__closure__[0].cell_contents]
    )
    monkeypatch.setattr("auditor.comparison.store.described", _described(key))
    options = MethodScanOptions("kernel", quick=True, cache=cache)
    record = scan_method(dataclasses.replace(options, **changes)).record
    tree = json.loads(method_json.render(record))
    del tree["environment"]
    return tree


def _described(key: str) -> Any:
    from auditor.shadows.fingerprint import described

    def only_values(facts: list[Any]) -> str:
        return key + described([fact for fact in facts if not callable(fact)])

    return only_values


@pytest.fixture
def cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """An audit that was interrupted in its second trial."""
    counted = Counted()
    counted.most = MODELS + 1
    with pytest.raises(KeyboardInterrupt):
        audit(counted, monkeypatch, tmp_path)
    assert counted.n_trained == MODELS + 1
    counted.most, counted.n_trained, counted.n_claims = float("inf"), 0, 0
    return counted


def test_an_interrupted_audit_goes_on(
    cut_short: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed = audit(cut_short, monkeypatch, tmp_path)
    assert (cut_short.n_trained, cut_short.n_claims) == (2 * MODELS, 0)
    whole = audit(Counted(), monkeypatch, tmp_path / "elsewhere")
    assert resumed == whole
    audit(cut_short, monkeypatch, tmp_path)
    assert cut_short.n_trained == 2 * MODELS


def test_fresh_ignores_what_is_finished(
    cut_short: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit(cut_short, monkeypatch, tmp_path, fresh=True)
    assert (cut_short.n_trained, cut_short.n_claims) == (3 * MODELS, 1)


@pytest.mark.parametrize("change", [{"seed": 5}, {"quick": False}])
def test_another_design_finds_nothing(
    cut_short: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    audit(cut_short, monkeypatch, tmp_path, **change)
    assert (cut_short.n_trained, cut_short.n_claims) == (3 * MODELS, 1)


def test_another_method_of_the_name_finds_nothing(
    cut_short: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Counted(ours=0.4)
    audit(other, monkeypatch, tmp_path)
    assert (other.n_trained, other.n_claims) == (3 * MODELS, 1)


def test_more_trials_train_only_the_new_ones(
    cut_short: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit(cut_short, monkeypatch, tmp_path, trials=4)
    assert cut_short.n_trained == 3 * MODELS


def test_a_damaged_trial_is_trained_again(
    cut_short: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = tmp_path.rglob("*.trial")
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(file.read_bytes()[:-1])
    audit(cut_short, monkeypatch, tmp_path)
    assert cut_short.n_trained == 3 * MODELS


def test_a_family_that_is_not_compared_goes_on_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(family="textual")
    first = audit(counted, monkeypatch, tmp_path)
    assert counted.n_trained == 6
    assert audit(counted, monkeypatch, tmp_path) == first
    assert counted.n_trained == 6
