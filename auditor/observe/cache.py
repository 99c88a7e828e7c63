"""A private store of observations, addressed by what they are observations of.

One file answers one request for one shard: `<target>/<request>/<shard>.obs`, where the names are
hashes of the target's key, of the request with the seed, and of the ordered record ids. Nothing
else enters, so another attack, another policy and another version of the package reuse it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.observations import Request
from auditor.files import load_checksummed, private_directory, store_checksummed
from reports.files import write_atomic


def default_cache() -> Path:
    """`$AUDITOR_CACHE`, else `auditor` in the user's cache directory."""
    if given := os.environ.get("AUDITOR_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "auditor"


def shard_key(record_ids: Sequence[str]) -> str:
    """Name of a shard: a hash of its record ids in order."""
    return hashlib.sha256("\n".join(record_ids).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Cache:
    """Observations of one target under one seed."""

    root: Path
    target_key: str
    seed: int
    is_fresh: bool = False
    """True: nothing stored before is read; results are stored all the same."""

    def load(self, request: Request, shard: str) -> NDArray[Any] | None:
        """A stored answer, or None if there is none or its file is damaged (then it is removed)."""
        body = None if self.is_fresh else load_checksummed(self._path(request, shard))
        return None if body is None else np.load(io.BytesIO(body), allow_pickle=False)

    def store(self, request: Request, shard: str, answer: NDArray[Any]) -> None:
        """Keep an answer, whole or not at all."""
        body = io.BytesIO()
        np.save(body, answer, allow_pickle=False)
        self._prepare()
        store_checksummed(self._path(request, shard), body.getvalue())

    def batch_size(self) -> int | None:
        """The batch size that earlier shards of this target used, if any."""
        path = self._target / "batch.json"
        if self.is_fresh or not path.is_file():
            return None
        try:
            return int(json.loads(path.read_text())["batch_size"])
        except (ValueError, KeyError, TypeError):
            return None

    def store_batch_size(self, batch_size: int) -> None:
        """Keep the batch size, so that a resumed run computes the same bytes."""
        self._prepare()
        write_atomic(
            self._target / "batch.json", json.dumps({"batch_size": batch_size}), mode=0o600
        )

    def derived(self, purpose: str) -> Cache:
        """The store of a copy of this target, such as one with random weights."""
        key = hashlib.sha256(f"{self.target_key}|{purpose}".encode()).hexdigest()
        return dataclasses.replace(self, target_key=key)

    def store_facts(self, facts: dict[str, float]) -> None:
        """Keep a few numbers about this target, such as the losses of a fine-tuned copy."""
        self._prepare()
        write_atomic(self._target / "facts.json", json.dumps(facts), mode=0o600)

    def facts(self) -> dict[str, float] | None:
        """The numbers kept by `store_facts`, or None."""
        path = self._target / "facts.json"
        if self.is_fresh or not path.is_file():
            return None
        try:
            return dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            return None

    def _prepare(self) -> None:
        """Make the directories; a cache directory that the user made is left as it is."""
        private_directory(self.root, is_ours=False)
        private_directory(self._target)

    @property
    def _target(self) -> Path:
        return self.root / self.target_key[:32]

    def _path(self, request: Request, shard: str) -> Path:
        name = hashlib.sha256(f"{request.key}|{self.seed}".encode()).hexdigest()[:32]
        return self._target / name / f"{shard}.obs"


def purge(root: Path) -> int:
    """Delete every stored observation; returns the bytes freed.

    Only directories that the cache itself made are removed, never the whole of `root`.
    """
    freed = 0
    if not root.is_dir():
        return 0
    for entry in root.iterdir():
        if entry.is_dir() and len(entry.name) == 32 and set(entry.name) <= set("0123456789abcdef"):
            freed += sum(p.stat().st_size for p in entry.rglob("*") if p.is_file())
            shutil.rmtree(entry)
    return freed
