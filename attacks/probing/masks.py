"""Masks of weights: what was marked in every layer, for each set of prompts, ready to prune with.

    masks = Masks.from_bytes(path.read_bytes())
    for name, marked in masks.whole().items():      # name of the layer's module, (o, d) bools
        unet.get_submodule(name).weight.data[torch.from_numpy(marked)] = 0

A mask is packed, eight weights a byte, and written with its provenance; reading loses nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, ShapeError

SCHEMA = "auditor-masks/1"
Bools: TypeAlias = dict[str, NDArray[np.bool_]]
"""Name of a layer's module -> (o, d) True where a weight is marked."""
_ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class PackedMask:
    """One matrix of marks, eight a byte."""

    bits: NDArray[np.uint8]
    """ceil(o d / 8) bytes, rows after rows; unused bits are zero."""
    shape: tuple[int, int]
    """(o, d) of the layer's weight."""

    @classmethod
    def pack(cls, marked: NDArray[np.bool_]) -> PackedMask:
        """Pack a matrix (o, d)."""
        matrix = np.asarray(marked, dtype=bool)
        if matrix.ndim != 2:
            raise ShapeError(f"a mask is a matrix (o, d) like its weight, got {matrix.shape}")
        return cls(np.packbits(matrix.reshape(-1)), (matrix.shape[0], matrix.shape[1]))

    def unpack(self) -> NDArray[np.bool_]:
        """(o, d) the matrix."""
        n = self.shape[0] * self.shape[1]
        return np.unpackbits(self.bits, count=n).astype(bool).reshape(self.shape)

    @property
    def count(self) -> int:
        """Weights that are marked."""
        return ones(self.bits)

    @property
    def density(self) -> float:
        """Share of the layer's weights that are marked."""
        return self.count / max(1, self.shape[0] * self.shape[1])


Layers: TypeAlias = Mapping[str, PackedMask]
"""Name of a layer's module -> its packed mask."""


@dataclass(frozen=True, slots=True)
class Masks:
    """The masks of one model; every mapping has the same layers."""

    memorized: tuple[Layers, ...]
    """One mask for each disjoint set of memorized prompts."""
    together: Layers
    """The mask of all memorized prompts as one list."""
    ordinary: tuple[Layers, ...] = ()
    """One mask for each set of ordinary prompts, against the same reference."""
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Model key, sampling, settings, hashes of the lists of prompts; never a prompt."""

    def __post_init__(self) -> None:
        if not self.memorized or not self.together:
            raise DataError("masks need at least one set of prompts and one layer")
        for one in (*self.memorized, *self.ordinary):
            if {n: m.shape for n, m in one.items()} != {
                n: m.shape for n, m in self.together.items()
            }:
                raise ShapeError("the masks of the sets are not of the same layers")

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers' modules."""
        return tuple(self.together)

    def whole(self) -> Bools:
        """The mask of all memorized prompts as one list: what the paper prunes."""
        return {name: mask.unpack() for name, mask in self.together.items()}

    def union(self) -> Bools:
        """Weights that the mask of any set of memorized prompts marks."""
        return {name: self._votes(self.memorized, name) > 0 for name in self.layers}

    def consensus(self, q: float) -> Bools:
        """Weights in at least a share q of the sets' masks; ours, not the paper's.

        q: above 0, at most 1; with 1 every set must mark a weight.
        """
        if not 0 < q <= 1:
            raise ShapeError(f"a consensus takes a share above 0 and up to 1, got {q:g}")
        needed = int(np.ceil(q * len(self.memorized) - 1e-9))
        return {name: self._votes(self.memorized, name) >= needed for name in self.layers}

    def mem_minus_non(self) -> Bools:
        """`whole` without what any set of ordinary prompts marks; ours, not the paper's.

        Raises DataError without ordinary prompts: then nothing says what any prompt would mark.
        """
        if not self.ordinary:
            raise DataError(
                "there are no masks of ordinary prompts to subtract; probe with --ordinary FILE"
            )
        whole = self.whole()
        return {name: whole[name] & (self._votes(self.ordinary, name) == 0) for name in whole}

    def chosen(self, name: str) -> Bools:
        """A mask by name: `whole`, `union`, `consensus` (of every set) or `mem_minus_non`."""
        known: dict[str, Callable[[], Bools]] = {
            "whole": self.whole,
            "union": self.union,
            "consensus": lambda: self.consensus(1.0),
            "mem_minus_non": self.mem_minus_non,
        }
        if name not in known:
            raise DataError(f"there is no mask '{name}'; known: {', '.join(known)}")
        return known[name]()

    def density(self) -> dict[str, float]:
        """Layer -> share of its weights that `whole` marks."""
        return {name: mask.density for name, mask in self.together.items()}

    def share_of_layers(self) -> float:
        """Share of the weights of all probed layers that `whole` marks."""
        total = sum(m.shape[0] * m.shape[1] for m in self.together.values())
        return self._count() / max(1, total)

    def share_of_model(self, n_parameters: int) -> float:
        """Share of all parameters of the model that `whole` marks."""
        return self._count() / max(1, n_parameters)

    def to_bytes(self) -> bytes:
        """A safetensors file: packed masks, with shapes and provenance in its metadata."""
        from safetensors.numpy import save

        tensors = {
            f"{group}|{name}": mask.bits
            for group, layers in self._groups().items()
            for name, mask in layers.items()
        }
        return bytes(save(tensors, metadata={"auditor": json.dumps(self.facts(), sort_keys=True)}))

    def facts(self) -> dict[str, Any]:
        """What stands beside the masks: schema, shapes, numbers of sets, provenance."""
        return {
            "schema": SCHEMA,
            "shapes": {name: list(mask.shape) for name, mask in self.together.items()},
            "n_memorized_sets": len(self.memorized),
            "n_ordinary_sets": len(self.ordinary),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_bytes(cls, body: bytes) -> Masks:
        """Read what `to_bytes` wrote. Raises DataError for anything else."""
        facts, tensors = _read(body)
        shapes = {name: tuple(shape) for name, shape in facts["shapes"].items()}

        def group(key: str) -> dict[str, PackedMask]:
            return {
                name: _checked(tensors, f"{key}|{name}", shape) for name, shape in shapes.items()
            }

        return cls(
            memorized=tuple(group(f"memorized/{i}") for i in range(facts["n_memorized_sets"])),
            together=group("whole"),
            ordinary=tuple(group(f"ordinary/{i}") for i in range(facts["n_ordinary_sets"])),
            provenance=facts["provenance"],
        )

    def _groups(self) -> dict[str, Layers]:
        found: dict[str, Layers] = {"whole": self.together}
        found |= {f"memorized/{i}": one for i, one in enumerate(self.memorized)}
        return found | {f"ordinary/{i}": one for i, one in enumerate(self.ordinary)}

    def _count(self) -> int:
        return sum(mask.count for mask in self.together.values())

    @staticmethod
    def _votes(sets: tuple[Layers, ...], name: str) -> NDArray[np.int64]:
        votes = np.zeros(sets[0][name].shape, dtype=np.int64)
        for one in sets:
            votes += one[name].unpack()
        return votes


def ones(bits: NDArray[np.uint8]) -> int:
    """Number of bits that are set."""
    return int(_ONES[bits].sum())


def _read(body: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(body)
        size = int.from_bytes(body[:8], "little")
        facts = json.loads(json.loads(body[8 : 8 + size])["__metadata__"]["auditor"])
        if facts["schema"] != SCHEMA or not facts["n_memorized_sets"]:
            raise KeyError("schema")
        _ = facts["shapes"].items(), facts["n_ordinary_sets"], facts["provenance"]
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            "this is no file of masks; give the masks.safetensors that `auditor probe` wrote"
        ) from None
    return facts, tensors


def _checked(tensors: dict[str, NDArray[Any]], key: str, shape: tuple[int, ...]) -> PackedMask:
    bits = tensors.get(key)
    n = int(np.prod(shape))
    if bits is None or len(shape) != 2 or bits.dtype != np.uint8 or bits.shape != (-(-n // 8),):
        raise DataError("the file of masks is damaged: a mask is missing or of another size")
    return PackedMask(bits, (shape[0], shape[1]))
