"""From the figures of a probe to its record."""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.probing import overlap, wanda
from attacks.probing.masks import Bools, Masks
from auditor import __version__
from auditor.assemble import device_name, versions
from auditor.families.diffusion import PRECISIONS
from auditor.memory import peak_memory_mb
from auditor.probing.measure import LayerResult, Pairs
from auditor.prompts.reading import Prompt
from auditor.targets.description import describe
from reports import probe_record as schema
from reports import record as shared

if TYPE_CHECKING:
    from auditor.probing.probe import Probe

ALPHA = 0.05
"""Level of the permutation test over sets."""


def masks_of(probe: Probe, found: Mapping[str, LayerResult]) -> Masks:
    """The masks with their provenance: hashes of prompts, never a prompt."""
    n = len(probe.memorized)
    sets = [
        {name: one.sets[i] for name, one in found.items()} for i in range(n + len(probe.ordinary))
    ]
    return Masks(
        memorized=tuple(sets[:n]),
        together={name: one.together for name, one in found.items()},
        ordinary=tuple(sets[n:]),
        provenance={
            "method": wanda.MANIFEST.name,
            "tool": __version__,
            "model_key": probe.target.key,
            "sampling": probe.sampling.key,
            "seed": probe.options.seed,
            "seeds": probe.options.seeds,
            "sparsity": probe.config.sparsity,
            "first_steps": probe.config.first_steps,
            "select_ratio": probe.config.select_ratio,
            "cfg_half": probe.config.cfg_half,
            "memorized_sha256": _keyed_hash(probe, _flat(probe.memorized)),
            "ordinary_sha256": _keyed_hash(probe, _flat(probe.ordinary)),
            "reference_sha256": _keyed_hash(probe, probe.reference),
        },
    )


def assemble(
    probe: Probe, found: Mapping[str, LayerResult], masks: Masks, files: dict[str, str]
) -> schema.ProbeRecord:
    """The record of a probe; files: SHA-256 of its masks."""
    n = len(probe.memorized)
    steps = Pairs(*_mean_pairs([one.steps for one in found.values()]))
    figures = _overlap(steps, n)
    test = _test(probe, steps.matrix)
    names = [f"memorized {i + 1}" for i in range(n)]
    names += [f"ordinary {i + 1}" for i in range(len(probe.ordinary))]
    return schema.ProbeRecord(
        tool=shared.Tool(version=__version__),
        command=command_line(probe),
        seed=probe.options.seed,
        finding=_finding(probe, figures, test),
        target=describe(probe.target),
        prompts=_prompts(probe),
        setting=schema.ProbeSetting(
            method="wanda",
            rule_id=wanda.MANIFEST.id,
            steps=probe.sampling.steps,
            guidance=probe.sampling.guidance,
            seeds=probe.options.seeds,
            sparsity=probe.config.sparsity,
            first_steps=probe.config.first_steps,
            select_ratio=probe.config.select_ratio,
            cfg_half=probe.config.cfg_half,
        ),
        shares=_shares(probe, masks),
        overlap=figures,
        pruned_overlap=_overlap(Pairs(*_mean_pairs([one.joined for one in found.values()])), n),
        test=test,
        set_names=tuple(names),
        matrix=tuple(tuple(float(v) for v in row) for row in steps.matrix),
        layers=tuple(
            schema.LayerFigures(
                name=name,
                n_outputs=one.shape[0],
                n_inputs=one.shape[1],
                density=one.together.density,
                step_density=tuple(one.step_density),
                step_contrast=tuple(one.step_contrast),
                overlap=_overlap(one.steps, n),
            )
            for name, one in found.items()
        ),
        environment=_environment(probe),
        files=files,
    )


def command_line(probe: Probe) -> str:
    """The command that repeats this probe, every path cut to its last component."""
    o = probe.options
    words = ["auditor probe", shlex.quote(probe.target.name)]
    for flag in ("prompts", "reference", "ordinary", "out", "lora"):
        value = getattr(o, flag)
        if value is not None:
            words.append(f"--{flag} {shlex.quote(Path(value).resolve().name)}")
    words.append(f"--sets {o.sets} --sparsity {o.sparsity:g} --first-steps {o.first_steps}")
    words.append(f"--select-ratio {o.select_ratio:g} --cfg-half {o.cfg_half} --seeds {o.seeds}")
    words.append(f"--steps {o.steps} --guidance {o.guidance:g}")
    words.append(f"--device {probe.target.device.type} --precision {_precision(probe)}")
    words.append(f"--batch-size {probe.executor.batch_size} --seed {o.seed}")
    words += [f"--resolution {o.resolution}"] if o.resolution is not None else []
    words += [f"--limit {o.limit}"] if o.limit is not None else []
    return " ".join([*words, *(["--allow-pickle"] if o.allow_pickle else [])])


def _mean_pairs(pairs: Sequence[Pairs]) -> tuple[NDArray[np.float64], float | None]:
    random = [one.random for one in pairs if one.random is not None]
    matrix = np.mean([one.matrix for one in pairs], axis=0)
    return matrix, float(np.mean(random)) if random else None


def _overlap(pairs: Pairs, n_memorized: int) -> schema.Overlap:
    groups = overlap.by_group(pairs.matrix, n_memorized)
    memorized, ordinary, across = (None if math.isnan(v) else v for v in groups)
    return schema.Overlap(
        memorized=memorized, ordinary=ordinary, across=across, random=pairs.random
    )


def _are_alike(probe: Probe) -> bool:
    sizes = [len(one) for one in (*probe.memorized, *probe.ordinary)]
    return max(sizes) - min(sizes) <= 1


def _test(probe: Probe, matrix: NDArray[np.float64]) -> schema.OverlapTest | None:
    found = overlap.distinction(matrix, len(probe.memorized)) if _are_alike(probe) else None
    return None if found is None else schema.OverlapTest(**found._asdict())


def _finding(
    probe: Probe, o: schema.Overlap, test: schema.OverlapTest | None
) -> schema.ProbeFinding:
    untested = "whether pruning these weights keeps the images away: localised is not erased"
    figures = [
        f"{name} {value:.3f}"
        for name, value in (
            ("two memorized sets", o.memorized),
            ("two ordinary sets", o.ordinary),
            ("a memorized and an ordinary set", o.across),
            ("random masks", o.random),
        )
        if value is not None
    ]
    headline = f"Overlap (IoU): {', '.join(figures) or 'not run with a single set'}."
    if test is None:
        why = _why_not(probe)
        return schema.ProbeFinding(
            outcome="not run",
            sentence="Weights were marked; whether memorization marks them is not tested.",
            headline=headline,
            untested=f"the control with ordinary prompts was not run, since {why}; {untested}",
        )
    is_distinct = test.p_value <= ALPHA and test.difference > 0
    sentence = (
        "Memorized prompts mark weights that ordinary prompts do not: their sets are more alike "
        "than a memorized and an ordinary set."
        if is_distinct
        else "No weights of memorization can be told apart: that sets of memorized prompts are more "
        "like each other than like ordinary ones is not shown."
    )
    if not is_distinct and test.smallest_p > ALPHA:
        sentence = "Too few sets to tell whether memorized prompts mark weights of their own."
    return schema.ProbeFinding(
        outcome="distinct" if is_distinct else "not distinguishable",
        sentence=sentence,
        headline=f"{headline} Permutation test over the sets: p = {test.p_value:.3g}.",
        untested=untested,
    )


def _why_not(probe: Probe) -> str:
    if not probe.ordinary:
        return "no ordinary prompts were given (--ordinary)"
    if len(probe.memorized) < 2:
        return "there is a single set (--sets)"
    if not _are_alike(probe):
        return "the ordinary sets are smaller than the memorized ones; give as many prompts"
    return "there are too many sets"


def _shares(probe: Probe, masks: Masks) -> schema.Shares:
    n_probed = sum(m.shape[0] * m.shape[1] for m in masks.together.values())

    def share(marked: Bools) -> float:
        return sum(int(one.sum()) for one in marked.values()) / n_probed

    return schema.Shares(
        n_marked=sum(m.count for m in masks.together.values()),
        n_probed=n_probed,
        of_layers=masks.share_of_layers(),
        of_model=masks.share_of_model(probe.target.n_parameters),
        union_of_layers=share(masks.union()),
        consensus_of_layers=share(masks.consensus(1.0)),
        minus_ordinary_of_layers=share(masks.mem_minus_non()) if masks.ordinary else None,
    )


def _prompts(probe: Probe) -> schema.ProbedPrompts:
    memorized, ordinary = _flat(probe.memorized), _flat(probe.ordinary)
    return schema.ProbedPrompts(
        n_memorized=len(memorized),
        memorized_sets=tuple(map(len, probe.memorized)),
        memorized_sha256=_keyed_hash(probe, memorized),
        n_ordinary=len(ordinary),
        ordinary_sets=tuple(map(len, probe.ordinary)),
        ordinary_sha256=_keyed_hash(probe, ordinary) if ordinary else None,
        ordinary_kind=probe.ordinary_kind,  # type: ignore[arg-type]
        n_reference=max(1, len(probe.reference)),
        reference_kind="given" if probe.reference else "empty prompt",
        reference_sha256=_keyed_hash(probe, probe.reference),
    )


def _flat(sets: Sequence[Sequence[Prompt]]) -> list[Prompt]:
    return [prompt for one in sets for prompt in one]


def _keyed_hash(probe: Probe, prompts: Sequence[Prompt]) -> str:
    ids = sorted(probe.key.publish(prompt.id) for prompt in prompts)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _precision(probe: Probe) -> str:
    return PRECISIONS[probe.target.dtype]


def _environment(probe: Probe) -> shared.Environment:
    watching = probe.seconds.get("observe", 0.0)
    return shared.Environment(
        started=probe.started,
        finished=datetime.now(UTC),
        device=device_name(probe.target.device),
        precision=_precision(probe),
        batch_size=probe.executor.batch_size,
        versions=versions(),
        seconds={stage: round(value, 3) for stage, value in probe.seconds.items()},
        peak_memory_mb=round(peak_memory_mb(probe.target.device), 1),
        calls_per_record=probe.sampling.calls * probe.options.seeds,
        n_calls=probe.executor.usage.n_calls,
        n_calls_cached=0,
        images_per_second=round(probe.n_draws / watching, 2) if watching else None,
    )
