"""A user's values over a configuration's defaults, checked by the types of its fields."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from attacks.errors import UsageError, did_you_mean

ConfigT = TypeVar("ConfigT")

PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
"""Types that a YAML value can have, in words."""


def configured(defaults: ConfigT, overrides: Mapping[str, Any]) -> ConfigT:
    """A copy of a frozen dataclass with some fields replaced.

    Lists become tuples and whole numbers pass as floats; nothing else is converted. Raises one
    UsageError that names every unknown key and every value of a wrong type.
    """
    hints = typing.get_type_hints(type(defaults))
    fields = {f.name: hints[f.name] for f in dataclasses.fields(typing.cast(Any, defaults))}
    problems, values = [], {}
    for key, value in overrides.items():
        if key not in fields:
            problems.append(f"unknown option '{key}'; {did_you_mean(str(key), fields)}")
            continue
        try:
            values[key] = _checked(value, fields[key])
        except TypeError:
            wanted = f"option '{key}' must be {_in_words(fields[key])}, got {value!r}"
            problems.append(wanted + _exponent_hint(value))
    if problems:
        raise UsageError("; ".join(problems))
    return dataclasses.replace(typing.cast(Any, defaults), **values)


def _checked(value: Any, hint: Any) -> Any:
    """The value as a field of that type takes it; TypeError if it does not fit."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _first_fit(value, arguments)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_checked(item, arguments[0]) for item in value)
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise TypeError


def _first_fit(value: Any, hints: tuple[Any, ...]) -> Any:
    for hint in hints:
        try:
            return _checked(value, hint)
        except TypeError:
            continue
    raise TypeError


def _exponent_hint(value: Any) -> str:
    """YAML 1.1 reads 1e-6 as a text: say how to write it."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+e[+-]?\d+", value, re.IGNORECASE):
        return " (YAML wants a point and a sign in the number, as in 1.0e-6)"
    return ""


def _in_words(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_in_words(argument) for argument in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return f"a list, each item {_in_words(arguments[0])}"
    if hint is types.NoneType:
        return "null"
    return PLAIN.get(hint, str(hint))
