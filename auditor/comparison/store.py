"""Finished parts of a method's audit in the private cache, so that an interrupted run goes on.

`<cache>/<key>/<trial>.trial` holds what the models of one trial answered, and `claim.json` the
measured claim. The key hashes the method and its code, the records, the design and the versions of
the libraries: another seed, size or edit of the method finds nothing. Everything in here derives
from records that may be private: directories have mode 700, files 600.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.results import Estimate
from auditor import __version__
from auditor.comparison.design import Design
from auditor.files import load_checksummed, private_directory, store_checksummed
from auditor.methods import Method, MethodData, MethodFinding
from auditor.methods.claims import Check, ClaimResult
from auditor.shadows.fingerprint import described, hashed
from auditor.sources import local_sources
from reports import method_record as schema

VERSION = 1
"""Raised whenever the design or what is kept of a trial changes."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What is kept of the models of one trial."""

    answers: Mapping[schema.Kind, tuple[MethodFinding, ...]]
    """Kind -> the own question, asked of the model of the first half."""
    phi: Mapping[schema.Kind, NDArray[np.float64]]
    """Kind -> (2, n) centred signal on the pool; empty where the family cannot be compared."""
    correct: Mapping[schema.Kind, NDArray[np.bool_]]
    """Kind -> (2, n_test) whether a test record is classified rightly; likewise."""


@dataclass(frozen=True, slots=True)
class MethodStore:
    """The finished parts of the audits of one method on one set of records."""

    root: Path
    key: str
    """What decides a trial, but for its seed and halves."""
    is_fresh: bool = False
    """True: nothing stored before is read; results are stored all the same."""

    def load_trial(self, design: Design, trial: int) -> Trial | None:
        """A finished trial; None if there is none, or its file is damaged."""
        body = None if self.is_fresh else load_checksummed(self._trial(design, trial))
        if body is None:
            return None
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            told = json.loads(arrays["answers"].tobytes())
            kinds = tuple(told)
            return Trial(
                {kind: tuple(_finding(one) for one in told[kind]) for kind in kinds},
                {kind: arrays[f"phi {kind}"] for kind in kinds if f"phi {kind}" in arrays},
                {kind: arrays[f"correct {kind}"] for kind in kinds if f"phi {kind}" in arrays},
            )

    def store_trial(self, design: Design, trial: int, found: Trial) -> None:
        """Keep a finished trial, whole or not at all."""
        told = {k: [dataclasses.asdict(one) for one in v] for k, v in found.answers.items()}
        arrays: dict[str, Any] = {"answers": np.frombuffer(_json(told), dtype=np.uint8)}
        arrays |= {f"phi {kind}": values for kind, values in found.phi.items()}
        arrays |= {f"correct {kind}": values for kind, values in found.correct.items()}
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        self._store(self._trial(design, trial), stream.getvalue())

    def load_claim(self, trials: int, seed: int, quick: bool) -> ClaimResult | None:
        """A measured claim; None if there is none, or its file is damaged."""
        body = None if self.is_fresh else load_checksummed(self._claim(trials, seed, quick))
        if body is None:
            return None
        given = json.loads(body)
        for name in ("seeds", "method", "baseline"):
            given[name] = tuple(given[name])
        return ClaimResult(**given | {"checks": tuple(Check(**one) for one in given["checks"])})

    def store_claim(self, claim: ClaimResult, trials: int, seed: int, quick: bool) -> None:
        """Keep a measured claim."""
        self._store(self._claim(trials, seed, quick), _json(dataclasses.asdict(claim)))

    def _store(self, path: Path, body: bytes) -> None:
        private_directory(self.root, is_ours=False)
        private_directory(path.parent)
        store_checksummed(path, body)

    def _trial(self, design: Design, trial: int) -> Path:
        facts = [design.seeds[trial], design.keep[trial], design.is_canary, design.records]
        return self._folder / f"{hashed(described(facts))[:32]}.trial"

    def _claim(self, trials: int, seed: int, quick: bool) -> Path:
        return self._folder / f"claim-{trials}-{seed}-{int(quick)}.json"

    @property
    def _folder(self) -> Path:
        return self.root / self.key


def method_store(audited: Method, data: MethodData, root: Path, is_fresh: bool) -> MethodStore:
    """The store of a method on its data, under a key that its code decides too."""
    import torch

    functions = (audited.train, audited.baseline, audited.own_question, audited.claim)
    code = [local_sources(function.__module__) for function in functions]
    parts = [VERSION, __version__, np.__version__, torch.__version__, audited.MANIFEST.name]
    key = hashed(described([*parts, code, *functions, data.pool, data.test]))
    return MethodStore(root, key[:32], is_fresh)


def _finding(told: dict[str, Any]) -> MethodFinding:
    estimates = {name: _estimate(told[name]) for name in ("estimate", "control")}
    return MethodFinding(**told | estimates)


def _estimate(told: dict[str, Any] | None) -> Estimate | None:
    """The figure and its interval; what a more special kind of figure adds is not kept."""
    if told is None:
        return None
    return Estimate(**{field.name: told[field.name] for field in dataclasses.fields(Estimate)})


def _json(value: Any) -> bytes:
    return json.dumps(value, default=lambda scalar: scalar.item()).encode()
