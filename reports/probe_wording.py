"""What the reports of a probe say around the figures."""

from __future__ import annotations

from reports import text
from reports.probe_record import Overlap, ProbeRecord

OUTCOMES = {
    "distinct": "Distinct weights",
    "not distinguishable": "Not distinguishable",
    "not run": "Control not run",
}
READING = (
    (
        "Localised is not erased",
        "A model that is pruned here may draw the same images again from other embeddings or after "
        "fine-tuning. Only an audit of the pruned model can say more.",
    ),
    (
        "Overlap",
        "Weights that two masks share over weights in either. Any prompt differs from the empty "
        "one, so memorized sets overlap anyway: the ordinary sets, against the same reference, are "
        "what to compare with.",
    ),
    (
        "Permutation test",
        "If memorization plays no part, sets of memorized and of ordinary prompts can be relabelled. "
        "It says that the two lists differ; lists of another style or length differ too.",
    ),
    (
        "Contrast",
        "Mean score of the top weights over the score of the same weights under the reference, "
        "minus one.",
    ),
)
OVERLAPS = ("Pairs of sets", "Mean over steps", "Joined masks, as pruned")
LAYERS = ("Layer", "Shape", "Marked", "Memorized", "Ordinary", "Across", "Random")


def facts(record: ProbeRecord) -> tuple[tuple[str, str], ...]:
    """The facts under the headline."""
    p, s = record.prompts, record.shares
    return (
        ("Marked, of probed layers", text.share(s.of_layers)),
        ("Marked, of the U-Net", text.share(s.of_model)),
        ("Memorized prompts", f"{text.number(p.n_memorized)} in {len(p.memorized_sets)} sets"),
        ("Ordinary prompts", f"{text.number(p.n_ordinary)}, {p.ordinary_kind}"),
        ("Reference", f"{text.number(p.n_reference)}, {p.reference_kind}"),
        ("Steps, guidance", f"{record.setting.steps}, {text.number(record.setting.guidance)}"),
    )


def overlap_rows(record: ProbeRecord) -> list[tuple[str, ...]]:
    """Rows of `OVERLAPS`."""
    names = (
        ("memorized", "Two memorized sets"),
        ("ordinary", "Two ordinary sets"),
        ("across", "A memorized and an ordinary set"),
        ("random", "Random masks, as many weights in every row"),
    )
    return [
        (name, _or_not(record.overlap, key), _or_not(record.pruned_overlap, key))
        for key, name in names
    ]


def share_rows(record: ProbeRecord) -> list[tuple[str, ...]]:
    """(mask, share of the probed layers) of every mask of the file."""
    s = record.shares
    return [
        ("whole: all memorized prompts as one list", text.share(s.of_layers)),
        ("union: any set (ours: sets joined)", text.share(s.union_of_layers)),
        ("consensus: every set (ours)", text.share(s.consensus_of_layers)),
        (
            "mem_minus_non: whole without ordinary (ours)",
            "not run"
            if s.minus_ordinary_of_layers is None
            else text.share(s.minus_ordinary_of_layers),
        ),
    ]


def layer_rows(record: ProbeRecord) -> list[tuple[str, ...]]:
    """Rows of `LAYERS`."""
    return [
        (
            one.name,
            f"{one.n_outputs} x {one.n_inputs}",
            text.share(one.density),
            *(_or_not(one.overlap, key) for key in ("memorized", "ordinary", "across", "random")),
        )
        for one in record.layers
    ]


def _or_not(overlap: Overlap, key: str) -> str:
    value = getattr(overlap, key)
    return "not run" if value is None else text.decimal(value)
