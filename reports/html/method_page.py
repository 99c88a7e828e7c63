"""The HTML page of a method's audit, in the style of the report; it computes no statistic."""

from __future__ import annotations

from typing import Any

from reports import method_text, wording
from reports.html import layers
from reports.html.charts import Chart
from reports.html.shell import compile_chart, fill
from reports.method_markdown import CLAIM, COMPARISONS, MODELS, OWN
from reports.method_record import Comparison, Leak, MethodRecord
from reports.text import clean, decimal, interval


def render(record: MethodRecord) -> str:
    """The whole page; self-contained."""
    leak = record.leak
    drawn = [compile_chart(auc_chart(leak, one)) for one in leak.comparisons] if leak else []
    return fill(
        "method.html.j2",
        record=record,
        kind=_kind(record),
        tables=_tables(record),
        pairs=[(one, method_text.pair_rows(one)) for one in leak.comparisons] if leak else [],
        utility=method_text.utility_row(leak) if leak else "",
        canaries=method_text.canary_row(leak) if leak else "",
        how=method_text.HOW,
        attacks=method_text.ATTACKS,
        groups=method_text.GROUPS,
        charts=drawn,
        wording=wording,
    )


def auc_chart(leak: Leak, one: Comparison) -> Chart:
    """AUC of every model under one attack and group, with its interval, beside chance."""
    found = [
        (method_text.model_name(model), figures.auc)
        for model in leak.models
        for figures in model.attacks
        if (figures.attack, figures.group) == (one.attack, one.group)
    ]
    values = [
        {
            "attack": name,
            "auc": layers.rounded(estimate.value),
            "low": layers.rounded(estimate.low),
            "high": layers.rounded(estimate.high),
        }
        for name, estimate in found
    ]
    group = method_text.GROUPS[one.group]
    return Chart(
        id=f"auc-{one.attack}-{one.group}".replace("_", "-"),
        title=f"AUC by model: {clean(one.attack, 40)} on {group}",
        description=(
            f"One row per trained model: the area under the ROC curve of {clean(one.attack, 40)} "
            f"on {group}, with its 95 % interval. The number is the trial, a and b are its "
            "halves. 0.5 is guessing."
        ),
        spec=layers.finish(layers.auc_layers(values, None), height=26 * len(values) + 20),
        columns=("Model", "AUC", "95 % interval"),
        rows=tuple(
            (name, decimal(estimate.value), interval(estimate.low, estimate.high))
            for name, estimate in found
        ),
    )


def _kind(record: MethodRecord) -> str:
    """The tone of the page: reproduced, not reproduced, or invalid."""
    if any(one.status.value == "failed" for one in record.controls):
        return "invalid"
    return "pass" if record.answer.reproduced else "inconclusive"


def _tables(record: MethodRecord) -> dict[str, Any]:
    leak = record.leak
    return {
        "claim": (CLAIM, method_text.claim_rows(record.claim)),
        "comparisons": (COMPARISONS, method_text.comparison_rows(leak) if leak else []),
        "models": (MODELS, method_text.model_rows(leak) if leak else []),
        "own": (OWN, method_text.own_rows(record)),
    }
