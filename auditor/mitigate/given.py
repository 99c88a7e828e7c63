"""What a mitigation is given: prompts, records and masks, read and prepared for the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.errors import DataError, UsageError
from attacks.wording import plural
from auditor.prompts.reading import read_prompts
from auditor.records import ReadOptions, Record, open_pictures
from auditor.records.listing import list_rows
from auditor.records.side import Side, merge_copies
from mitigations.manifest import Manifest, Need
from mitigations.material import Examples

if TYPE_CHECKING:
    from auditor.targets.diffusion import DiffusionTarget

Told = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is."""


def check_needs(manifest: Manifest, given: dict[Need, Path | None]) -> None:
    """Refuse what is missing, and what would be read for nothing.

    Raises UsageError in one sentence.
    """
    has = {need for need, path in given.items() if path is not None}
    missing = [need for need in manifest.needs if need not in has]
    if missing:
        raise UsageError(f"{manifest.name} needs {_flags(missing, ' and ')}; pass it")
    if manifest.any_of and not has & set(manifest.any_of):
        raise UsageError(f"{manifest.name} needs {_flags(manifest.any_of, ' or ')}; pass one")
    unused = [need for need in given if need in has and need not in manifest.known_needs]
    if unused:
        raise UsageError(f"{manifest.name} does not use {_flags(unused, ' and ')}; leave it out")


def _flags(needs: Sequence[Need], between: str) -> str:
    return between.join(f"--{need.value}" for need in needs)


def read_texts(path: Path | None) -> tuple[str, ...]:
    """The distinct prompts of a file, whatever labels it gives them; empty without a file."""
    if path is None:
        return ()
    listed = read_prompts(path)
    return tuple(prompt.text for prompt in (*listed.suspects, *listed.references))


def read_records(
    members: Path | None, nonmembers: Path | None, options: ReadOptions, told: Told
) -> tuple[tuple[Record, ...], tuple[Record, ...], tuple[str, ...]]:
    """Members, nonmembers that equal none of them, and notes; repeats become multiplicities."""
    own = () if members is None else _side("members", members, options, told)
    other = () if nonmembers is None else _side("nonmembers", nonmembers, options, told)
    pixels = {record.pixels for record in own}
    kept = tuple(record for record in other if record.pixels not in pixels)
    if other and not kept:
        raise DataError("every nonmember is also a member; pass records that were never trained on")
    n_left = len(other) - len(kept)
    notes = (f"{plural(n_left, 'nonmember')} left out, equal to members",) if n_left else ()
    return own, kept, notes


def _side(name: str, path: Path, options: ReadOptions, told: Told) -> tuple[Record, ...]:
    side = Side(name, list_rows(path, options, split=None, side=name), options)
    side.hash_rows(told)
    side.decode(side.copies, told)
    side.check_readable()
    return merge_copies(side, side.pictures).records


def prepared(
    target: DiffusionTarget, records: Sequence[Record], batch_size: int, what: str, told: Told
) -> Examples | None:
    """Records as the target takes them; None for none."""
    import torch

    if not records:
        return None
    inputs = []
    for start in range(0, len(records), batch_size):
        part = records[start : start + batch_size]
        inputs.append(target.prepare(open_pictures(part)))
        told(f"preparing {what}", start + len(part), len(records))
    return Examples(
        torch.cat(inputs),
        tuple(record.caption or "" for record in records),
        tuple(record.multiplicity for record in records),
    )
