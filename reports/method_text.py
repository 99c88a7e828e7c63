"""Rows of figures that every renderer of a method's audit prints. Formatting only."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.results import Estimate
from reports import text
from reports.method_record import Claim, Comparison, Leak, MethodRecord, OwnFigure, TrainedModel

GROUPS = {"ordinary": "ordinary records", "canaries": "canaries"}
ATTACKS = {
    "loss": "Confidence in the record's label (phi), less the median of its class.",
    "calibrated_loss": "The same, less its mean over models of the other trials that never saw "
    "the record.",
}
HOW = (
    "Each trial splits the pool into two complementary random halves and trains method and "
    "baseline on both, with one seed. Canaries are records under a wrong label, the same in all "
    "trials; fair coins say in which half each of them is. Attacks on a model use the models of "
    "the other trials as references, never its own twin, which would give the answer away.",
    "An interval over trials is Student's, with the mean of its two halves as the value of a "
    "trial. Trials share the records of one pool, so they are not independent of each other's "
    "records: the interval speaks for these data. Within a half, DeLong's paired interval "
    "compares the two models on the same records.",
)


def with_interval(one: Estimate, unit: str = "number") -> str:
    """`value (low to high)`, or a dash."""
    if one.value is None:
        return text.DASH
    return f"{text.figure(one.value, unit)} ({text.interval(one.low, one.high, unit)})"


def signed(one: Estimate) -> str:
    """A difference with its interval, every part with its sign."""
    if one.value is None:
        return text.DASH
    if one.low is None or one.high is None:
        return f"{one.value:+.3f}"
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"


def claim_rows(claim: Claim) -> list[tuple[str, ...]]:
    """Seed, method, baseline, difference; then mean with standard deviation."""
    rows = [
        (str(seed), text.decimal(a), text.decimal(b), f"{a - b:+.3f}")
        for seed, a, b in zip(claim.seeds, claim.method, claim.baseline, strict=True)
    ]
    mean = [text.decimal(sum(v) / len(v)) for v in (claim.method, claim.baseline)]
    return [*rows, ("mean", *mean, f"{claim.mean:+.3f} (sd {claim.sd:.3f})")]


def comparison_rows(leak: Leak) -> list[tuple[str, ...]]:
    """Attack, records, method, baseline, difference, answer."""
    return [
        (
            f"{one.attack}{' (decides)' if one.is_primary else ''}",
            GROUPS[one.group],
            with_interval(one.method),
            with_interval(one.baseline),
            signed(one.difference),
            one.answer,
        )
        for one in leak.comparisons
    ]


def model_rows(leak: Leak) -> list[tuple[str, ...]]:
    """Model, attack, records, AUC, TPR at 1 % FPR with its bounds, sizes, accuracy."""
    return [
        (
            model_name(model),
            one.attack,
            GROUPS[one.group],
            with_interval(one.auc),
            _tpr(one.tpr),
            f"{one.n_members} and {one.n_nonmembers}",
            with_interval(model.accuracy, "share"),
        )
        for model in leak.models
        for one in model.attacks
    ]


def _tpr(one: Estimate) -> str:
    value = "not resolvable" if one.value is None else text.share(one.value)
    return f"{value} ({text.interval(one.low, one.high, 'share')})"


def pair_rows(one: Comparison) -> list[tuple[str, ...]]:
    """Trial and half, DeLong's paired difference, p."""
    return [
        (f"{pair.trial}, half {pair.half}", signed(pair.difference), text.p_value(pair.p_value))
        for pair in one.pairs
    ]


def model_name(model: TrainedModel) -> str:
    """`method 1a`: kind, trial, half."""
    return f"{model.kind} {model.trial}{'ab'[model.half - 1]}"


def own_rows(record: MethodRecord) -> list[tuple[str, ...]]:
    """Question, method, baseline, over trials."""
    return [
        (
            text.clean(one.sentence, 300),
            one.metric,
            own_figure(one, one.method_mean, one.method_control),
            own_figure(one, one.baseline_mean, one.baseline_control),
        )
        for one in record.own_question
    ]


def own_figure(one: OwnFigure, mean: Estimate, control: Sequence[float | None]) -> str:
    """A mean over trials with its interval, and the mean of its control where there is one."""
    unit = {"count": "count", "bytes": "count", "share": "share"}.get(one.metric, "number")
    if one.is_certain or mean.low is None:
        shown = text.figure(mean.value, unit)
    else:
        shown = with_interval(mean, unit)
    given = [value for value in control if value is not None]
    if given:
        shown += f"; control {text.figure(sum(given) / len(given), unit)}"
    return shown


def utility_row(leak: Leak) -> str:
    """Test accuracy of both kinds with their intervals over trials."""
    one = leak.utility
    return (
        f"method {with_interval(one.method, 'share')}, baseline "
        f"{with_interval(one.baseline, 'share')}, difference {signed(one.difference)}"
    )


def canary_row(leak: Leak) -> str:
    """Share of canaries found by the twin test, for both kinds."""
    return ", ".join(
        f"{kind} {with_interval(share, 'share')}" for kind, share in leak.canaries_found.items()
    )
