"""From the figures of a data scan to its record."""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from attacks.results import Estimate
from auditor import __version__
from auditor.assemble import versions
from reports import data_record as schema
from reports.record import Tool
from reports.text import number, share

if TYPE_CHECKING:
    from auditor.data_measure import Measured, Tail
    from auditor.data_scan import DataScan

MOST_SHOWN = 50
"""Records, and pairs, in the tables of the reports."""
N_BINS = 40


def assemble(scan: DataScan, measured: Measured, files: dict[str, str]) -> schema.DataRecord:
    """The record of a scan; files: SHA-256 of its tables."""
    return schema.DataRecord(
        tool=Tool(version=__version__),
        command=command_line(scan),
        seed=scan.options.seed,
        headline=headline(scan, measured),
        data=_data(scan),
        training=_training(scan, measured),
        memorization=_summary(measured),
        checks=_checks(measured),
        histogram=_histogram(measured),
        top=_top(scan, measured),
        breakdowns=tuple(
            schema.Breakdown(by=by, groups=groups)  # type: ignore[arg-type]
            for by, groups in measured.breakdowns.items()
        ),
        influence=_influence(scan, measured),
        long_tail=tuple(_tail(tail) for tail in measured.tails),
        environment=schema.Environment(
            started=scan.started,
            finished=datetime.now(UTC),
            versions=versions(),
            seconds={stage: round(value, 3) for stage, value in scan.seconds.items()},
        ),
        files=files,
    )


def command_line(scan: DataScan) -> str:
    """The command that repeats this scan, with placeholders for paths."""
    o = scan.options
    words = ["auditor scan data DATA", f"--train {shlex.quote(o.train)}", "--out DIR"]
    words += [f"--models {o.models}", f"--share {o.share:g}"]
    words += ["--test TEST"] if o.test is not None else []
    words += [f"--group {shlex.quote(o.group)}"] if o.group is not None else []
    words += ["--config CONFIG"] if o.config is not None else []
    return " ".join([*words, f"--seed {o.seed}"])


def headline(scan: DataScan, measured: Measured) -> str:
    """The answer in one sentence."""
    found = measured.memorized
    n_sure = int(found.is_sure.sum())
    return (
        f"Training memorizes {number(found.record.size)} of {number(found.n_estimated)} records "
        f"({share(found.share)}), {number(n_sure)} of them surely: a model is right about "
        f"{share(measured.accuracy_in)} of the records that it trained on, and about "
        f"{share(measured.accuracy_out)} of those that it did not."
    )


def _data(scan: DataScan) -> schema.DataSet:
    rows = scan.rows
    ids = sorted(scan.publish(record) for record in rows.records)
    return schema.DataSet(
        n_records=len(rows.records),
        n_rows=sum(record.multiplicity for record in rows.records),
        n_repeated=sum(record.multiplicity > 1 for record in rows.records),
        n_test=len(rows.test),
        n_test_dropped=rows.n_test_dropped,
        n_unreadable=rows.n_unreadable,
        n_classes=scan.pool.n_classes,
        n_features=len(rows.table.columns),
        has_subjects=scan.pool.groups is not None,
        records_sha256=hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        label_source=rows.label_source,
        notes=rows.notes,
    )


def _training(scan: DataScan, measured: Measured) -> schema.Training:
    shadows, o = scan.shadows, scan.options
    return schema.Training(
        recipe=o.train,
        model=scan.model,
        n_models=len(shadows.keep),
        share=o.share,
        design="paired halves" if o.share == 0.5 else "random subsets",
        n_reused=shadows.n_reused,
        seconds=round(shadows.seconds, 3),
        accuracy_in=measured.accuracy_in,
        accuracy_out=measured.accuracy_out,
        notes=shadows.notes,
    )


def _summary(measured: Measured) -> schema.Summary:
    label, found = measured.label, measured.memorized
    reasons = Counter(label.reason(int(i)) for i in np.flatnonzero(label.value.mask))
    return schema.Summary(
        threshold=found.threshold,
        confidence=label.confidence,
        n_estimated=found.n_estimated,
        n_refused=label.n_refused,
        refusals=tuple(
            schema.Refusal(reason=str(reason), n_records=n)
            for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], str(item[0])))
        ),
        n_memorized=int(found.record.size),
        n_sure=int(found.is_sure.sum()),
        mean=float(label.value.mean()),
        mean_confidence=float(measured.confidence.value.mean()),
        rms_error_bound=label.rms_error_bound,
    )


def _checks(measured: Measured) -> schema.Checks:
    check, halves = measured.check, measured.halves
    return schema.Checks(
        identities_hold=check.holds(),
        mean_memorization=check.mean_memorization,
        accuracy_gap=check.accuracy_gap,
        is_balanced=check.is_balanced,
        diagonal_error=check.diagonal_error,
        half_correlation=halves.correlation,
        half_jaccard=halves.jaccard,
    )


def _histogram(measured: Measured) -> tuple[schema.Bin, ...]:
    """Equal bins over [-1, 1], empty ones at the left end left out."""
    known = measured.label.value.compressed()
    is_sure = measured.label.low.compressed() >= measured.memorized.threshold
    counts, edges = np.histogram(known, bins=N_BINS, range=(-1, 1))
    sure = np.histogram(known[is_sure], bins=N_BINS, range=(-1, 1))[0]
    first = int(np.flatnonzero(counts)[0])
    return tuple(
        schema.Bin(
            low=round(float(edges[i]), 6),
            high=round(float(edges[i + 1]), 6),
            n_records=int(counts[i]),
            n_sure=int(sure[i]),
        )
        for i in range(min(first, N_BINS // 2), N_BINS)
    )


def _top(scan: DataScan, measured: Measured) -> tuple[schema.MemorizedRecord, ...]:
    label, found = measured.label, measured.memorized
    return tuple(
        schema.MemorizedRecord(
            record_id=scan.publish(scan.rows.records[i]),
            rank=rank,
            memorization=float(label.value[i]),
            standard_error=float(label.standard_error[i]),
            low=float(label.low[i]),
            high=float(label.high[i]),
            confidence_memorization=float(measured.confidence.value[i]),
            n_in=int(label.n_in[i]),
            n_out=int(label.n_out[i]),
            multiplicity=scan.rows.records[i].multiplicity,
            is_sure=bool(is_sure),
        )
        for rank, (i, is_sure) in enumerate(
            zip(found.record[:MOST_SHOWN], found.is_sure, strict=False), 1
        )
    )


def _influence(scan: DataScan, measured: Measured) -> schema.Influence | None:
    pairs = measured.influence
    if pairs is None:
        return None
    return schema.Influence(
        threshold=pairs.threshold,
        n_compared=pairs.n_compared,
        n_found=pairs.n_found,
        n_kept=int(pairs.value.size),
        n_sure=int(pairs.is_sure.sum()),
        n_test_affected=pairs.n_test_affected,
        n_test_affected_by_one=pairs.n_test_affected_by_one,
        top=tuple(
            schema.InfluencePair(
                train_id=scan.publish(scan.rows.records[pairs.train[i]]),
                test_id=scan.publish(scan.rows.test[pairs.test[i]]),
                influence=float(pairs.value[i]),
                low=float(pairs.low[i]),
                high=float(pairs.high[i]),
                is_sure=bool(pairs.is_sure[i]),
            )
            for i in range(min(MOST_SHOWN, pairs.value.size))
        ),
    )


def _tail(tail: Tail) -> schema.LongTail:
    tau = tail.tau_1
    return schema.LongTail(
        by=tail.by,  # type: ignore[arg-type]
        reason=tail.reason,
        n_clusters=int(tail.sizes.size),
        n_singletons=int(np.count_nonzero(tail.sizes == 1)),
        tau_1=Estimate(tau.value, tau.low, tau.high, tau.reason),
        guess=tail.guess,
        total=None if tail.cost is None else tail.cost.total,
        disparity=None if tail.cost is None else tail.cost.disparity,
        groups=() if tail.cost is None else tail.cost.groups,
    )
