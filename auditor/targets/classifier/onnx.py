"""Classifiers in ONNX files, run by onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import TargetError
from auditor.records.rows.canonical import shown_names
from auditor.records.rows.table import Features
from auditor.records.sources import printable
from auditor.targets.classifier.answers import STEPPED_FLOOR, Kind
from auditor.targets.classifier.labels import class_texts
from auditor.targets.classifier.numbers import as_numbers, batches, padded
from auditor.targets.files import first_line
from auditor.targets.optional import import_optional

_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}
_NUMBERS = ("tensor(float)", "tensor(double)", "tensor(float16)")


def external_files(path: Path) -> list[Path]:
    """Files beside a model that hold weights of it: those whose names it contains."""
    content = path.read_bytes()
    beside = sorted(p for p in path.parent.iterdir() if p.is_file() and p.name != path.name)
    return [p for p in beside if p.name.encode() in content]


class OnnxModel:
    """A session with one input of features, or one input for each column.

    Of several outputs, the map or the array of scores is read, never the labels.
    """

    architecture = "ONNX"
    n_parameters: int | None = None
    device = "cpu"
    can_be_queried = True

    def __init__(self, path: Path):
        """Raises TargetError if the file is no model or its inputs and outputs are ambiguous."""
        runtime = import_optional("onnxruntime", extra="tabular", purpose=printable(path.name))
        self._shown = f"'{path.name}'"
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # errors of the C++ library
            raise TargetError(
                f"{printable(path.name)} cannot be loaded: {first_line(error)}; export it again, "
                "for an opset that the installed onnxruntime knows"
            ) from error
        self._inputs = self._session.get_inputs()
        self._output = self._scores()
        first = self._inputs[0].shape
        self._fixed_batch = first[0] if first and isinstance(first[0], int) else None
        self.kind: Kind | None = "probabilities" if self._output.type.startswith("seq") else None
        is_stepped = b"TreeEnsemble" in path.read_bytes()  # the name of its operator
        self.floor = STEPPED_FLOOR if is_stepped else None
        self.classes: tuple[str, ...] | None = None
        self._keys: Sequence[Any] = ()

    def ask(self, features: Features) -> NDArray:
        """(n, ...) scores."""
        fed = self._fed(features)
        n_values = sum(int(np.prod(a.shape[1:])) for a in fed.values())
        parts: list[NDArray] = []
        for rows in batches(len(features), n_values, self._fixed_batch):
            n = len(range(*rows.indices(len(features))))
            given = {name: padded(values[rows], self._fixed_batch) for name, values in fed.items()}
            try:
                (answer,) = self._session.run([self._output.name], given)
            except Exception as error:  # errors of the C++ library
                shapes = [values.shape for values in given.values()]
                raise TargetError(
                    f"{self._shown} cannot be asked with inputs of shape {shapes[0]} "
                    f"({type(error).__name__}); give the records the shape that it was exported for"
                ) from error
            parts.append(self._array(answer)[:n])
        return np.concatenate(parts)

    def _scores(self) -> Any:
        """The output of scores. Raises TargetError if there is none, or no telling which."""
        outputs = self._session.get_outputs()
        maps = [o for o in outputs if o.type.startswith("seq(map")]
        arrays = [o for o in outputs if o.type in _NUMBERS and len(o.shape or ()) in (1, 2)]
        named = [o for o in arrays if any(w in o.name.lower() for w in ("prob", "logit", "score"))]
        found = maps or (named if len(arrays) > 1 else arrays)
        if len(found) != 1:
            raise TargetError(
                f"{self._shown} has the outputs {shown_names([o.name for o in outputs])}, of which "
                f"{len(found) or len(arrays)} could be the scores of classes; export a model with "
                "one, of shape (n, k), called logits or probabilities"
            )
        return found[0]

    def _array(self, answer: Any) -> NDArray:
        """(n, k) of an array, or of one map from class to probability for each record."""
        if not isinstance(answer, list):
            return np.asarray(answer)
        if not self._keys:
            self._keys = list(answer[0])
            self.classes = class_texts(self._keys)
        return np.array([[row[key] for key in self._keys] for row in answer], np.float64)

    def _fed(self, features: Features) -> dict[str, NDArray]:
        """Arrays by name of input."""
        if len(self._inputs) == 1:
            only = self._inputs[0]
            numbers = as_numbers(features, self._shown, self._type(only))
            rank = len(only.shape or ())
            if rank == 2 and numbers.ndim > 2:
                numbers = numbers.reshape(len(numbers), -1)
            return {only.name: numbers}
        names = [i.name for i in self._inputs]
        if isinstance(features, np.ndarray):
            raise TargetError(
                f"{self._shown} takes {len(names)} inputs ({shown_names(names)}), one for each "
                "column; pass a table with these columns"
            )
        own = [str(n) for n in features.columns]
        missing, extra = [n for n in names if n not in own], [n for n in own if n not in names]
        if missing or extra:
            what = "lack" if missing else "have, beyond its inputs,"
            raise TargetError(
                f"the data {what} {shown_names(missing or extra)}; give {self._shown} the columns "
                "that it was exported for, and leave others out with drop_columns"
            )
        return {i.name: self._column(features, i) for i in self._inputs}

    def _column(self, features: Any, wanted: Any) -> NDArray:
        """(n, 1) one column as the type of its input."""
        if wanted.type == "tensor(string)":
            column = features[wanted.name].astype(object)
            return column.where(column.notna(), "").astype(str).to_numpy(object)[:, None]
        return as_numbers(features[[wanted.name]], self._shown, self._type(wanted))

    def _type(self, wanted: Any) -> str:
        if wanted.type not in _TYPES:
            raise TargetError(
                f"{self._shown} takes {wanted.type} in its input {printable(wanted.name)}; "
                "auditor gives numbers, and texts where every column has its own input"
            )
        return _TYPES[wanted.type]
