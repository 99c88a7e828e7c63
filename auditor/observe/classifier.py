"""Answers every request about labelled records, from one classifier and its shadow models.

The arithmetic of each kind is defined in `attacks.observations.classifier`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import InternalError, TargetError
from attacks.observations import (
    AttributeCell,
    BoundaryDistance,
    CellConfidence,
    Cells,
    Classes,
    Features,
    Floor,
    Logits,
    NoisyCorrectness,
    Observations,
    OtherColumns,
    Request,
    ShadowConfidence,
    ShadowKeep,
    ShadowLogits,
    ShadowTrajectory,
    Trajectory,
    with_requirements,
)
from attacks.protocols import Classifier
from attacks.signals import clipped, loss, phi
from auditor.observe.attribute import other_columns, own_cells, with_value
from auditor.observe.augment import augmented
from auditor.observe.boundary import distances
from auditor.observe.cache import Cache, shard_key
from auditor.observe.noise import noise
from auditor.observe.perturb import draws_per_record, perturbed, scales_of
from auditor.observe.usage import Usage
from auditor.records.rows import RowRecord, Table
from auditor.shadows import ShadowSet
from auditor.shadows.pool import version_id
from auditor.shadows.students import Students

CHUNK = 65_536
"""Shadow answers (records times models) whose confidences are computed at once."""


@dataclass
class ClassifierObserver:
    """A table of records in front of a classifier."""

    target: Classifier
    table: Table
    classes: NDArray[np.int64]
    """(N,) class index of every row of the table."""
    shadows: ShadowSet | None
    seed: int
    cache: Cache
    usage: Usage
    relabelled: Mapping[str, int] = field(default_factory=dict)
    """Record id -> class that counts as its true one, for planted records."""
    eps: float = 0.0
    """How far from 0 and 1 the probability of the true class counts, of target and shadows."""
    students: Students | None = None
    """Distils the target, where its trajectory is asked for."""
    auxiliary: Sequence[RowRecord] = ()
    """What students learn from, in the order of their pool."""

    def observe(self, records: Sequence[RowRecord], requests: Sequence[Request]) -> Observations:
        """Answers about records, axis 0 in their order; answers of the target come from the cache.

        Classes and logits are among them, whatever is asked: controls and report need them.
        """
        answers: dict[Request, NDArray] = {}
        for request in with_requirements([Classes(), Logits(), *requests]):
            if isinstance(request, Trajectory):
                own = np.asarray(answers[Logits()])[:, 0]
                answers[request] = self._trajectory(records, own, self._taught(), request.epochs)
            else:
                answers[request] = self._answer(records, request)
        return answers

    def _answer(self, records: Sequence[RowRecord], request: Request) -> NDArray:
        positions = np.array([record.position for record in records], dtype=np.int64)
        if isinstance(request, Classes):
            return self._true_classes(records)
        if isinstance(request, Features):
            return self.table.encoded(positions)
        if isinstance(request, AttributeCell):
            cells = Cells(request.values, request.edges)
            return own_cells(self.table, request.column, cells, positions)
        if isinstance(request, OtherColumns):
            return other_columns(self.table, request.column, positions)
        if isinstance(request, Floor):
            return np.full(len(records), self.eps)
        if isinstance(request, Logits | NoisyCorrectness | CellConfidence | BoundaryDistance):
            return self._ask(records, positions, request)
        if self.shadows is None:
            raise InternalError(f"{request.kind} was asked for, and there are no shadow models")
        rows = self._rows(records)
        if isinstance(request, ShadowKeep):
            return self.shadows.keep[:, rows].T
        if isinstance(request, ShadowLogits):
            return np.ascontiguousarray(self.shadows.logits[:, rows].transpose(1, 0, 2))
        if isinstance(request, ShadowTrajectory):
            taught = self.shadows.logits[0, self._rows(self.auxiliary)]
            return self._trajectory(records, self.shadows.logits[0, rows], taught, request.epochs)
        if isinstance(request, ShadowConfidence):
            true = self._true_classes(records)
            answers = [
                self._shadow_confidence(self._rows(records, i), true, request.temperature)
                for i in range(request.queries)
            ]
            return np.concatenate(answers, axis=2)
        raise InternalError(f"a classifier cannot answer {request.kind}")

    def _ask(
        self, records: Sequence[RowRecord], positions: NDArray[np.int64], request: Request
    ) -> NDArray:
        """What the target itself answers, once."""
        changed = [f"{name}={c}" for name, c in sorted(self.relabelled.items())]
        # ids do not tell the order of the columns, which a model of plain numbers goes by
        order = [f"column={column.name}" for column in self.table.columns]
        scales = [f"scales={self._scales}"] if isinstance(request, NoisyCorrectness) else []
        floor = [f"eps={self.eps}"] if isinstance(request, CellConfidence) else []
        shard = shard_key([record.id for record in records] + changed + order + scales + floor)
        stored = self.cache.load(request, shard)
        if stored is not None and len(stored) == len(records):
            self.usage.n_calls_cached += request.calls * len(records)
            return stored
        answer: NDArray
        if isinstance(request, NoisyCorrectness):
            answer = self._noisy_correctness(records, positions, request)
        elif isinstance(request, BoundaryDistance):
            true = self._true_classes(records)
            answer = distances(self.table, records, true, self._labels, request, self.seed)
        elif isinstance(request, CellConfidence):
            answer = self._cell_confidence(records, positions, request)
        else:
            assert isinstance(request, Logits)
            inputs = self.table.inputs(positions)
            versions = [augmented(inputs, i) if i else inputs for i in range(request.queries)]
            answer = np.stack([self._logits(version) for version in versions], axis=1)
        self.cache.store(request, shard, answer)
        return answer

    def _taught(self) -> NDArray:
        """(a, k) what the target answers about the records that its student learns from."""
        positions = np.array([record.position for record in self.auxiliary], dtype=np.int64)
        return self._ask(self.auxiliary, positions, Logits())[:, 0]

    def _trajectory(
        self, records: Sequence[RowRecord], own: NDArray, taught: NDArray, epochs: int
    ) -> NDArray[np.float64]:
        """(n, e + 1) losses in a student after each epoch, then in its teacher.

        own: (n, k) answers of the teacher about the records; taught: (a, k) about the others.
        """
        if self.students is None:
            raise InternalError("a trajectory was asked for, and no student can be distilled")
        true, rows = self._true_classes(records), self._rows(records)
        along = self.students.along(taught, epochs)
        losses = [loss(phi(logits[rows], true)) for logits in along]
        return np.stack([*losses, loss(phi(clipped(own, true, self.eps), true))], axis=1)

    @cached_property
    def _scales(self) -> str:
        """What noisy copies of a record owe to the other rows of the table."""
        return scales_of(self.table)

    def _logits(self, inputs: Any) -> NDArray[np.float64]:
        found = np.asarray(self.target.logits(inputs), dtype=np.float64)
        self.usage.n_calls += len(found)
        bad = int((~np.isfinite(found)).any(axis=1).sum())
        if bad:
            raise TargetError(
                f"the model gave NaN or infinity on {bad} of {len(found)} records; "
                "check that its weights are complete and its inputs prepared as in training"
            )
        return found

    def _labels(self, inputs: Any) -> NDArray[np.int64]:
        return self._logits(inputs).argmax(axis=1)

    def _noisy_correctness(
        self, records: Sequence[RowRecord], positions: NDArray[np.int64], request: NoisyCorrectness
    ) -> NDArray[np.bool_]:
        true, shape = self._true_classes(records), draws_per_record(self.table)
        columns = [self._logits(self.table.inputs(positions)).argmax(axis=1) == true]
        for i in range(request.repetitions):
            draws = np.stack([noise(self.seed, record.id, 0, i, shape) for record in records])
            noisy = perturbed(self.table, positions, draws, request.sigma, request.flip)
            columns.append(self._logits(noisy).argmax(axis=1) == true)
        return np.stack(columns, axis=1)

    def _cell_confidence(
        self, records: Sequence[RowRecord], positions: NDArray[np.int64], request: CellConfidence
    ) -> NDArray[np.float64]:
        true = self._true_classes(records)
        asked = (with_value(self.table, request.column, v, positions) for v in request.values)
        kept = (clipped(self._logits(inputs), true, self.eps) for inputs in asked)
        return np.stack([phi(logits, true) for logits in kept], axis=1)

    def _shadow_confidence(
        self, rows: NDArray[np.int64], classes: NDArray[np.int64], temperature: float
    ) -> NDArray[np.float32]:
        assert self.shadows is not None
        n_models = len(self.shadows.keep)
        found = np.empty((len(rows), n_models, 1), dtype=np.float32)
        step = max(1, CHUNK // max(n_models, 1))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            logits = self.shadows.logits[:, rows[part]].transpose(1, 0, 2)
            kept = clipped(logits, classes[part], self.eps)
            found[part, :, 0] = phi(kept / temperature, classes[part])
        return found

    def _true_classes(self, records: Sequence[RowRecord]) -> NDArray[np.int64]:
        own = self.classes[[record.position for record in records]]
        given = [self.relabelled.get(r.id, int(c)) for r, c in zip(records, own, strict=True)]
        return np.array(given, dtype=np.int64)

    def _rows(self, records: Sequence[RowRecord], query: int = 0) -> NDArray[np.int64]:
        """Where records, or one augmented version of them, lie in the pool of the shadow models."""
        assert self.shadows is not None
        place = {name: i for i, name in enumerate(self.shadows.record_ids)}
        ids = [
            record.id.partition(":")[0] for record in records
        ]  # without the mark of a relabelling
        return np.array([place[version_id(name, query)] for name in ids], dtype=np.int64)
