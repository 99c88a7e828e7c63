"""How outcomes combine: rules to a verdict, a verdict to an exit code, controls to validity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attacks.results import ControlResult, ControlStatus, Outcome

EXIT_CODES = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 3, Outcome.INVALID: 3}
"""Exit code of each overall outcome."""
REQUIRED = ("competence", "negative", "blind", "direction")
"""Controls that make the membership rules INVALID when they fail, and block a PASS if not run."""
INVALIDATING = (*REQUIRED, "random weights", "base model", "reference")
"""Controls that make the membership rules INVALID when they fail."""


def overall_outcome(outcomes: Sequence[Outcome | None]) -> Outcome:
    """FAIL before INVALID before INCONCLUSIVE before PASS; None (reported only) does not count.

    Nothing at all is INCONCLUSIVE, never a PASS.
    """
    for outcome in (Outcome.FAIL, Outcome.INVALID, Outcome.INCONCLUSIVE, Outcome.PASS):
        if outcome in outcomes:
            return outcome
    return Outcome.INCONCLUSIVE


def reasons_invalid(controls: Iterable[ControlResult]) -> tuple[str, ...]:
    """Why the membership rules are INVALID, one sentence a failed control; empty if they are not."""
    return tuple(
        f"{control.name} control: {control.summary}"
        for control in controls
        if control.name in INVALIDATING and control.status is ControlStatus.FAILED
    )
