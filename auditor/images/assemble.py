"""From the figures of a scan of images to its record."""

from __future__ import annotations

import hashlib
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from attacks.extraction.results import CopiedPair, ExtractionFinding
from auditor import __version__
from auditor.assemble import versions
from auditor.matching.index import backend_name
from auditor.matching.matcher import CANDIDATES
from auditor.matching.verify import CONVENTION
from reports import images_record as schema
from reports.record import Policy, Tool

if TYPE_CHECKING:
    from auditor.images.scan import Concluded, ImageScan
    from auditor.records import Record

MOST_PAIRS = 50
"""Pairs in the record; matches.parquet has one for every generated picture."""
NEAREST_OTHERS = 10
"""Pairs that are no copies, nearest first, so that the limit can be judged."""
N_BINS = 40


def assemble(scan: ImageScan, concluded: Concluded, files: dict[str, str]) -> schema.ImagesRecord:
    """The record of a scan; files: SHA-256 of its tables."""
    policy = scan.policy
    return schema.ImagesRecord(
        tool=Tool(version=__version__),
        command=command_line(scan),
        seed=scan.options.seed,
        policy=Policy(
            name=policy.name,
            sha256=policy.sha256,
            rules=policy.rules_as_plain,
            release_context=policy.release_context,
        ),
        verdict=concluded.judgement.verdict,
        sets=_sets(scan, concluded),
        matching=_matching(scan),
        controls=concluded.controls,
        finding=_finding(scan, concluded),
        rules=concluded.judgement.rules,
        similarities=_similarities(concluded),
        environment=_environment(scan),
        files=files,
    )


def command_line(scan: ImageScan) -> str:
    """The command that repeats this scan, with placeholders for paths."""
    o = scan.options
    words = ["auditor scan images GENERATED --against TRAINING --out DIR"]
    words += ["--background HELDOUT"] if o.background is not None else []
    if o.encoder is not None:
        is_name = o.encoder == "pixels" or o.encoder.startswith("open_clip:hf-hub:")
        words.append(f"--encoder {shlex.quote(o.encoder) if is_name else 'ENCODER'}")
    words += ["--policy POLICY"] if o.policy is not None else []
    words += ["--config CONFIG"] if o.config is not None else []
    words += [f"--limit {o.limit}"] if o.limit is not None else []
    return " ".join([*words, f"--seed {o.seed}"])


def _sets(scan: ImageScan, concluded: Concluded) -> schema.Sets:
    sets = scan.sets
    return schema.Sets(
        n_training=len(sets.training),
        n_training_groups=len(sets.copies),
        n_training_rows=int(sets.copies.sum()),
        n_repeated=sets.n_repeated,
        n_generated=len(sets.generated),
        n_generated_rows=sum(record.multiplicity for record in sets.generated),
        n_background=len(sets.background),
        n_background_fit=concluded.n_fit,
        n_background_dropped=sets.n_background_dropped,
        n_unreadable=sets.n_unreadable,
        training_sha256=_keyed_hash(scan, sets.training),
        generated_sha256=_keyed_hash(scan, sets.generated),
        background_sha256=_keyed_hash(scan, sets.background) if sets.background else None,
        notes=sets.notes,
    )


def _keyed_hash(scan: ImageScan, records: Sequence[Record]) -> str:
    ids = sorted(scan.publish(record) for record in records)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _matching(scan: ImageScan) -> schema.Matching:
    encoder = scan.matcher.encoder
    return schema.Matching(
        encoder=encoder.name,
        limits=encoder.limits,
        encoder_sha256=encoder.key,
        width=encoder.width,
        search=backend_name(),
        candidates=CANDIDATES,
        n_embedded=scan.store.n_computed,
        n_reused=scan.store.n_reused,
        distance=CONVENTION,
    )


def _finding(scan: ImageScan, concluded: Concluded) -> ExtractionFinding:
    figures = concluded.figures
    return ExtractionFinding(
        n_generated=figures.is_copy.size,
        n_training=len(scan.sets.copies),
        n_copies=int(figures.is_copy.sum()),
        n_copied_records=len(figures.copied_groups),
        copy_share=figures.copy_share,
        limit=figures.limit.value,
        convention=CONVENTION,
        limit_source=figures.limit.source,
        by_copies=figures.by_copies,
        pairs=tuple(pair(scan, concluded, i) for i in shown_pairs(concluded)),
        replication=figures.replication,
    )


def shown_pairs(concluded: Concluded) -> list[int]:
    """Generated pictures whose pairs a report shows: copies, and the nearest that are none."""
    figures = concluded.figures
    known = np.flatnonzero(np.isfinite(figures.matches.distance))
    order = known[np.argsort(figures.matches.distance[known], kind="stable")].tolist()
    copies = [i for i in order if figures.is_copy[i]][: MOST_PAIRS - NEAREST_OTHERS]
    return copies + [i for i in order if not figures.is_copy[i]][:NEAREST_OTHERS]


def pair(scan: ImageScan, concluded: Concluded, i: int) -> CopiedPair:
    """The pair of the i-th generated picture, which has a match."""
    matches, sets = concluded.figures.matches, scan.sets
    generated, training = sets.generated[i], sets.training[matches.record[i]]
    return CopiedPair(
        generated_id=scan.publish(generated),
        training_id=scan.publish(training),
        similarity=float(matches.similarity[i]),
        distance=float(matches.distance[i]),
        convention=CONVENTION,
        registration=str(matches.registration[i]),
        multiplicity=int(sets.copies[sets.groups[matches.record[i]]]),
        is_copy=bool(concluded.figures.is_copy[i]),
        generated_size=generated.size,
        training_size=training.size,
        generated_colour=generated.colour,
        training_colour=training.colour,
    )


def _similarities(concluded: Concluded) -> tuple[schema.SimilarityBin, ...]:
    """Equal bins over everything that occurs."""
    figures = concluded.figures
    own, other = figures.matches.similarity, figures.background_similarity
    everything = own if other is None else np.concatenate([own, other])
    low = max(float(np.floor(everything.min() * 20) / 20), -1.0)
    edges = np.linspace(min(low, 0.95), max(1.0, float(everything.max())), N_BINS + 1)
    shares = np.histogram(own, bins=edges)[0] / own.size
    others = None if other is None else np.histogram(other, bins=edges)[0] / other.size
    return tuple(
        schema.SimilarityBin(
            low=round(float(edges[i]), 6),
            high=round(float(edges[i + 1]), 6),
            generated=float(shares[i]),
            background=None if others is None else float(others[i]),
        )
        for i in range(N_BINS)
    )


def _environment(scan: ImageScan) -> schema.Environment:
    import torch

    from auditor.memory import peak_memory_mb

    return schema.Environment(
        started=scan.started,
        finished=datetime.now(UTC),
        device=f"{scan.options.device} ({platform.machine()})",
        versions=versions(),
        seconds={stage: round(value, 3) for stage, value in scan.seconds.items()},
        peak_memory_mb=round(peak_memory_mb(torch.device("cpu")), 1),
    )
