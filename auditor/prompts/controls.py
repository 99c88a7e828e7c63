"""Controls of a scan of prompts: captions alone, random weights, planted prompts.

There are no training images, so the planted ones are drawn from the target itself: reference
prompts are tied to pictures that it drew for other prompts, in a fine-tuned copy.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from attacks.detection.flags import conformal_p, flagged
from attacks.detection.registry import PRIMARY
from attacks.errors import UnderPowered
from attacks.protocols import Dose
from attacks.results import ControlResult, ControlStatus
from attacks.statistics.blind_captions import CaptionCheck, caption_check
from auditor.controls.negative import ALPHA, separates
from auditor.controls.positive import (
    DOSES,
    N_INJECTED,
    DoseScores,
    PositiveControl,
    chosen_records,
    is_established,
    positive_control,
)
from auditor.controls.sampling import draw
from auditor.observe.cache import shard_key
from auditor.observe.trajectories import TrajectoryExecutor
from auditor.progress import Progress
from auditor.prompts.measure import score_prompts
from auditor.prompts.reading import Prompt
from auditor.targets.finetuning import RECIPE
from auditor.targets.sampling import Draw

if TYPE_CHECKING:
    from auditor.prompts.scan import PromptScan

MOST_PROMPTS = 128
"""Prompts that one control may use."""
WARN, CONFOUNDED = 0.05, 0.01
"""p of the caption check: a warning, and from where the comparison is not to be trusted."""


def check_captions(scan: PromptScan) -> tuple[ControlResult, CaptionCheck | None]:
    """Do the words alone tell suspects from references? Never asks the model."""
    suspects, references = scan.suspects, scan.references
    if scan.is_built:
        summary = (
            "not run: the references are the prompts' own words in random order, which have the "
            "same words by construction; a difference in order is not checked"
        )
        return ControlResult("captions alone", ControlStatus.NOT_RUN, summary), None
    texts = [prompt.text for prompt in (*suspects, *references)]
    is_suspect = np.arange(len(texts)) < len(suspects)
    try:
        found = caption_check(texts, is_suspect, rng=np.random.default_rng([scan.seed, 3]))
    except UnderPowered as reason:
        return ControlResult("captions alone", ControlStatus.NOT_RUN, f"not run: {reason}"), None
    if found.p_value <= CONFOUNDED:
        status, verdict = ControlStatus.FAILED, "tell them apart, so that flags may be about style"
    elif found.p_value <= WARN:
        status, verdict = ControlStatus.WARNING, "may tell them apart"
    else:
        status, verdict = ControlStatus.PASSED, "do not tell them apart"
    kept = "prompts that share two first words kept together" if found.is_grouped else "folds"
    summary = (
        f"The words of {found.n_suspects} suspect and {found.n_references} reference prompts "
        f"{verdict} (naive Bayes, {kept}: AUC {found.auc:.3f}, permutation p = "
        f"{found.p_value:.3g})."
    )
    return ControlResult("captions alone", status, summary, dataclasses.asdict(found)), found


def random_weights(scan: PromptScan) -> ControlResult:
    """The same network with random weights must tell nothing apart and flag no prompt."""
    seed = scan.seed
    sides = [draw(side, MOST_PROMPTS // 2, seed, "fresh") for side in _sides(scan)]
    prompts = [*sides[0], *sides[1]]
    is_suspect = np.arange(len(prompts)) < len(sides[0])
    copy = scan.target.reinitialised(seed)
    executor = _of_copy(scan, copy, f"random weights {seed}")
    watching = dataclasses.replace(scan.watching, detectors=(PRIMARY,))
    scores = score_prompts(executor, prompts, watching)
    what = "Suspects against references in the same network with random weights"
    result = separates("random weights", what, scores, is_suspect, seed)
    values = scores[PRIMARY]
    n_flagged = int(flagged(conformal_p(values[is_suspect], values[~is_suspect]), ALPHA).sum())
    status = ControlStatus.FAILED if n_flagged else result.status
    return dataclasses.replace(
        result,
        status=status,
        summary=f"{result.summary} It flagged {n_flagged} prompts at a false-discovery rate of 1 %.",
        figures=result.figures | {"n_flagged": n_flagged},
    )


def planted_prompts(scan: PromptScan) -> PositiveControl:
    """Would the primary detector see prompts that a copy memorized?"""
    chosen = chosen_records(scan.references, scan.seed)
    fpr = scan.policy.rules.identified.fpr
    return positive_control(_doses(scan, chosen), [PRIMARY], len(chosen), fpr)


def _doses(scan: PromptScan, chosen: Sequence[Prompt]) -> Iterator[DoseScores]:
    """Each dose with the scores of injected and other prompts; a finished dose is not repeated."""
    doses = planned_doses(scan.policy.accepted_dose)
    names = shard_key([prompt.id for prompt in chosen])
    watching = dataclasses.replace(scan.watching, detectors=(PRIMARY,))
    recipe = f"{names} {N_INJECTED} {RECIPE} {scan.seed} {scan.watching.setting}"
    copies: Iterator[Dose] | None = None
    for dose in doses:
        purpose = f"planted prompts {recipe} {dose}"
        cache = scan.cache.derived(purpose)
        facts = cache.facts()
        if facts is None or "scores 0" not in facts:
            copies = copies or _train(scan, chosen[:N_INJECTED], doses)
            copy = next(one for one in copies if one.exposures == dose)
            facts = {"before": copy.loss_before, "after": copy.loss_after}
            if not math.isfinite(copy.loss_after):
                return  # training diverged: the control is not established
            executor = _of_copy(scan, copy.predictor, purpose)
            found = score_prompts(executor, chosen, watching)[PRIMARY]
            facts |= {f"scores {i}": float(value) for i, value in enumerate(found)}
            cache.store_facts(facts)
        values = np.array([facts[f"scores {i}"] for i in range(len(chosen))])
        memorized = is_established(facts["before"], facts["after"])
        scores = {PRIMARY: values} if memorized else None
        yield DoseScores(dose, facts["before"], facts["after"], scores)


def planned_doses(most: int) -> list[int]:
    """1, 4, 16, 64 and on by fours, up to the largest dose that the policy accepts."""
    doses = [dose for dose in DOSES if dose < most]
    while doses and 4 * doses[-1] < most:
        doses.append(4 * doses[-1])
    return [*doses, most]


def _train(scan: PromptScan, injected: Sequence[Prompt], doses: Sequence[int]) -> Iterator[Dose]:
    """A copy that is shown each injected prompt with a picture drawn for another one."""
    noise = scan.watching.noises(1)[0]
    draws = [Draw(prompt.text, noise) for prompt in injected]
    quiet = dataclasses.replace(scan.executor, progress=Progress())
    images = quiet.images(draws, scan.sampling)
    pictures = [Image.fromarray(one.squeeze()) for one in np.roll(images, 1, axis=0)]
    target = scan.target
    embedded = target.embed([prompt.text for prompt in injected])
    rows = torch.arange(len(injected), device=target.device)
    return target.finetune(
        target.prepare(pictures),
        None if embedded is None else embedded.rows(rows),
        doses=doses,
        seed=scan.seed,
        batch_size=scan.executor.batch_size,
    )


def _of_copy(scan: PromptScan, copy: Any, purpose: str) -> TrajectoryExecutor:
    cache = scan.cache.derived(purpose)
    return dataclasses.replace(scan.executor, target=copy, cache=cache, progress=Progress())


def _sides(scan: PromptScan) -> tuple[Sequence[Prompt], Sequence[Prompt]]:
    return scan.suspects, scan.references
