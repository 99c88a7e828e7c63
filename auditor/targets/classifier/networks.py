"""Classifiers of torch: exported programs, and weights beside the code that builds the module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import TargetError
from auditor.records.rows.canonical import shown_names
from auditor.records.rows.table import Features
from auditor.records.sources import printable
from auditor.sources import local_sources
from auditor.targets.classifier.answers import Kind
from auditor.targets.classifier.numbers import as_numbers, batches, padded
from auditor.targets.files import first_line

if TYPE_CHECKING:
    import torch


class Network:
    """A torch module that takes one batch of float32 numbers, asked without gradients."""

    classes: tuple[str, ...] | None = None
    kind: Kind | None = None
    floor: float | None = None
    can_be_queried = True

    def __init__(
        self,
        module: Callable[[Any], Any],
        *,
        name: str,
        architecture: str,
        device: torch.device,
        n_parameters: int | None,
        fixed_batch: int | None = None,
        dtype: torch.dtype | None = None,
    ):
        """Wrap a module that is in eval mode, on its device.

        fixed_batch: the only size of batch that it takes; None for any. dtype: of its input, if
        that is not float32.
        """
        self._module = module
        self._shown = f"'{name}'"
        self._device = device
        self._fixed_batch = fixed_batch
        self._dtype = dtype
        self.architecture = architecture
        self.n_parameters = n_parameters

    @property
    def device(self) -> str:
        """Type of the device."""
        return self._device.type

    def ask(self, features: Features) -> NDArray:
        """(n, ...) answers in float32."""
        inputs = as_numbers(features, self._shown, "float32" if self._dtype is None else "float64")
        n_values = int(np.prod(inputs.shape[1:]))
        parts = []
        for rows in batches(len(inputs), n_values, self._fixed_batch):
            batch = inputs[rows]
            parts.append(self._ask(padded(batch, self._fixed_batch))[: len(batch)])
        return np.concatenate(parts)

    def _ask(self, batch: NDArray) -> NDArray:
        import torch

        try:
            with torch.no_grad():
                output = self._module(torch.from_numpy(batch).to(self._device, self._dtype))
        except torch.OutOfMemoryError as error:
            if len(batch) == 1 or self._fixed_batch is not None:
                raise TargetError(
                    f"{self._shown} needs more memory than {self._device} has for a batch of "
                    f"{len(batch)}; try --device cpu"
                ) from error
            half = len(batch) // 2
            return np.concatenate([self._ask(batch[:half]), self._ask(batch[half:])])
        except Exception as error:  # modules of others raise anything
            raise TargetError(
                f"{self._shown} cannot be asked with a batch of shape {batch.shape} "
                f"({type(error).__name__} in its own code); give the records the shape, order of "
                "columns and scale that it was trained on"
            ) from error
        answers = self._tensor(output).detach().float().cpu().numpy()
        if answers.ndim == 0 or len(answers) != len(batch):
            raise TargetError(
                f"{self._shown} answers about {len(batch)} records with shape {answers.shape}; "
                "a classifier must give (n, k), a column for each class"
            )
        return answers

    def _tensor(self, output: Any) -> torch.Tensor:
        """The tensor of logits in what a module returns."""
        import torch

        if isinstance(output, Mapping) and "logits" in output:
            output = output["logits"]
        elif hasattr(output, "logits"):
            output = output.logits
        elif isinstance(output, tuple | list) and len(output) == 1:
            output = output[0]
        if not isinstance(output, torch.Tensor):
            raise TargetError(
                f"{self._shown} returns a {type(output).__name__}; a classifier must return one "
                "tensor, or something with `logits`"
            )
        return output


def load_program(path: Path, *, device: torch.device, allow_pickle: bool) -> Network:
    """A program saved by `torch.export.save`.

    Raises TargetError unless pickles are allowed: the format runs code (guards, symbolic shapes)
    and may hold pickles, and torch itself warns of files that one does not trust.
    """
    if not allow_pickle:
        raise TargetError(
            f"{printable(path.name)} is an exported torch program, which can run code when it is "
            "loaded; save the weights as safetensors and name the function that builds the module "
            "with --factory, export to ONNX, or, if you trust the file, pass --allow-pickle"
        )
    import torch

    try:
        program = torch.export.load(str(path))
        if device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        module = program.module()
        given = [
            node
            for node in program.graph.nodes
            if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
        ]
    except Exception as error:  # archives of other versions fail in many ways
        raise TargetError(
            f"{printable(path.name)} cannot be loaded: {first_line(error)}; export it again with "
            "the version of torch that is installed here"
        ) from error
    if len(given) != 1:
        raise TargetError(
            f"{printable(path.name)} takes {len(given)} inputs; export a module that takes one "
            "batch of features"
        )
    example = given[0].meta["val"]
    return Network(
        module,
        name=path.name,
        architecture="ExportedProgram",
        device=device,
        n_parameters=sum(p.numel() for p in program.parameters()),
        fixed_batch=example.shape[0] if isinstance(example.shape[0], int) else None,
        dtype=None if example.dtype == torch.float32 else example.dtype,
    )


class Built(NamedTuple):
    """A network and the code that built it."""

    network: Network
    hashes: dict[str, str]
    """SHA-256 of the files that the factory is made of, as far as they lie beside it."""


def load_weights(path: Path, factory: str | None, *, device: torch.device) -> Built:
    """Weights from safetensors in the module that a factory builds.

    factory: `module:function`, importable from here or from the current directory; the function
        takes no arguments and returns the torch module. Raises TargetError unless every weight of
        the file has its place and every parameter its weight.
    """
    from safetensors.torch import load_file
    from torch import nn

    if factory is None:
        raise TargetError(
            f"{printable(path.name)} holds weights and no architecture; name the function that "
            "builds the module with --factory package.module:function (a single-file checkpoint of "
            "a diffusion model has to be converted to a diffusers directory)"
        )
    with _importable_here():
        build = _factory(factory)
        try:
            module = build()
        except Exception as error:  # code of the user
            raise TargetError(
                f"the factory {printable(factory)} failed: {first_line(error)}"
            ) from error
        # where it is named, and where it is defined, if that is elsewhere
        places = {factory.partition(":")[0], getattr(build, "__module__", None) or ""}
        sources = [local_sources(place) for place in sorted(places - {""})]
        hashes = {f"factory/{name}": code for found in sources for name, code in found.items()}
    if not isinstance(module, nn.Module):
        raise TargetError(
            f"the factory {printable(factory)} returns a {type(module).__name__}, not a "
            "torch.nn.Module"
        )
    try:
        weights = load_file(path)
    except Exception as error:  # safetensors raises its own, and OSError
        raise TargetError(f"{printable(path.name)} cannot be read: {first_line(error)}") from error
    _fill(module, weights, path.name, factory)
    network = Network(
        module.to(device).float().eval().requires_grad_(False),
        name=path.name,
        architecture=type(module).__name__,
        device=device,
        n_parameters=sum(p.numel() for p in module.parameters()),
    )
    return Built(network, hashes)


def _fill(module: Any, weights: dict[str, Any], name: str, factory: str) -> None:
    """Load all weights into all parameters, or raise TargetError."""
    try:
        result = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        shapes = str(error).strip().splitlines()[-1].strip()
        raise TargetError(
            f"{printable(name)} does not fit the module of {printable(factory)}: {shapes[:200]}"
        ) from error
    for problem, keys in (
        ("lacks", result.missing_keys),
        ("has no place in the module for", result.unexpected_keys),
    ):
        if keys:
            raise TargetError(
                f"{printable(name)} does not fit the module of {printable(factory)}: it {problem} "
                f"{shown_names(keys)}"
            )


def _factory(factory: str) -> Callable[[], Any]:
    """The function that `module:function` names. Raises TargetError."""
    module, colon, name = factory.partition(":")
    if not module or not colon or not name:
        raise TargetError(
            f"factory '{printable(factory)}' must have the form package.module:function"
        )
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # code of the user runs on import
        raise TargetError(
            f"the module {printable(module)} of the factory cannot be imported: "
            f"{first_line(error)}; run from the directory that holds it, or install it"
        ) from error
    if not callable(found):
        raise TargetError(f"the module {printable(module)} has no function {printable(name)}")
    return found


@contextmanager
def _importable_here() -> Iterator[None]:
    """Modules in the current directory can be imported, after all others."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
