"""What the reports of a scan of images say around the figures."""

from __future__ import annotations

from reports.images_record import ImagesRecord
from reports.text import number, rate, share

CONTROLS = {
    "positive": "Are changed copies of training pictures found?",
    "negative": "Are pictures that nobody trained on left alone?",
}
READING = (
    (
        "A copy is claimed by its pixels",
        "The encoder only proposes candidates. A generated picture is a copy if it lies within the "
        "limit of a training picture in its worst tile, as it is, mirrored or cropped.",
    ),
    (
        "The limit is taken from pictures that are no copies",
        "Half of the held-out pictures set it, and are in no other figure. Without held-out "
        "pictures the training set's own neighbours set it, and nothing can pass.",
    ),
    (
        "The bound speaks for pictures like these",
        "Other prompts, other seeds and other sampling settings may reproduce other records. The "
        "upper bound holds for pictures generated in the same way, and for copies that this "
        "encoder and these pixels can show.",
    ),
    (
        "Similarity above the threshold is not yet a copy",
        "It is a share that held-out pictures rarely reach. What counts is the excess over them.",
    ),
    (
        "Rates by copies",
        "Records that training saw more often are reproduced more often. The intervals take the "
        "records for a sample of their range, and all of them hold together.",
    ),
)


def facts(record: ImagesRecord) -> tuple[tuple[str, str], ...]:
    """The facts under the headline."""
    s, f = record.sets, record.finding
    return (
        ("Generated", number(s.n_generated)),
        ("Training pictures", number(s.n_training)),
        ("Held-out pictures", number(s.n_background)),
        ("Verified copies", number(f.n_copies)),
        ("Training records copied", number(f.n_copied_records)),
        ("Encoder", record.matching.encoder),
        ("Policy", record.policy.name),
    )


def replication_sentence(record: ImagesRecord) -> str:
    """The comparison with held-out pictures in words."""
    r = record.finding.replication
    if r is None:
        return "Not compared: there are no held-out pictures."
    false_alarms = "" if r.fpr is None else f" (false-alarm rate {rate(round(r.fpr, 6))})"
    return (
        f"{share(r.share.value)} of the generated pictures and {share(r.background_share.value)} of "
        f"{number(r.n_background)} held-out pictures lie above a similarity of {r.tau:.3f}"
        f"{false_alarms}. The threshold is {r.tau_source}."
    )
