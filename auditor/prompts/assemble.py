"""From the figures of a scan of prompts to its record."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attacks.detection.flags import Q
from attacks.detection.registry import PRIMARY, detector
from attacks.statistics.auc import auc
from attacks.statistics.rates import tpr_at_fpr
from auditor import __version__
from auditor.assemble import device_name, versions
from auditor.families.diffusion import PRECISIONS
from auditor.memory import peak_memory_mb
from auditor.observe.trajectories import route
from auditor.prompts.confirm import N_SEEDS, SMALLEST
from auditor.prompts.judge import Judgement
from auditor.prompts.measure import Watching
from auditor.targets.description import describe
from reports import prompts_record as schema
from reports import record as shared

if TYPE_CHECKING:
    from auditor.prompts.reading import Prompt
    from auditor.prompts.scan import Detected, PromptScan

MOST_SHOWN = 50
N_BINS = 30


def assemble(
    scan: PromptScan, detected: Detected, judgement: Judgement, files: dict[str, str]
) -> schema.PromptsRecord:
    """The record of a scan; files: SHA-256 of its tables."""
    policy = scan.policy
    return schema.PromptsRecord(
        tool=shared.Tool(version=__version__),
        command=command_line(scan),
        seed=scan.seed,
        policy=shared.Policy(
            name=policy.name,
            sha256=policy.sha256,
            rules=policy.rules_as_plain,
            release_context=policy.release_context,
        ),
        verdict=shared.Verdict(
            outcome=judgement.outcome,
            sentence=judgement.sentence,
            headline=judgement.headline,
            untested=judgement.untested,
            exit_code=judgement.exit_code,
        ),
        target=describe(scan.target),
        prompts=_prompts(scan, detected),
        watched=_watched(scan, detected),
        captions=_captions(detected),
        detectors=tuple(_detector(scan, detected, name) for name in detected.scores),
        top=tuple(
            _prompt(scan, detected, int(i), rank)
            for rank, i in enumerate(detected.order[:MOST_SHOWN], start=1)
        ),
        histogram=_histogram(detected),
        controls=detected.controls,
        rules=(judgement.rule,),
        environment=_environment(scan),
        files=files,
    )


def command_line(scan: PromptScan) -> str:
    """The command that repeats this scan, every path cut to its last component."""
    o, setting = scan.options, scan.watching.setting
    words = ["auditor scan prompts", shlex.quote(scan.target.name)]
    for flag in ("prompts", "reference", "out", "policy", "lora"):
        value = getattr(o, flag)
        if value is not None:
            words.append(f"--{flag} {shlex.quote(Path(value).resolve().name)}")
    words.append(f"--detectors {','.join(scan.watching.detectors)}")
    words.append(f"--seeds {setting.seeds} --steps {setting.steps} --guidance {setting.guidance:g}")
    words.append(f"--device {scan.target.device.type} --precision {_precision(scan)}")
    words.append(f"--batch-size {scan.executor.batch_size} --seed {o.seed}")
    words += [f"--resolution {o.resolution}"] if o.resolution is not None else []
    words += [f"--limit {o.limit}"] if o.limit is not None else []
    return " ".join([*words, *(["--allow-pickle"] if o.allow_pickle else [])])


def _precision(scan: PromptScan) -> str:
    return PRECISIONS[scan.target.dtype]


def _prompts(scan: PromptScan, detected: Detected) -> schema.PromptSet:
    return schema.PromptSet(
        n_prompts=len(scan.suspects),
        n_repeated=sum(prompt.multiplicity > 1 for prompt in scan.suspects),
        n_cut=sum(tokens.n_cut > 0 for tokens in detected.tokens),
        n_references=len(scan.references),
        reference_kind=scan.reference_kind,  # type: ignore[arg-type]
        prompts_sha256=_keyed_hash(scan, scan.suspects),
        references_sha256=_keyed_hash(scan, scan.references),
    )


def _keyed_hash(scan: PromptScan, prompts: Sequence[Prompt]) -> str:
    ids = sorted(scan.publish(prompt) for prompt in prompts)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _watched(scan: PromptScan, detected: Detected) -> schema.Watched:
    setting, c = scan.watching.setting, detected.confirmations
    return schema.Watched(
        steps=setting.steps,
        guidance=setting.guidance,
        seeds=setting.seeds,
        primary=PRIMARY,
        q=Q,
        confirm_seeds=N_SEEDS,
        confirm_clique=SMALLEST,
        confirm_threshold=c.threshold,
        convention=c.convention,
        n_references_drawn=c.n_references,
        n_references_confirmed=c.n_references_confirmed,
    )


def _captions(detected: Detected) -> schema.CaptionFigures | None:
    found = detected.captions
    if found is None:
        return None
    return schema.CaptionFigures(
        auc=found.auc,
        tpr_at_1=found.tpr_at_1,
        p_value=found.p_value,
        is_grouped=found.is_grouped,
        n_groups=found.n_groups,
    )


def _detector(scan: PromptScan, detected: Detected, name: str) -> schema.DetectorFigures:
    label, ours, theirs = (
        detector(name).MANIFEST,
        detected.scores[name],
        detected.reference_scores[name],
    )
    alone = Watching((name,), scan.watching.setting, scan.seed)
    difference = float(np.median(ours) - np.median(theirs))
    return schema.DetectorFigures(
        detector=name,
        rule_id=label.id,
        title=label.title,
        access=str(label.access),
        is_primary=name == PRIMARY,
        is_directed=detector(name).IS_DIRECTED,
        n_flagged=int(detected.is_flagged[name].sum()),
        smallest_p=float(detected.p_values[name].min()),
        auc=auc(ours, theirs).interval(),
        tpr=tpr_at_fpr(ours, theirs, 0.01),
        side="higher" if difference > 0 else "lower" if difference < 0 else "even",
        calls=route(alone.requests, alone.setting.guidance).calls * alone.setting.seeds,
    )


def _prompt(scan: PromptScan, detected: Detected, i: int, rank: int) -> schema.PromptFigures:
    prompt, tokens = scan.suspects[i], detected.tokens[i]
    found = detected.confirmations.by_id.get(prompt.id)
    shares = detected.triggers.get(i, ())
    return schema.PromptFigures(
        prompt_id=scan.publish(prompt),
        rank=rank,
        n_tokens=len(tokens.tokens),
        n_words=max(tokens.words, default=-1) + 1,
        multiplicity=prompt.multiplicity,
        scores={name: float(values[i]) for name, values in detected.scores.items()},
        p_values={name: float(values[i]) for name, values in detected.p_values.items()},
        is_flagged=bool(detected.is_flagged[PRIMARY][i]),
        clique=None if found is None else found.clique,
        median_distance=None if found is None else found.median_distance,
        is_confirmed=None if found is None else found.is_confirmed,
        triggers=tuple(
            schema.Trigger(position=k + 1, word=tokens.words[k] + 1, share=float(share))
            for k, share in enumerate(shares)
        ),
    )


def _histogram(detected: Detected) -> tuple[schema.ScorePoint, ...]:
    ours, theirs = detected.scores[PRIMARY], detected.reference_scores[PRIMARY]
    edges = np.histogram_bin_edges(np.concatenate([ours, theirs]), bins=N_BINS)
    counts = [np.histogram(side, bins=edges)[0] for side in (ours, theirs)]
    return tuple(
        schema.ScorePoint(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            n_prompts=int(counts[0][i]),
            n_references=int(counts[1][i]),
        )
        for i in range(N_BINS)
    )


def _environment(scan: PromptScan) -> shared.Environment:
    usage, seconds, setting = scan.executor.usage, scan.seconds, scan.watching.setting
    watching = seconds.get("observe", 0.0)
    n_draws = (len(scan.suspects) + len(scan.references)) * setting.seeds
    is_fresh = usage.n_calls_cached == 0
    return shared.Environment(
        started=scan.started,
        finished=datetime.now(UTC),
        device=device_name(scan.target.device),
        precision=_precision(scan),
        batch_size=scan.executor.batch_size,
        versions=versions(),
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        peak_memory_mb=round(peak_memory_mb(scan.target.device), 1),
        calls_per_record=scan.watching.calls_per_prompt,
        n_calls=usage.n_calls,
        n_calls_cached=usage.n_calls_cached,
        images_per_second=round(n_draws / watching, 2) if is_fresh and watching else None,
    )
