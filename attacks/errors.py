"""Every error that auditor raises on purpose.

    AuditorError
      UsageError            the user can fix it: exit 2, no traceback
        TargetError         the model cannot be loaded or is of a kind that is refused
        PolicyError         the policy or the configuration file
        DataError           the records
        ShapeError          arrays that do not fit together
      Inapplicable          an attack cannot run on this target: recorded, not raised past the engine
      UnderPowered          too few records for the bound that was asked for
      InternalError         a bug of ours: exit 4

A message says what is wrong, where, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AuditorError(Exception):
    """The root of the tree."""


class UsageError(AuditorError):
    """Something that the user can fix."""


class TargetError(UsageError):
    """The model cannot be loaded, or auditor refuses it."""


class PolicyError(UsageError):
    """The policy or the configuration file is wrong."""


class DataError(UsageError):
    """The records are missing, unreadable or mixed up."""


class ShapeError(UsageError):
    """Arrays whose shapes do not fit together."""


class Inapplicable(AuditorError):
    """An attack cannot run on this target; the message is the reason."""


class UnderPowered(AuditorError):
    """There are too few records for the bound that was asked for."""


class InternalError(AuditorError):
    """A bug in auditor."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that names the known word nearest to a misspelt one, or lists all."""
    choices = sorted(known)
    swapped = [choice for choice in choices if sorted(choice) == sorted(word)]
    near = swapped or difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(choices)}"
