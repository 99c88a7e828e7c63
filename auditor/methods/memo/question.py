"""MEMO's own question: are stored exemplars easier to recognise than other members?

Three kinds of members are told apart: EX, stored records of earlier tasks, seen again in every
later task; OLD, members of earlier tasks that were discarded; NEW, members of the newest task,
stored or not (our reading: they have not been replayed yet). Nonmembers are records outside the
training set, of the same classes. Scores are the confidence in the true class, centred by class:
the store holds as many of every class, and the rest need not.

Herding keeps records near the mean of their class, which any model finds easy. So EX has a
control: nonmembers that the same rule would have kept. Only what exceeds it is memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.methods.classifiers import centred_by_class, true_class_confidence
from auditor.methods.findings import MethodFinding, auc_estimate, compared, counted
from auditor.methods.memo.herding import herded_by_class
from auditor.methods.memo.ledger import Ledger
from auditor.methods.memo.training import MemoClassifier
from auditor.methods.protocol import Records, checked_keep


class Kinds(NamedTuple):
    """Rows of the pool by kind."""

    ex: NDArray[np.int64]
    """Stored, of earlier tasks."""
    old: NDArray[np.int64]
    """Members of earlier tasks that are not stored."""
    new: NDArray[np.int64]
    """Members of the newest task."""
    out_early: NDArray[np.int64]
    """Nonmembers of the classes of earlier tasks."""
    out_new: NDArray[np.int64]
    """Nonmembers of the classes of the newest task."""


def member_kinds(trained: MemoClassifier, records: Records, keep: NDArray[np.bool_]) -> Kinds:
    """The kinds of members and their nonmembers."""
    mask, classes = checked_keep(records, keep), records.required_classes()
    new = np.sort(np.asarray(trained.parts["new"]))
    newest = np.unique(classes[new])
    early = np.setdiff1d(trained.parts["seen"], newest)
    is_early, is_newest = np.isin(classes, early), np.isin(classes, newest)
    ex = np.setdiff1d(trained.parts["exemplars"], new)
    return Kinds(
        ex=ex,
        old=np.setdiff1d(np.flatnonzero(mask & is_early), ex),
        new=new,
        out_early=np.flatnonzero(~mask & is_early),
        out_new=np.flatnonzero(~mask & is_newest),
    )


def own_question(
    trained: MemoClassifier, records: Records, keep: NDArray[np.bool_]
) -> tuple[MethodFinding, ...]:
    """What the artefact stores, membership by kind, and whether the choice can be guessed."""
    kinds = member_kinds(trained, records, keep)
    classes = records.required_classes()
    logits = trained.logits(records.features)
    confidence = centred_by_class(true_class_confidence(logits, classes), classes)
    return (
        *stored_findings(trained),
        *kind_findings(confidence, kinds, would_be_kept(trained, records, kinds)),
        choice_finding(trained, records, keep),
    )


def stored_findings(trained: MemoClassifier) -> tuple[MethodFinding, ...]:
    """The certain leak: how many records the artefact holds verbatim, and their bytes."""
    ledger: Ledger = trained.parts["ledger"]
    n = ledger.n_exemplars
    what = f"The model is kept with {n} training records in the clear"
    return (
        counted("stored_records", f"{what}: whoever holds it holds them.", "count", n, n_members=n),
        counted(
            "stored_bytes",
            f"{what}, {ledger.exemplar_bytes} bytes beside {ledger.model_bytes()} of the network.",
            "bytes",
            ledger.exemplar_bytes,
            n_members=n,
        ),
    )


def kind_findings(
    confidence: NDArray[np.float64], kinds: Kinds, lookalikes: NDArray[np.int64]
) -> tuple[MethodFinding, ...]:
    """Membership AUC of each kind from (n,) confidence, and of EX above OLD directly.

    lookalikes: nonmembers that herding would have kept.
    """
    outside = confidence[kinds.out_early]
    control = auc_estimate(confidence[lookalikes], outside)
    control_name = "nonmembers that herding would have kept, against all nonmembers"
    how = "by the confidence in the true class, against records that the model has never seen"
    return (
        compared(
            "membership_exemplars",
            f"Replayed exemplars told {how}.",
            confidence[kinds.ex],
            outside,
            control=control,
            control_name=control_name,
        ),
        compared(
            "membership_exemplars_matched",
            "Replayed exemplars told from unseen records that herding would have kept.",
            confidence[kinds.ex],
            confidence[lookalikes],
        ),
        compared(
            "membership_discarded", f"Discarded members told {how}.", confidence[kinds.old], outside
        ),
        compared(
            "membership_newest",
            f"Members of the newest task told {how}.",
            confidence[kinds.new],
            confidence[kinds.out_new],
        ),
        compared(
            "exemplars_above_discarded",
            "Replayed exemplars ranked above discarded members of the same tasks.",
            confidence[kinds.ex],
            confidence[kinds.old],
            control=auc_estimate(
                confidence[lookalikes], confidence[np.setdiff1d(kinds.out_early, lookalikes)]
            ),
            control_name="nonmembers that herding would have kept, against the other nonmembers",
        ),
    )


def would_be_kept(trained: MemoClassifier, records: Records, kinds: Kinds) -> NDArray[np.int64]:
    """Nonmembers of earlier tasks that herding would have kept, as many per class as were.

    The features are those of the finished network, while exemplars were chosen with the network
    of their own task.
    """
    classes = records.required_classes()[kinds.out_early]
    features = trained.embed(records.features[kinds.out_early])
    quota = {int(c): len(rows) for c, rows in trained.parts["exemplars_by_class"].items()}
    present = {c: m for c, m in quota.items() if m}
    return kinds.out_early[herded_by_class(features, classes, present)]


def choice_finding(
    trained: MemoClassifier, records: Records, keep: NDArray[np.bool_]
) -> MethodFinding:
    """Whether an attacker who knows the rule can guess who was kept among the members."""
    classes, stored = records.required_classes(), trained.parts["exemplars"]
    members = np.flatnonzero(checked_keep(records, keep))
    features = trained.embed(records.features[members])
    nearness = np.zeros(len(members))
    for c in trained.parts["seen"]:
        rows = classes[members] == c
        nearness[rows] = -np.linalg.norm(features[rows] - features[rows].mean(axis=0), axis=1)
    is_stored = np.isin(members, stored)
    return compared(
        "choice_guessed",
        "Stored records guessed among the members from their nearness to the mean of their class.",
        nearness[is_stored],
        nearness[~is_stored],
    )
