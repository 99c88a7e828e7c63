"""Generate and filter, driven: choose prompts, draw, compare, claim, confirm.

See `attacks.extraction.generate_and_filter` for the idea and `attacks.extraction.evidence` for
what counts as a copy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attacks.extraction.distances import tiled_convention, tiled_rms
from attacks.extraction.evidence import FEWEST_BACKGROUND, CopyThreshold, copy_threshold
from attacks.extraction.generate_and_filter import MANIFEST, ExtractionConfig
from attacks.extraction.generation import ExtractedRecord, GenerationFinding
from attacks.extraction.rates import rates_by_copies
from attacks.statistics.identified import count_above, tail_probability
from auditor.controls.sampling import draw
from auditor.extraction.matcher import planted_found
from auditor.extraction.pictures import compared, compared_records, side_of
from auditor.extraction.prompts import chosen_prompts, triage
from auditor.extraction.reveal import Pair
from auditor.extraction.search import Search
from auditor.extraction.tables import distribution, rate_of
from auditor.observe.cache import Cache
from auditor.observe.generation import GenerationExecutor
from auditor.observe.usage import Usage
from auditor.progress import Progress
from auditor.records import Record
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.sampling import Draw, Sampling

MOST_RECORDS = 50
"""Extracted records that a finding lists."""


@dataclass
class Extraction:
    """One run of the attack on one target."""

    target: DiffusionTarget
    members: Sequence[Record]
    nonmembers: Sequence[Record]
    config: ExtractionConfig
    seed: int
    publish: Callable[[str], str]
    """Private id -> published id."""
    batch_size: int
    most_distance: float = 1.0
    """Distance above which nothing is a copy, whatever the data say."""
    cache: Cache | None = None
    progress: Progress = field(default_factory=Progress)
    usage: Usage = field(default_factory=Usage)
    pairs: list[Pair] = field(default_factory=list, init=False)
    """The extracted records with the images that are their copies, after `run`; private."""

    def run(self) -> GenerationFinding:
        """The whole attack; a second run on the same cache draws nothing again but the proofs."""
        before = self.usage.n_calls + self.usage.n_calls_cached
        others = draw(self.nonmembers, len(self.members), self.seed, "extraction background")
        draws, tried = self._draws(others)
        records = [*self.members, *others]
        self.progress.stage("extraction: reading records", len(records))
        pictures = compared_records(
            self.target,
            records,
            side_of(self.target),
            self.batch_size,
            self.progress.advance,
        )
        search = Search(pictures)
        self._draw_into(search, draws, "drawing images")
        n1 = len(self.members)
        if self._is_prompted:
            more = self._refinement(search, n1)
            self._draw_into(search, more, "drawing more of the nearest")
            draws = [*draws, *more]
        threshold = self._threshold(search.distance[n1:])
        claimed = [i for i in range(n1) if search.distance[i] <= threshold.distance]
        extracted = self._confirmed(search, claimed, threshold)
        return self._finding(search, threshold, tried, draws, extracted, before)

    @property
    def _sampling(self) -> Sampling:
        return Sampling(self.config.steps, self.config.guidance)

    @property
    def _is_prompted(self) -> bool:
        return self.target.capabilities.is_text_conditional

    def _draw_into(self, search: Search, draws: Sequence[Draw], what: str) -> None:
        self.progress.stage(f"extraction: {what}", len(draws), "images")
        for shard, images in self._executor().shards(draws, self._sampling):
            search.add(shard, images)

    def _refinement(self, search: Search, n1: int) -> list[Draw]:
        """More seeds of the prompts that came nearest to a record, as many on either side."""
        sides = np.arange(n1), np.arange(n1, len(search.distance))
        nearest = [
            i
            for side in sides
            for i in side[np.argsort(search.distance[side], kind="stable")][: self.config.refined]
        ]
        prompts = dict.fromkeys(found.prompt for i in nearest if (found := search.draw[i]))
        first = self.config.seeds
        seeds = range(first, first + self.config.refined_seeds)
        return [Draw(prompt, seed) for prompt in prompts for seed in seeds]

    def _executor(self) -> GenerationExecutor:
        return GenerationExecutor(
            self.target, self.batch_size, self.cache, self.progress, self.usage
        )

    def _draws(self, others: Sequence[Record]) -> tuple[list[Draw], list[int]]:
        """What is drawn, and the members that this tries to extract."""
        c = self.config
        if not self._is_prompted:
            return [Draw("", seed) for seed in range(c.images)], list(range(len(self.members)))
        sides = [draw(side, c.triaged, self.seed, "triage") for side in (self.members, others)]
        captions = sorted({r.caption or "" for side in sides for r in side})
        self.progress.stage("extraction: choosing prompts", len(captions))
        scores = triage(
            self.target,
            captions,
            c.steps,
            self.seed,
            batch_size=self.batch_size,
            on_calls=self._count,
            on_done=self.progress.advance,
        )
        chosen = [chosen_prompts(side, scores, c.prompts, self.seed) for side in sides]
        prompts = list(dict.fromkeys([*chosen[0], *chosen[1]]))
        tried = [i for i, r in enumerate(self.members) if (r.caption or "") in set(prompts)]
        return [Draw(prompt, seed) for prompt in prompts for seed in range(c.seeds)], tried

    def _threshold(self, background: NDArray[np.float64]) -> CopyThreshold:
        if len(background) < FEWEST_BACKGROUND:
            smallest = float(background.min()) if len(background) else 0.0
            return CopyThreshold(0.0, smallest, 0.0)
        found = copy_threshold(background, len(self.members), alpha=self.config.alpha)
        return dataclasses.replace(found, distance=min(found.distance, self.most_distance))

    def _confirmed(
        self, search: Search, claimed: Sequence[int], threshold: CopyThreshold
    ) -> list[ExtractedRecord]:
        """The claimed records whose nearest image, drawn alone once more, is a copy again."""
        self.progress.stage("extraction: confirming", len(claimed))
        alone = GenerationExecutor(self.target, 1, None, Progress(), self.usage)
        found = []
        for i in claimed:
            drawn = search.draw[i]
            assert drawn is not None
            image = alone.images([drawn], self._sampling)
            seen = compared(image, search.records.shape[1])
            again = float(tiled_rms(seen[0], search.records[i]).values)
            self.progress.advance(1)
            if again > threshold.distance:
                continue
            record = self.members[i]
            self.pairs.append(Pair(self.publish(record.id), record, drawn, image[0]))
            found.append(
                ExtractedRecord(
                    record_id=self.publish(record.id),
                    prompt_id=self.publish(f"prompt:{drawn.prompt}") if self._is_prompted else "",
                    seed=drawn.seed,
                    distance=float(search.distance[i]),
                    repeated_distance=again,
                    n_seeds=search.n_images_of(i, threshold.distance),
                    multiplicity=record.multiplicity,
                    is_own_caption=self._is_prompted and drawn.prompt == (record.caption or ""),
                    colour=record.colour,
                    size=record.size,
                )
            )
        return sorted(found, key=lambda r: r.distance)

    def _finding(
        self,
        search: Search,
        threshold: CopyThreshold,
        tried: Sequence[int],
        draws: Sequence[Draw],
        extracted: Sequence[ExtractedRecord],
        before: int,
    ) -> GenerationFinding:
        n1 = len(self.members)
        came_back = {record.record_id for record in extracted}
        back = {i for i in tried if self.publish(self.members[i].id) in came_back}
        inside, outside = -search.distance[:n1], -search.distance[n1:]
        above = count_above(inside, outside, 1) if len(outside) else 0
        p_value = float(tail_probability(above, 1, n1, len(outside))) if len(outside) else 1.0
        rate, upper = rate_of(len(back), len(tried))
        planted = planted_found(self.target, self.members, search, threshold.distance, self.seed)
        return GenerationFinding(
            attack=MANIFEST.name,
            rule_id=MANIFEST.id,
            title=MANIFEST.title,
            access=MANIFEST.access.value,
            n_members=n1,
            n_nonmembers=len(outside),
            n_prompts=len({d.prompt for d in draws}) if self._is_prompted else 0,
            n_images=len(draws),
            n_tried=len(tried),
            steps=self.config.steps,
            guidance=self.config.guidance,
            convention=f"{tiled_convention()} at {side_of(self.target)} pixels",
            threshold=threshold.distance,
            background=threshold.background,
            n_extracted=len(extracted),
            rate=rate,
            rate_upper=upper,
            by_copies=rates_by_copies(
                [self.members[i].multiplicity for i in tried], [i in back for i in tried]
            ),
            records=tuple(extracted[:MOST_RECORDS]),
            p_value=p_value,
            n_planted=planted.n,
            n_planted_found=planted.found,
            n_calls=self.usage.n_calls + self.usage.n_calls_cached - before,
            distribution=distribution(search.distance[:n1], search.distance[n1:]),
            warnings=_warnings(threshold, len(outside)),
        )

    def _count(self, rows: int) -> None:
        self.usage.n_calls += rows


def _warnings(threshold: CopyThreshold, n_others: int) -> tuple[str, ...]:
    if n_others < FEWEST_BACKGROUND:
        return (
            f"{FEWEST_BACKGROUND} nonmembers are needed to say how near is too near, and there "
            f"are {n_others}: nothing could be claimed",
        )
    if threshold.distance <= 0:
        return (
            "a nonmember came back exactly, so that no threshold is left: check whether the "
            "nonmembers were trained on",
        )
    return ()
