"""Anti-memorization guidance: steer a drawing away from the training image that it approaches.

Idea: at every step the clean image is estimated and compared with an index of the training images.
    While it is too similar to its nearest one, the guidance is weakened (G_spe), the caption of that
    image is pushed away from (G_dup), and the similarity is descended (G_sim).
Citation: Chen, Liu and Xu, "Towards Memorization-Free Diffusion Models", CVPR 2024:
    s1 = max(min(c1 sigma, s0 - 1), 0), s2 = max(min(c2 sigma, s0 - s1 - 1), 0),
    eps + 1[sigma > lambda_t] (-s1 (eps_c - eps_0) - s2 (eps(x_t, caption) - eps_0)
    + c3 sqrt(1 - abar_t) grad sigma).
Similarity: sigma = 1 - l2 / (0.5 mean l2 to the 50 nearest), between random projections of clean
    inputs. Our reading: the paper's l2 similarity is this less one, negative throughout, so that c1
    sigma could not grow with it; now a copy has 1.
Ours as well: c1, c2, c3 and the parabola lambda_t = threshold + rise (t/T)^2, which stand in a
    supplement that we have not read.
Cost: a search at every step, and for guided ones two forward calls, one with a backward pass.
Limits: it needs the index of the training images wherever images are drawn, and which drawings are
    steered tells who was trained on; measured with the similarity that it descends, it flatters
    itself; whoever has the weights leaves it out.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from attacks.errors import UsageError
from attacks.manifest import Capabilities, DiffusionCapabilities
from mitigations.filters import Drawing, Filter, guided
from mitigations.manifest import Guarantee, Manifest, Need
from mitigations.material import Change, Material

if TYPE_CHECKING:
    from torch import Tensor

DECIDES_THE_STEP = True
NEAREST = 50
"""Training images whose mean distance calibrates the similarity."""
MANIFEST = Manifest(
    id="MIT006",
    name="anti_memorization_guidance",
    title="Anti-memorization guidance",
    guarantee=Guarantee.FILTER,
    references=("Chen, Liu and Xu, CVPR 2024",),
    needs=(Need.MEMBERS,),
    limits="It protects nothing once the weights are released, it serves an index of the training "
    "images, and which drawings it steers reveals members.",
)

Through = Literal["network", "estimate"]
"""The gradient of the similarity goes through the network, or through the estimate alone."""


@dataclass(frozen=True, slots=True)
class AntiMemorizationConfig:
    """When drawings are steered, and how strongly. All numbers are our choices."""

    threshold: float = -0.1
    """lambda at the last step: similarity above which a drawing is steered; a copy has 1."""
    rise: float = 0.0
    """What lambda_t has more at the first step, growing as (t/T)^2."""
    c1: float = 10.0
    """Weakens the guidance by the prompt."""
    c2: float = 10.0
    """Pushes away from the caption of the nearest training image."""
    c3: float = 20.0
    """Descends the similarity."""
    through: Through = "network"
    """`network`: the whole gradient; `estimate`: the prediction is held constant, at less cost."""
    dims: int = 64
    """Dimensions of the random projection in which images are compared."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and math.isfinite(self.rise)):
            raise UsageError("threshold and rise must be finite numbers")
        if min(self.c1, self.c2, self.c3) < 0 or self.dims < 1:
            raise UsageError("c1, c2 and c3 must be at least 0, and dims at least 1")


def default_config(capabilities: Capabilities) -> AntiMemorizationConfig:
    """Our choices; the paper's stand in its supplement."""
    return AntiMemorizationConfig()


def applicable(capabilities: Capabilities) -> str | None:
    """None for diffusion models, with text or without."""
    is_diffusion = isinstance(capabilities, DiffusionCapabilities)
    return None if is_diffusion else "it is no diffusion model"


def apply(material: Material, config: AntiMemorizationConfig) -> Change:
    """The settings, and the index of the training images with their captions, which are private."""
    assert material.members is not None
    inputs = material.members.inputs
    if len(inputs) < 2:
        raise UsageError("anti_memorization_guidance needs at least two members to compare with")
    matrix = projection(inputs[0].numel(), config.dims, material.seed)
    private = {"index": inputs.flatten(1).cpu().float() @ matrix}
    if material.target.text_pipeline is not None:
        private["captions"] = packed(material.members.captions)
    settings = dataclasses.asdict(config) | {"seed": material.seed}
    return Change(
        filter=settings,
        private=private,
        facts={"indexed_members": len(inputs)},
        notes=(
            "private/ holds an index of the training images and their captions: whoever draws with "
            "this filter needs it, and whoever has it can tell who was trained on",
            "which drawings are steered reveals members: do not tell users, and audit what is drawn",
        ),
    )


def projection(n_inputs: int, dims: int, seed: int) -> Tensor:
    """(n_inputs, dims) Gaussian matrix that keeps distances in expectation."""
    import torch

    draw = torch.Generator("cpu").manual_seed(seed)
    return torch.randn((n_inputs, dims), generator=draw) / dims**0.5


def packed(captions: Sequence[str]) -> Tensor:
    """Captions as one tensor of bytes."""
    import torch

    return torch.frombuffer(bytearray(json.dumps(list(captions)).encode()), dtype=torch.uint8)


def unpacked(captions: Tensor) -> list[str]:
    """The captions of a tensor of bytes."""
    found: list[str] = json.loads(bytes(captions.tolist()).decode())
    return found


def scales(sigma: Tensor, s0: float, c1: float, c2: float) -> tuple[Tensor, Tensor]:
    """(n,) s1 and s2, at least 0, with s1 + s2 at most max(s0 - 1, 0)."""
    room = max(s0 - 1, 0.0)
    s1 = (c1 * sigma).clamp(max=room).clamp_min(0)
    s2 = (c2 * sigma).minimum(room - s1).clamp_min(0)
    return s1, s2


class AntiMemorization(Filter):
    """Steers the drawings that approach an indexed image."""

    decides_the_step = True

    def __init__(self, config: AntiMemorizationConfig, seed: int, index: Tensor, captions: Any):
        """index: (m, dims) projected images; captions: m texts, or None without text."""
        self.config, self.seed, self.index, self.captions = config, seed, index, captions
        self.n_steered = 0
        """Steps of images that were steered since the filter was opened."""

    def begins(self, drawing: Drawing) -> Any:
        """Bring the index to the device of the drawing."""
        device = drawing.inputs.device
        self._drawing = drawing
        self._index = self.index.to(device).float()
        self._matrix = projection(drawing.inputs[0].numel(), self.config.dims, self.seed).to(device)
        self._n_timesteps = len(drawing.model.alphas_cumprod)
        return super().begins(drawing)

    def similarity(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) sigma of estimated clean inputs, and the row of the nearest image; with graph."""
        import torch

        distances = torch.cdist(clean.float().flatten(1) @ self._matrix, self._index)
        nearest = distances.topk(min(NEAREST, distances.shape[1]), largest=False)
        scale = 0.5 * nearest.values.detach().mean(dim=1).clamp_min(1e-12)
        return 1 - nearest.values[:, 0] / scale, nearest.indices[:, 0]

    def limit(self, t: int) -> float:
        """lambda_t."""
        return self.config.threshold + self.config.rise * (t / self._n_timesteps) ** 2

    def on_step(self, eps_c: Tensor, eps_0: Tensor | None, x_t: Tensor, t: int) -> Tensor:
        """The usual prediction, steered where the estimate is too similar to an indexed image."""
        usual = super().on_step(eps_c, eps_0, x_t, t)
        sigma, nearest = self.similarity(self._estimate(usual, x_t, t))
        rows = (sigma > self.limit(t)).nonzero()[:, 0]
        if not len(rows):
            return usual
        self.n_steered += len(rows)
        steered = usual.clone()
        if eps_0 is not None:
            scale = scales(sigma[rows], self._scale, self.config.c1, self.config.c2)
            s1, s2 = (one.reshape(-1, 1, 1, 1) for one in scale)
            steered[rows] -= s1 * (eps_c - eps_0)[rows]
            if self.captions is not None and bool((s2 > 0).any()):
                theirs = self._for_captions(nearest[rows], x_t[rows], t)
                steered[rows] -= s2 * (theirs - eps_0[rows])
        noise = math.sqrt(1 - self._abar(t))
        gradient = self.gradient(usual[rows], x_t[rows], t, rows)
        steered[rows] += self.config.c3 * noise * gradient
        return steered

    def gradient(self, usual: Tensor, x_t: Tensor, t: int, rows: Tensor) -> Tensor:
        """(n, c, h, w) gradient of sigma with respect to x_t."""
        import torch

        with torch.enable_grad():
            x = x_t.detach().clone().requires_grad_(True)
            predicted = usual.detach()
            if self.config.through == "network":
                predicted = self._predicted(x, t, rows)
            sigma, _ = self.similarity(self._estimate(predicted, x, t))
            (gradient,) = torch.autograd.grad(sigma.sum(), [x])
        found: Tensor = gradient
        return found

    def _predicted(self, x: Tensor, t: int, rows: Tensor) -> Tensor:
        """The usual prediction once more, with its graph."""
        import torch

        at = torch.full((len(x),), t, device=x.device)
        drawing = self._drawing

        def noise(conditioning: Any) -> Tensor:
            chosen = None if conditioning is None else conditioning.rows(rows)
            return drawing.model.noise(x, at, chosen)

        without = None if drawing.unconditional is None else noise(drawing.unconditional)
        return guided(noise(drawing.conditional), without, self._scale)

    def _for_captions(self, nearest: Tensor, x_t: Tensor, t: int) -> Tensor:
        """Predictions for the captions of indexed images."""
        import torch

        texts = [self.captions[i] for i in nearest.tolist()]
        at = torch.full((len(x_t),), t, device=x_t.device)
        with torch.no_grad():
            return self._drawing.model.noise(x_t, at, self._drawing.model.embed(texts))

    def _estimate(self, predicted: Tensor, x_t: Tensor, t: int) -> Tensor:
        """xhat_0 of a prediction."""
        abar = self._abar(t)
        return (x_t - math.sqrt(1 - abar) * predicted) / math.sqrt(abar)

    def _abar(self, t: int) -> float:
        return float(self._drawing.model.alphas_cumprod[t])


def open_filter(settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> AntiMemorization:
    """The filter of stored settings and of its private part."""
    names = [field.name for field in dataclasses.fields(AntiMemorizationConfig)]
    config = AntiMemorizationConfig(**{name: settings[name] for name in names})
    captions = unpacked(tensors["captions"]) if "captions" in tensors else None
    return AntiMemorization(config, settings["seed"], tensors["index"], captions)
