"""A claim of differential privacy: what it states, what it lacks, and whether a bound refutes it.

NIST SP 800-226 lists what a claim has to say before anyone can judge it; a statement that lacks
any of it is called not evaluable, whatever the bound says. A bound can contradict a claim and
never prove it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attacks.errors import PolicyError, UsageError, did_you_mean
from attacks.statistics.f_dp import FDpAudit
from attacks.statistics.one_run import OneRunAudit
from auditor.canaries.folder import Plant
from reports.canaries import FACTS, CanaryVerdict, ClaimStated, bound, not_stated

_Words = Annotated[str, Field(min_length=1, max_length=500)]


class Claim(BaseModel):
    """A claim about the training of a model; None is what nobody said."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epsilon: Annotated[float, Field(ge=0)] | None = None
    """In nats."""
    delta: Annotated[float, Field(ge=0, lt=1)] | None = None
    variant: Literal["pure", "approximate", "zCDP", "RDP", "GDP"] | None = None
    """What was accounted; epsilon and delta are what it was converted to."""
    unit: Literal["record", "user"] | None = None
    neighbouring: Literal["add-remove", "replace"] | None = None
    """How neighbouring data sets differ: unbounded or bounded."""
    accountant: _Words | None = None
    sampling: _Words | None = None
    """How batches were really drawn."""
    releases: Annotated[int, Field(ge=1)] | None = None
    """Models that were trained on the data, hyper-parameter search included."""
    trust_model: _Words | None = None
    arithmetic: _Words | None = None
    """Floating point and random numbers: secure or not."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the facts that the claim does not state."""
        return tuple(name for name in FACTS if getattr(self, name) is None)

    def stated(self) -> ClaimStated:
        """For the record."""
        return ClaimStated(**self.model_dump(), missing=self.missing)


def load_claim(
    path: Path | None, *, epsilon: float | None = None, delta: float | None = None
) -> Claim | None:
    """The claim in a YAML file and in two options; None if there is neither.

    A pure claim has delta 0. Raises PolicyError for the file, UsageError for the options.
    """
    found: object = {}
    if path is not None:
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise PolicyError(f"cannot read the claim {path}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError):
            raise PolicyError(f"{path} is not valid YAML; write one `fact: value` a line") from None
        if not isinstance(found, dict) or not found:
            raise PolicyError(f"{path} states no facts; known: {', '.join(FACTS)}")
    assert isinstance(found, dict)
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        if value is None:
            continue
        if found.get(name) not in (None, value):
            raise UsageError(f"--claimed-{name} differs from {path}; give one of them")
        found[name] = value
    if not found:
        return None
    if found.get("variant") == "pure":
        found.setdefault("delta", 0.0)
    try:
        claim = Claim(**{str(name): value for name, value in found.items()})
    except ValidationError as error:
        raise _complaint(error, path) from None
    if claim.variant == "pure" and claim.delta:
        raise UsageError("a pure claim has delta 0; correct the variant or delta")
    return claim


def _complaint(error: ValidationError, path: Path | None) -> UsageError:
    first = error.errors()[0]
    name = str(first["loc"][0])
    where = f"{path}: " if path is not None else "the claim: "
    if first["type"] == "extra_forbidden":
        return PolicyError(f"{where}unknown fact '{name}'; {did_you_mean(name, FACTS)}")
    return PolicyError(f"{where}'{name}': {first['msg']}")


def judge(
    claim: Claim | None, one_run: OneRunAudit, gaussian: FDpAudit, plant: Plant
) -> CanaryVerdict:
    """The verdict on a claim. It rests on the bound that assumes no curve."""
    low = bound(one_run.lower)
    confidence = f"{100 * (1 - one_run.alpha):g} % confidence"
    shown = f"at least epsilon {low} at delta {one_run.delta:g} ({confidence})"
    if claim is None:
        sentence = (
            f"The canaries show {shown}; no claim was given."
            if one_run.lower > 0
            else f"The canaries show no leak at {confidence}; no claim was given."
        )
        return CanaryVerdict(
            outcome="reported",
            sentence=sentence,
            notes=_notes(None, one_run, gaussian, plant),
            exit_code=0,
        )
    notes = _notes(claim, one_run, gaussian, plant)
    obstacle = _obstacle(claim, one_run, plant)
    if obstacle is not None:
        return CanaryVerdict(
            outcome="not_evaluable",
            sentence=f"The claim cannot be evaluated: {obstacle}.",
            notes=notes,
            exit_code=3,
        )
    stated = f"The claim of epsilon {claim.epsilon:g} at delta {one_run.delta:g}"
    if one_run.lower > (claim.epsilon or 0.0):
        return CanaryVerdict(
            outcome="contradicted",
            sentence=f"{stated} is contradicted: the training leaks {shown}.",
            notes=notes,
            exit_code=1,
        )
    return CanaryVerdict(
        outcome="not_contradicted",
        sentence=(
            f"{stated} is not contradicted: the canaries show {shown}. This is no proof of the "
            "claim: a stronger attack may show more."
        ),
        notes=notes,
        exit_code=0,
    )


def _obstacle(claim: Claim, one_run: OneRunAudit, plant: Plant) -> str | None:
    """Why no bound of these canaries can be compared with the claim."""
    absent = [name for name in ("epsilon", "delta") if getattr(claim, name) is None]
    if absent:
        return (
            f"it states no {' and no '.join(absent)}; missing in all: {not_stated(claim.missing)}"
        )
    if claim.neighbouring == "replace":
        return (
            "its neighbours differ by one record replaced, and a canary is added or removed; "
            "state the claim for added or removed records"
        )
    if claim.unit == "user" and plant.has_subjects:
        return (
            "its unit is the user, and the data name users with several records; a canary adds "
            "one record to a user, not a user"
        )
    assert claim.epsilon is not None
    if one_run.ceiling <= claim.epsilon:
        return (
            f"{plant.n:,} canaries prove at most epsilon {bound(one_run.ceiling)}, which does not "
            f"exceed the claimed {claim.epsilon:g}, so that nothing could have contradicted it; "
            "plant more canaries"
        )
    return None


def _notes(
    claim: Claim | None, one_run: OneRunAudit, gaussian: FDpAudit, plant: Plant
) -> tuple[str, ...]:
    notes = []
    if claim is not None and claim.missing:
        notes.append(
            f"Claim not evaluable by NIST SP 800-226 as stated: {not_stated(claim.missing)} missing."
        )
    if claim is not None and claim.neighbouring is None:
        notes.append("The claim is read as one about records that are added or removed.")
    is_above = (
        claim is not None
        and claim.epsilon is not None
        and gaussian.lower is not None
        and gaussian.lower > claim.epsilon >= one_run.lower
    )
    if is_above:
        notes.append(
            "The bound under a Gaussian curve lies above the claim; it counts only if the curve of "
            "the mechanism is known to be Gaussian."
        )
    notes.append(
        f"No outcome of {plant.n:,} canaries proves more than epsilon {bound(one_run.ceiling)}."
    )
    notes.append(
        "The bound holds for one model, trained on the training file of this planting by someone "
        "who did not know the coins; scoring several models and reporting the worst needs alpha "
        "divided by their number."
    )
    if plant.seed_source == "given":
        notes.append("The seed was given, not drawn: whoever knew it could tell the coins.")
    return tuple(notes)
