"""What attacks may ask about each record: requests, and the arrays that answer them.

A request is a frozen value: a kind with its parameters. The planner takes the union of the
requests of all chosen attacks and adds what they require, so that a call that two attacks share
is made once. Arrays that answer a request have the records on axis 0.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Request:
    """One kind of observation with its parameters."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised whenever the arithmetic of this kind changes; part of the cache key."""

    @property
    def calls(self) -> int:
        """Forward calls for one record, without what `requires` asks for."""
        return 1

    @property
    def requires(self) -> tuple[Request, ...]:
        """Requests whose predictions this one reuses."""
        return ()

    @property
    def key(self) -> str:
        """Canonical text of kind, version and parameters; equal requests have equal keys."""
        parameters = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return json.dumps([self.kind, self.version, parameters], sort_keys=True)


Observations: TypeAlias = Mapping[Request, NDArray[Any]]
"""Answers by request; axis 0 is the records, in one order for all requests."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The part of the records that fitted attacks are fitted on; never evaluated."""

    observations: Observations
    is_member: NDArray[np.bool_]
    """(n,) which calibration records are members."""


def with_requirements(requests: Iterable[Request]) -> tuple[Request, ...]:
    """The union of requests and everything they require, requirements first, in a fixed order."""
    ordered: dict[Request, None] = {}

    def add(request: Request) -> None:
        for needed in request.requires:
            add(needed)
        ordered.setdefault(request)

    for request in sorted(set(requests), key=lambda r: r.key):
        add(request)
    return tuple(ordered)


def calls_per_record(requests: Iterable[Request]) -> int:
    """Forward calls that one record costs when the requests share what they can."""
    return sum(request.calls for request in with_requirements(requests))
