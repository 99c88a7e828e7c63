"""Reads lists of prompts: text files, tables, with or without a column of labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attacks.errors import DataError
from auditor.records.identity import ProjectKey, keyed_rank, nfc
from auditor.records.listing import find_column
from auditor.records.sources import printable
from auditor.records.tables import TABLE_SUFFIXES, read_table, read_text
from reports.files import write_atomic

PROMPT_COLUMNS = ("prompt", "caption", "text")
LABEL_COLUMNS = ("label", "role")
SUSPECT, REFERENCE = "suspect", "reference"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One distinct prompt; private."""

    text: str = field(repr=False)
    row: int
    """Line or row where it occurs first, counted from 1."""
    multiplicity: int = 1
    """How often it occurs."""

    @property
    def id(self) -> str:
        """32 hex digits of the NFC text."""
        digest = hashlib.blake2b(nfc(self.text).encode(), digest_size=16, person=b"auditor-prompt")
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class PromptList:
    """The prompts of a file, repeats collapsed."""

    suspects: tuple[Prompt, ...]
    references: tuple[Prompt, ...]
    """Those that the file labels `reference`; empty without a column of labels."""


def read_prompts(path: Path) -> PromptList:
    """Read a .txt file (a prompt a line), or a .csv, .tsv, .jsonl or .parquet table.

    The column is `prompt`, `caption` or `text`; a column `label` or `role` with the values
    `suspect` and `reference` marks the prompts to compare with. Raises DataError that names file
    and row, never a prompt.
    """
    shown = printable(path.name)
    if not path.is_file():
        raise DataError(f"there is no file {printable(path)}; give a list of prompts")
    rows = list(_rows(path))
    suspects = _distinct((text, row) for row, text, label in rows if label == SUSPECT)
    references = _distinct((text, row) for row, text, label in rows if label == REFERENCE)
    if not suspects:
        raise DataError(f"{shown} holds no prompt to scan; give one a line, or a column `prompt`")
    both = {prompt.id for prompt in suspects} & {prompt.id for prompt in references}
    if both:
        raise DataError(f"{shown} labels {len(both)} prompts both suspect and reference")
    return PromptList(suspects, references)


def drawn(prompts: Sequence[Prompt], limit: int | None, seed: int) -> tuple[Prompt, ...]:
    """At most `limit` prompts, chosen by keyed hash, in their order."""
    if limit is None or limit >= len(prompts):
        return tuple(prompts)
    ranked = sorted(prompts, key=lambda prompt: keyed_rank("prompts", seed, prompt.id))
    kept = {prompt.id for prompt in ranked[:limit]}
    return tuple(prompt for prompt in prompts if prompt.id in kept)


def shuffled(prompts: Sequence[Prompt], n: int, seed: int) -> tuple[Prompt, ...]:
    """About n references built from the prompts: their own words in random order.

    A shuffled prompt has the words and the length of its prompt, so that neither explains a
    difference; but a model can react to the order of words without having memorized anything.
    Shuffles that equal a prompt are left out.
    """
    rounds = -(-n // len(prompts))
    known = {prompt.id for prompt in prompts}
    built: dict[str, Prompt] = {}
    for prompt in prompts:
        words = prompt.text.split()
        rng = np.random.default_rng([seed, int(prompt.id[:8], 16)])
        for _ in range(rounds):
            one = Prompt(" ".join(words[i] for i in rng.permutation(len(words))), prompt.row)
            if one.id not in known:
                built.setdefault(one.id, one)
    return tuple(built.values())[: max(n, len(prompts))]


def write_map(path: Path, prompts: Iterable[Prompt], key: ProjectKey) -> None:
    """Write which published id is which row and prompt: JSON lines, mode 600."""
    lines = sorted(
        json.dumps(
            {
                "record_id": key.publish(prompt.id),
                "content_id": prompt.id,
                "row": prompt.row,
                "prompt": prompt.text,
            }
        )
        for prompt in prompts
    )
    write_atomic(path, "\n".join(lines) + "\n", mode=0o600)


def _rows(path: Path) -> Iterable[tuple[int, str, str]]:
    """(row, prompt, label) of every row with a prompt."""
    suffix = path.suffix.lower()
    found: list[tuple[int, str | None, str | None]]
    if suffix == ".txt":
        found = [(i, line, None) for i, line in enumerate(read_text(path).split("\n"), start=1)]
    elif suffix == ".parquet":
        found = _parquet_rows(path)
    elif suffix in TABLE_SUFFIXES:
        found = _table_rows(path)
    else:
        raise DataError(
            f"{printable(path.name)} is no list of prompts; give .txt, .csv, .tsv, .jsonl or "
            ".parquet"
        )
    for row, text, label in found:
        if text is not None and text.strip():
            yield row, nfc(text).strip(), _label(label, path, row)


def _table_rows(path: Path) -> list[tuple[int, str | None, str | None]]:
    table = read_table(path)
    prompt, label = _columns(table.columns, path)
    return [(r.number, table.text(r, prompt), table.text(r, label)) for r in table.rows]


def _parquet_rows(path: Path) -> list[tuple[int, str | None, str | None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        prompt, label = _columns(file.schema_arrow.names, path)
        columns = [prompt] if label is None else [prompt, label]
        table = file.read(columns=columns)
    except (OSError, pa.ArrowException):
        raise DataError(f"{printable(path.name)} is not a readable Parquet file") from None
    texts = table.column(prompt).to_pylist()
    labels = [None] * len(texts) if label is None else table.column(label).to_pylist()
    if not all(isinstance(one, str | None) for one in (*texts, *labels)):
        raise DataError(f"{printable(path.name)}: prompts and labels must be texts")
    return list(zip(range(1, len(texts) + 1), texts, labels, strict=True))


def _columns(names: Sequence[str], path: Path) -> tuple[str, str | None]:
    shown = printable(path.name)
    prompt = find_column(names, "prompt", None, PROMPT_COLUMNS, shown)
    if prompt is None:
        known = ", ".join(map(printable, names)) or "none"
        raise DataError(
            f"{shown} has no column of prompts ({', '.join(PROMPT_COLUMNS)}); known: {known}"
        )
    return prompt, find_column(names, "label", None, LABEL_COLUMNS, shown)


def _label(label: str | None, path: Path, row: int) -> str:
    word = (label or SUSPECT).strip().lower() or SUSPECT
    if word not in (SUSPECT, REFERENCE):
        raise DataError(
            f"{printable(path.name)} row {row}: a label is `{SUSPECT}` or `{REFERENCE}`; change it"
        )
    return word


def _distinct(rows: Iterable[tuple[str, int]]) -> tuple[Prompt, ...]:
    counts: dict[str, tuple[int, int]] = {}
    for text, row in rows:
        first, n = counts.get(text, (row, 0))
        counts[text] = first, n + 1
    return tuple(Prompt(text, row, n) for text, (row, n) in counts.items())
