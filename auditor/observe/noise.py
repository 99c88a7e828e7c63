"""Noise as a pure function of (seed, record, timestep, repetition), never of the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def noise(
    seed: int, record_id: str, t: int, repetition: int, shape: Sequence[int]
) -> NDArray[np.float32]:
    """Standard normal noise of one record, from a counter-based generator on the CPU."""
    name = f"{seed}|{record_id}|{t}|{repetition}".encode()
    key = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")
    generator = np.random.Generator(np.random.Philox(key=key))
    return generator.standard_normal(tuple(shape), dtype=np.float32)
