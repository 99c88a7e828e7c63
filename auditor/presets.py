"""Ready-made choices of attacks: three presets for each family, and the largest that fits a time.

quick       the default attacks; 8 shadow models for a classifier
standard    the default attacks, for diffusion models with extraction and CLiD
thorough    every attack that applies, extraction with more seeds

A budget is spent in this order: the richest set of attacks, then the most images that extraction
draws (or shadow models that are trained), and only if not even the smallest set fits, fewer
records. Times are those of the outlook, extrapolated from a timed batch on the loaded model.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from attacks.errors import UsageError, did_you_mean
from auditor.config import ScanConfig, load_config
from auditor.controls.positive import MIN_COMPARED, N_INJECTED
from auditor.families import family_name, family_of
from auditor.options import parsed
from auditor.prepare import EXTRACTION, PreparedScan, ScanOptions
from auditor.progress import Progress

Size: TypeAlias = Mapping[str, int]
"""Settings of the extraction."""

LEAST_RECORDS = N_INJECTED + MIN_COMPARED
"""Records of each split below which a budget does not go: the positive control needs them."""
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Choice:
    """What a preset fixes; what it leaves out keeps its default."""

    attacks: tuple[str, ...]
    extraction: Size = field(default_factory=dict)
    shadows: int | None = None
    """Shadow models where there is a recipe."""


PRESETS: dict[str, dict[str, Choice]] = {
    "diffusion": {
        "quick": Choice(("default",)),
        "standard": Choice(
            ("default", "clid", EXTRACTION), {"prompts": 128, "seeds": 2, "steps": 20}
        ),
        "thorough": Choice(("all",), {"seeds": 8}),
    },
    "classifier": {
        "quick": Choice(("default",), shadows=8),
        "standard": Choice(("default",)),
        "thorough": Choice(("all",)),
    },
}
"""Family -> name -> choice, the smallest first."""

EXTRACTION_SIZES: tuple[Size, ...] = (
    {"prompts": 128, "seeds": 8},
    {"prompts": 128, "seeds": 4},
    {"prompts": 128, "seeds": 2, "steps": 20},
    {"prompts": 104, "seeds": 1, "steps": 20, "refined": 12},
)
"""What a budget tries, the largest first; 99 tried members are needed for any PASS."""
SHADOW_SIZES = (32, 16, 8)
"""Shadow models that a budget tries, the most first."""


def with_preset(options: ScanOptions) -> ScanOptions:
    """The options with their preset written out: attacks, settings and shadow models.

    What the configuration file or the options themselves set is kept. Raises UsageError for an
    unknown preset, or one beside named attacks.
    """
    if options.preset is None:
        return options
    check_preset(options)
    choice = PRESETS[family_name(options)][options.preset]
    return _chosen(options, choice, load_config(options.config))


def check_preset(options: ScanOptions) -> None:
    """Refuse a preset that there is not, and one beside named attacks."""
    known = PRESETS["diffusion"]
    if options.preset is not None and options.preset not in known:
        raise UsageError(
            f"unknown preset '{options.preset}'; {did_you_mean(options.preset, known)}"
        )
    if options.preset is not None and options.attacks is not None:
        raise UsageError(
            "--attacks and --preset both say which attacks run; pass one of them (a preset is "
            "changed by --option and --config)"
        )


def seconds_of(text: str) -> float:
    """The seconds of a budget such as 90s, 10m or 2h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if found is None:
        raise UsageError(f"--budget '{text}' is no time; write it as 90s, 10m or 2h")
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds <= 0:
        raise UsageError(f"--budget '{text}' leaves no time for anything; write 90s, 10m or 2h")
    return seconds


def within_budget(options: ScanOptions, progress: Progress) -> PreparedScan:
    """The largest scan that is expected to end within `budget` seconds, prepared.

    Presets are tried from `thorough`, or from the one that was named, downwards; attacks that
    were named stay. Raises UsageError if not even the smallest choice fits.
    """
    assert options.budget is not None
    check_preset(options)
    prepare = family_of(options).prepare
    ladder = tuple(rungs(options))
    scan = prepare(ladder[0], progress)
    chosen = fitting(ladder, options.budget, scan.seconds_with, _most_records(scan))
    if chosen == ladder[0]:
        return scan
    del scan  # its model, before another one is loaded
    return prepare(chosen, progress)


def rungs(options: ScanOptions) -> Iterator[ScanOptions]:
    """What a budget can buy, the largest first: attacks, and for each set of them the sizes."""
    config = load_config(options.config)
    family = family_name(options)
    levels = list(PRESETS[family].values())[::-1]
    names = list(PRESETS[family])[::-1]
    if options.preset is not None:
        levels = levels[names.index(options.preset) :]
    asked = config.attacks if options.attacks is None else options.attacks
    if options.preset is None and asked is not None:
        levels = [Choice(asked)]
    for level in levels:
        for choice in _sizes(level, family):
            yield _chosen(options, choice, config)


def fitting(
    ladder: tuple[ScanOptions, ...],
    budget: float,
    seconds: Callable[[ScanOptions], float],
    n_records: int,
) -> ScanOptions:
    """The first rung that takes at most `budget` seconds, or the last with fewer records.

    seconds: what a choice is expected to take; n_records: of the larger split.
    """
    for rung in ladder:
        if seconds(rung) <= budget:
            return rung
    least = dataclasses.replace(ladder[-1], limit=min(LEAST_RECORDS, n_records))
    needed = seconds(least)
    if needed > budget:
        raise UsageError(
            f"--budget is too short: {least.limit} records of each split with --attacks "
            f"{','.join(least.attacks or ())} already take about {needed:.0f} s; pass more than "
            f"--budget {needed:.0f}s, or name fewer --attacks"
        )
    low, high = least.limit or 1, n_records
    while high - low > 1:
        middle = (low + high) // 2
        fits = seconds(dataclasses.replace(least, limit=middle)) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return dataclasses.replace(least, limit=low)


def _most_records(scan: PreparedScan) -> int:
    splits = scan.splits
    return max(
        len(splits.members) + len(splits.calibration_members),
        len(splits.nonmembers) + len(splits.calibration_nonmembers),
    )


def _sizes(level: Choice, family: str) -> Iterator[Choice]:
    """A level at each size that is no larger than its own, the largest first."""
    if family == "diffusion" and {"all", EXTRACTION} & set(level.attacks):
        most = level.extraction.get("seeds", 4)
        steps = level.extraction.get("steps", 30)
        for size in EXTRACTION_SIZES:
            if size["seeds"] <= most and size.get("steps", 30) <= steps:
                yield dataclasses.replace(level, extraction=size)
    elif family == "classifier":
        for shadows in SHADOW_SIZES:
            if level.shadows is None or shadows <= level.shadows:
                yield dataclasses.replace(level, shadows=shadows)
    else:
        yield level


def _chosen(options: ScanOptions, choice: Choice, config: ScanConfig) -> ScanOptions:
    """The options with a choice written into what the user left open."""
    own = parsed(options.option).get(EXTRACTION, {})
    own |= config.attack_options.get(EXTRACTION, {})
    added = tuple(f"{EXTRACTION}.{k}={v}" for k, v in choice.extraction.items() if k not in own)
    return dataclasses.replace(
        options,
        preset=None,
        budget=None,
        attacks=choice.attacks,
        option=(*added, *options.option),
        usual_shadows=choice.shadows,
    )
