"""Apply the inference filters that are stored beside a model, in any program that draws images.

`open_filter` reads them; `draw` draws through a stock StableDiffusionPipeline with them. Nothing
else of this project is needed at serving time. A pipeline that is loaded and called in the plain
way draws without filters: the weights are unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attacks.errors import TargetError, UsageError
from mitigations.filters import Chain, Drawing, Filter
from mitigations.record import MitigationRecord, read_record
from mitigations.registry import mitigation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

UNSCALED = ("DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler")
"""Schedulers that hand x_t to the U-Net as it is, at timesteps of the training."""


def decides_the_step(name: str) -> bool:
    """Whether filters of that mitigation decide the prediction of a step."""
    return bool(getattr(mitigation(name), "DECIDES_THE_STEP", False))


def open_filter(model: Path) -> Filter | None:
    """The filters stored beside a model, in their order; None if there are none.

    Raises UsageError for a damaged record, TargetError for a private part that is missing.
    """
    record = read_record(Path(model))
    if record is None:
        return None
    filters = [_opened(Path(model), one) for one in record.chain if one.filter is not None]
    if not filters:
        return None
    return filters[0] if len(filters) == 1 else Chain(filters)


def _opened(model: Path, record: MitigationRecord) -> Filter:
    from safetensors.torch import load_file

    tensors: Mapping[str, Tensor] = {}
    if record.private is not None:
        path = model / record.private
        if not path.is_file():
            raise TargetError(
                f"{record.private} beside the model is missing, without which {record.name} cannot "
                "be applied; fetch it from whoever mitigated the model"
            )
        if hashlib.sha256(path.read_bytes()).hexdigest() != record.private_sha256:
            raise TargetError(
                f"{record.private} beside the model was changed or damaged; restore it or apply "
                f"{record.name} again"
            )
        tensors = load_file(path)
    module = mitigation(record.name)
    build: Callable[..., Filter] | None = getattr(module, "open_filter", None)
    if build is None:
        raise UsageError(f"mitigation '{record.name}' of this version has no filter to open")
    return build(record.filter, tensors)


def draw(
    pipeline: Any,
    filter: Filter | Path,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    **arguments: Any,
) -> NDArray[np.float32]:
    """(n, height, width, channels) images in [0, 1] of a stock pipeline, filtered.

    pipeline: a StableDiffusionPipeline with a scheduler of `UNSCALED`; filter: one, or the
    directory of a model that carries some; seeds: one a prompt; arguments: for the pipeline, such
    as `num_inference_steps` and `guidance_scale` (above 1). Raises TargetError for a pipeline that
    cannot be filtered.
    """
    import torch

    if isinstance(filter, Path):
        filter = open_filter(filter) or Filter()
    scheduler = type(pipeline.scheduler).__name__
    if scheduler not in UNSCALED:
        raise TargetError(
            f"filters cannot be applied with {scheduler}; use one of {', '.join(UNSCALED)}"
        )
    if arguments.get("guidance_scale", 7.5) <= 1:
        raise TargetError("filters need guidance; pass a guidance_scale above 1")
    texts = [filter.prompt(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
    with _filtered(pipeline, filter, tuple(texts), tuple(seeds)):
        drawn = pipeline(
            texts,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="np",
            **arguments,
        )
    images: NDArray[np.float32] = drawn.images
    return images


@dataclass(frozen=True, slots=True)
class Embedded:
    """Conditioning of n texts for a U-Net without pooled embeddings."""

    hidden: Tensor
    """(n, tokens, d)."""

    def rows(self, index: Any) -> Embedded:
        """The conditioning at these positions."""
        return Embedded(self.hidden[index])


class _Predictor:
    """A pipeline as the filters see it, around the U-Net's own forward."""

    def __init__(self, pipeline: Any, forward: Callable[..., Any]):
        import numpy as np

        self._pipeline, self._forward = pipeline, forward
        self.unet, self.tokenizer = pipeline.unet, pipeline.tokenizer
        self.alphas_cumprod = np.asarray(pipeline.scheduler.alphas_cumprod, dtype=np.float64)
        self.prediction_type = pipeline.scheduler.config.prediction_type

    def embed(self, captions: Sequence[str]) -> Embedded:
        """Through the pipeline's own encoder."""
        import torch

        with torch.no_grad():
            hidden, _ = self._pipeline.encode_prompt(
                prompt=list(captions),
                device=self.unet.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=False,
            )
        return Embedded(hidden)

    def embed_nothing(self) -> Embedded:
        """The empty text."""
        return self.embed([""])

    def noise(self, inputs: Tensor, timesteps: Tensor, conditioning: Any) -> Tensor:
        """The U-Net's prediction as noise, with its graph."""
        dtype = self.unet.dtype
        output = self._forward(
            inputs.to(dtype), timesteps, encoder_hidden_states=conditioning.hidden.to(dtype)
        )
        return self.to_noise(output.sample.float(), inputs, timesteps)

    def to_noise(self, output: Tensor, inputs: Tensor, timesteps: Tensor) -> Tensor:
        """Eps of a native output."""
        signal, noise = self._coefficients(timesteps, output)
        if self.prediction_type == "epsilon":
            return output
        if self.prediction_type == "v_prediction":
            return signal * output + noise * inputs
        return (inputs - signal * output) / noise

    def from_noise(self, eps: Tensor, inputs: Tensor, timesteps: Tensor) -> Tensor:
        """The native output that stands for eps."""
        signal, noise = self._coefficients(timesteps, eps)
        if self.prediction_type == "epsilon":
            return eps
        if self.prediction_type == "v_prediction":
            return (eps - noise * inputs) / signal
        return (inputs - noise * eps) / signal

    def _coefficients(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        abar = torch.from_numpy(self.alphas_cumprod).to(like.device)[timesteps.long()]
        abar = abar.reshape(-1, 1, 1, 1)
        return abar.sqrt().to(like.dtype), (1 - abar).sqrt().to(like.dtype)


@contextmanager
def _filtered(
    pipeline: Any, filter: Filter, prompts: tuple[str, ...], seeds: tuple[int, ...]
) -> Iterator[None]:
    """The pipeline's U-Net, both halves of whose output are what the filter decides.

    With equal halves the guidance of the pipeline changes nothing any more, whatever its scale.
    """
    import torch

    own = pipeline.unet.forward
    model = _Predictor(pipeline, own)
    state: dict[str, Any] = {}

    def begin(sample: Tensor, hidden: Tensor) -> None:
        n = len(prompts)
        drawing = Drawing(
            model=model,
            prompts=prompts,
            seeds=seeds,
            guidance=float(pipeline.guidance_scale),
            timesteps=tuple(int(t) for t in pipeline.scheduler.timesteps),
            inputs=sample[n:],
            conditional=Embedded(hidden[n:]),
            unconditional=Embedded(hidden[:n]),
        )
        state["hidden"] = filter.begins(drawing).hidden
        state["attention"] = filter.attention(pipeline.unet)
        state["attention"].__enter__()

    def forward(sample: Tensor, timestep: Any, *args: Any, **given: Any) -> Any:
        hidden = given.pop("encoder_hidden_states")
        if not state:
            begin(sample, hidden)
        n = len(prompts)
        return_dict = given.pop("return_dict", True)
        both = torch.cat([hidden[:n], state["hidden"].to(hidden.dtype)])
        output = own(sample, timestep, *args, encoder_hidden_states=both, **given)
        at = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        eps = model.to_noise(output.sample.float(), sample, at)
        decided = filter.on_step(eps[n:], eps[:n], sample[n:], int(at[0]))
        native = model.from_noise(decided, sample[n:], at[n:])
        output.sample = torch.cat([native, native]).to(output.sample.dtype)
        return output if return_dict else (output.sample,)

    pipeline.unet.forward = forward
    try:
        yield
    finally:
        pipeline.unet.forward = own
        if "attention" in state:
            state["attention"].__exit__(None, None, None)
