"""Trained shadow models in the cache: their logits, one file for each pair.

`<cache>/<key>/<pair>.shadow`, where the key hashes the recipe, the pool in its order, the seed,
the design of the halves and a version. So more models of one recipe only add files, and an
interrupted run loses what was under way. `state.shadow` is a torch training that is not finished.
`<name>.student` holds what a student distilled from one teacher says after each epoch.
Everything in here derives from private records: directories have mode 700, files 600.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.files import load_checksummed, private_directory, store_checksummed
from auditor.shadows.fingerprint import hashed

VERSION = 3
"""Raised whenever training, answers or the halves change, so that stored models are not reused."""


class Trained(NamedTuple):
    """Some shadow models, and what they say about the pool."""

    models: tuple[int, ...]
    """Their numbers; for a file always 2j and 2j + 1."""
    logits: NDArray[np.float32]
    """(c, n, k) logits."""
    seconds: float
    """Wall time that their training took, on all cores together."""
    clipped: float = 0.0
    """Share of the probabilities of true classes that attacks will clip, in [0, 1]."""
    n_warned: int = 0
    """Models whose training gave warnings, such as a missed convergence."""
    eps: float = 0.0
    """How far from 0 and 1 the probability of the true class counts; 0 for smooth models."""

    def split(self) -> tuple[Trained, ...]:
        """Pairs of models, with the time shared out."""
        return tuple(
            self._replace(
                models=self.models[i : i + 2],
                logits=self.logits[i : i + 2],
                seconds=self.seconds * 2 / len(self.models),
            )
            for i in range(0, len(self.models), 2)
        )


@dataclass(frozen=True, slots=True)
class ShadowStore:
    """Where shadow models are kept: a cache directory, as that of observations."""

    root: Path
    is_fresh: bool = False
    """True: nothing stored before is read; results are stored all the same."""

    def folder(self, *identity: str) -> ShadowFolder:
        """The files of one recipe on one pool."""
        key = hashed(f"shadows {VERSION}", *identity)[:32]
        return ShadowFolder(self.root, self.root / key, self.is_fresh)


@dataclass(frozen=True, slots=True)
class ShadowFolder:
    """The files of the shadow models of one recipe on one pool under one seed."""

    root: Path
    path: Path
    is_fresh: bool

    def load_pair(
        self, pair: int, keep: NDArray[np.bool_], seeds: NDArray[np.int64], n_classes: int
    ) -> Trained | None:
        """A stored pair; None if there is none, or it is damaged or of other halves or seeds.

        keep: (2, n) training sets that it must have; seeds: (2,) likewise.
        """
        body = None if self.is_fresh else load_checksummed(self._pair(pair))
        if body is None:
            return None
        stream = io.BytesIO(body)
        bits, stored_seeds, facts, logits = (np.load(stream, allow_pickle=False) for _ in range(4))
        fits = (
            np.array_equal(bits, np.packbits(keep, axis=1))
            and np.array_equal(stored_seeds, seeds)
            and logits.shape == (*keep.shape, n_classes)
        )
        if not fits:
            return None
        seconds, clipped, n_warned, eps = facts.tolist()
        return Trained((2 * pair, 2 * pair + 1), logits, seconds, clipped, int(n_warned), eps)

    def store_pair(
        self, pair: int, trained: Trained, keep: NDArray[np.bool_], seeds: NDArray[np.int64]
    ) -> None:
        """Keep a pair, whole or not at all."""
        stream = io.BytesIO()
        facts = np.array([trained.seconds, trained.clipped, trained.n_warned, trained.eps])
        for array in (np.packbits(keep, axis=1), seeds, facts, trained.logits):
            np.save(stream, array, allow_pickle=False)
        self._prepare()
        store_checksummed(self._pair(pair), stream.getvalue())

    def load_student(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        """Stored answers of a student; None if there are none, or they are damaged."""
        body = None if self.is_fresh else load_checksummed(self.path / f"{name[:32]}.student")
        if body is None:
            return None
        answers = np.load(io.BytesIO(body), allow_pickle=False)
        return answers if answers.shape == shape else None

    def store_student(self, name: str, answers: NDArray[np.float32]) -> None:
        """Keep the answers of a student, whole or not at all."""
        stream = io.BytesIO()
        np.save(stream, answers, allow_pickle=False)
        self._prepare()
        store_checksummed(self.path / f"{name[:32]}.student", stream.getvalue())

    def store_state(self, state: Mapping[str, Any]) -> None:
        """Keep a torch training that is under way: tensors in plain containers."""
        import torch

        stream = io.BytesIO()
        torch.save(dict(state), stream)
        self._prepare()
        store_checksummed(self._state, stream.getvalue())

    def load_state(self) -> dict[str, Any] | None:
        """The training under way, or None."""
        import torch

        body = None if self.is_fresh else load_checksummed(self._state)
        if body is None:
            return None
        return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)

    def drop_state(self) -> None:
        """Forget the training under way."""
        self._state.unlink(missing_ok=True)

    def empty(self, shape: tuple[int, ...], most_in_memory: int) -> NDArray[np.float32]:
        """An array of logits, in memory or, if it has more bytes, in a file without a name."""
        if int(np.prod(shape)) * 4 <= most_in_memory:
            return np.empty(shape, dtype=np.float32)
        self._prepare()
        path = self.path / "assembled.npy"
        path.unlink(missing_ok=True)  # whoever maps the former one keeps it
        path.touch(mode=0o600)
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        path.unlink()
        return array

    def _prepare(self) -> None:
        private_directory(self.root, is_ours=False)
        private_directory(self.path)

    def _pair(self, pair: int) -> Path:
        return self.path / f"{pair:05d}.shadow"

    @property
    def _state(self) -> Path:
        return self.path / "state.shadow"
