"""What the reports of a data scan say around the figures."""

from __future__ import annotations

from reports.data_record import DataRecord, LongTail
from reports.text import number, share

MEANS = (
    "Memorization of a record is the share of models that are right about it after training on it, "
    "minus that of models that did not. At 1, nothing else in the data teaches its label; at 0, "
    "the other records teach it as well."
)
READING = (
    (
        "Memorized is not leaked",
        "These models were trained here, from your recipe. Whether a model that you release gives "
        "its records away is what `auditor scan model` measures.",
    ),
    (
        "Sure",
        "The lower limit of the record's own interval also reaches the threshold. Figures at the "
        "top of a list are too high on average, because noise helped to put them there.",
    ),
    (
        "Label and confidence",
        "The label figure counts right answers; the confidence figure takes the probability of the "
        "true label, which moves earlier.",
    ),
    (
        "Copies",
        "Rows with equal features count once and are trained on once. A real training sees all of "
        "them.",
    ),
    (
        "Long tail",
        "Our reading of Feldman (STOC 2020): records of one class that lie closer together than "
        "records usually lie to another class are one subpopulation. The cost is that of a model "
        "that must not fit subpopulations which the data hold once.",
    ),
)
BY = {"class": "class", "group": "group", "copies": "number of copies"}


def tail_sentence(tail: LongTail) -> str:
    """The long tail in words."""
    if tail.reason is not None or tail.total is None:
        return f"The long tail was not estimated: {tail.reason or tail.tau_1.reason}."
    return (
        f"{number(tail.n_singletons)} of {number(tail.n_clusters)} subpopulations hold a single "
        f"row. A model that fits none of these is expected to make {share(tail.total)} more errors, "
        "in absolute terms."
    )


def facts(record: DataRecord) -> tuple[tuple[str, str], ...]:
    """The facts under the headline."""
    d, t, m = record.data, record.training, record.memorization
    return (
        ("Records", number(d.n_records)),
        ("Classes", number(d.n_classes)),
        ("Models trained", number(t.n_models)),
        ("Share of a training set", share(t.share)),
        ("Right, trained on", share(t.accuracy_in)),
        ("Right, not trained on", share(t.accuracy_out)),
        ("Memorized", number(m.n_memorized)),
        ("Sure", number(m.n_sure)),
    )
