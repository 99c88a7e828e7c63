"""Hashes of recipes: what a function, an estimator or a setting is, without its address."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import re
import types
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

_DEPTH = 12
"""Nesting that is followed; deeper values count by their type alone."""
_DECIDED_ELSEWHERE = ("random_state", "n_jobs", "verbose")
"""Parameters of estimators that do not change what is fitted, or that shadow models replace."""


def hashed(*parts: str) -> str:
    """A hash of texts, as 64 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def described(value: Any, depth: int = 0) -> str:
    """A text that is equal for equal settings, in every process.

    Functions count by their source and what they close over, estimators by their class and
    parameters, arrays by their content, other objects by their class and attributes.
    """
    inner = functools.partial(described, depth=depth + 1)
    if depth > _DEPTH:
        return _name(type(value))
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, np.ndarray):
        return f"array {_of_array(value)}"
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{inner(k)}: {inner(v)}" for k, v in value.items())) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inner, value)) + "]"
    if isinstance(value, Set):
        return "{" + ", ".join(sorted(map(inner, value))) + "}"
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"  # its attributes may be anything, such as libraries
    if isinstance(value, type):
        return f"class {_name(value)} {_source_of_class(value)}"
    if isinstance(value, functools.partial):
        return f"partial {inner(value.func)} {inner(value.args)} {inner(value.keywords)}"
    if isinstance(value, types.FunctionType | types.MethodType):
        return _of_function(value, depth)
    return _of_object(value, depth)


def source_of(code: Any) -> str:
    """Source of a function or class; its bytecode where there is none; else nothing."""
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):
        compiled = getattr(code, "__code__", None)
        return "" if compiled is None else f"{compiled.co_code.hex()} {compiled.co_names}"


def _of_function(function: Any, depth: int) -> str:
    closure = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    given = [function.__defaults__, function.__kwdefaults__, closure]
    owner = getattr(function, "__self__", None)
    parts = [described(part, depth + 1) for part in (*given, owner)]
    return f"function {function.__qualname__} {source_of(function)} {' '.join(parts)}"


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _of_object(value: Any, depth: int) -> str:
    kind = type(value)
    if callable(getattr(value, "get_params", None)):
        parameters = value.get_params(deep=False)
        content = {k: v for k, v in parameters.items() if k not in _DECIDED_ELSEWHERE}
    elif dataclasses.is_dataclass(value):
        content = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif getattr(value, "__dict__", None):
        content = vars(value)
    else:
        return f"{_name(kind)} {re.sub(r' at 0x[0-9a-fA-F]+', '', repr(value))}"
    return f"{_name(kind)} {_source_of_class(kind)} {described(content, depth + 1)}"


def _source_of_class(kind: type) -> str:
    """Nothing for scikit-learn's own classes, whose version is part of a recipe's key."""
    is_known = kind.__module__.split(".")[0] in ("sklearn", "builtins", "numpy", "torch")
    return "" if is_known else source_of(kind)


def _of_array(array: np.ndarray) -> str:
    if array.dtype.hasobject:
        return f"{array.shape} {described(array.tolist())}"
    content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return f"{array.dtype.str} {array.shape} {content}"


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
