"""SecMI (network): a small convolutional network reads the map of SecMI's t-error.

Idea: where in the image the DDIM step misses says more than how much it misses in total; a
network learns the pattern of members on the calibration part.
Citation: Duan et al., "Are Diffusion Models Vulnerable to Membership Inference Attacks?",
ICML 2023, arXiv:2302.01316.
Score: output of the network, fitted to 1 for members and 0 for nonmembers. Higher means more
likely a member.
Our reading: two convolutions and a mean over the image in place of a ResNet-18, and Adam over
more epochs, since a calibration part has hundreds of records, not thousands; maps of more than
32 a side are averaged down to the size of the paper's images; squared loss as in the paper. The
last epoch is taken: the released code selects a checkpoint on its test records.
Cost: t / k + 2 forward calls (12), the very calls of SecMI; the maps are kept as float16. Fitting
takes seconds on a CPU.
Invalid when: there is no calibration part, or it is small (below about a hundred records a side
the network fits their noise); and when SecMI is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.errors import InternalError
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common
from attacks.observations import Calibration, Observations, Request, StepResidual, default_condition

if TYPE_CHECKING:
    from torch import Tensor, nn

MANIFEST = Manifest(
    id="MIA006",
    name="secmi_nns",
    title="Step-wise error comparison, network (SecMI NNs)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2302.01316",),
    tier=Tier.THOROUGH,
    fitted=True,
)

MAX_SIDE = 32
"""Height and width above which maps are averaged down."""

CHUNK = 256
"""Maps that are scored at once: bounds the memory."""


@dataclass(frozen=True, slots=True)
class SecmiNnsConfig:
    """Where the t-error is taken, and how the network is fitted."""

    t: int = 100
    """Timestep of the t-error; a multiple of k."""
    k: int = 10
    """Width of one DDIM step."""
    epochs: int = 40
    """Passes over the calibration part."""
    batch_size: int = 32
    """Maps per step of the optimiser."""
    learning_rate: float = 2e-3
    """Step size of Adam."""
    weight_decay: float = 5e-4
    """Pull of the weights towards zero."""
    width: int = 16
    """Channels of the first convolution; the second has twice as many."""
    seed: int = 0
    """Initial weights and order of the batches."""
    condition: str = "caption"
    """Text that predictions are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_steps(self.t, self.k)
        _common.check_condition(self.condition)
        _common.check_positive(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            width=self.width,
        )


def default_config(capabilities: DiffusionCapabilities) -> SecmiNnsConfig:
    """The maps at SecMI's own timestep, so that the calls are shared."""
    t, k = _common.ten_steps(capabilities)
    return SecmiNnsConfig(t=t, k=k, condition=default_condition(capabilities))


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: SecmiNnsConfig) -> tuple[Request, ...]:
    """The map of the t-error."""
    return (_request(config),)


def score(
    observations: Observations, config: SecmiNnsConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) output of the fitted network; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    part = _common.fitting_part(calibration, MANIFEST.name)
    fitted = _common.canonical(_maps(part.observations, config), part.is_member)
    maps = _maps(observations, config)
    if len(maps) == 0:
        return np.zeros(0)
    statistics = _channel_statistics(fitted.features)
    network = _fit(_standardised(fitted.features, *statistics), fitted.is_member, config)
    chunks = [maps[i : i + CHUNK] for i in range(0, len(maps), CHUNK)]
    return np.concatenate([_outputs(network, _standardised(c, *statistics)) for c in chunks])


def _request(config: SecmiNnsConfig) -> StepResidual:
    return StepResidual(t=config.t, k=config.k, condition=config.condition)


def _maps(observations: Observations, config: SecmiNnsConfig) -> NDArray[np.floating]:
    """(n, c, h, w) as stored; widened only chunk by chunk."""
    request = _request(config)
    if request not in observations:
        raise InternalError(f"no observation answers {request.key}")
    return np.asarray(observations[request])


def _channel_statistics(
    maps: NDArray[np.floating],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each channel, each of shape (1, c, 1, 1)."""
    axes = (0, 2, 3)
    mean = maps.mean(axis=axes, keepdims=True, dtype=np.float64)
    spread = maps.std(axis=axes, keepdims=True, dtype=np.float64)
    return mean.astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32)


def _standardised(
    maps: NDArray[np.floating], mean: NDArray[np.float32], spread: NDArray[np.float32]
) -> NDArray[np.float32]:
    return (maps.astype(np.float32) - mean) / spread


def _fit(
    maps: NDArray[np.float32], is_member: NDArray[np.bool_], config: SecmiNnsConfig
) -> nn.Module:
    """A network fitted by squared error; the process's random state is left as it was."""
    import torch
    from torch import nn

    inputs = torch.from_numpy(maps)
    labels = torch.from_numpy(is_member.astype(np.float32))
    order = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = _network(maps.shape[1:], config.width)
    optimiser = torch.optim.Adam(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    for _ in range(config.epochs):
        for batch in torch.randperm(len(inputs), generator=order).split(config.batch_size):
            optimiser.zero_grad()
            nn.functional.mse_loss(network(inputs[batch])[:, 0], labels[batch]).backward()
            optimiser.step()
    return network.eval()


def _network(shape: tuple[int, ...], width: int) -> nn.Module:
    """(n, *shape) maps to (n, 1) outputs."""
    from torch import nn

    channels, height, columns = shape
    return nn.Sequential(
        nn.AdaptiveAvgPool2d((min(height, MAX_SIDE), min(columns, MAX_SIDE))),
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 1),
    )


def _outputs(network: nn.Module, maps: NDArray[np.float32]) -> NDArray[np.float64]:
    import torch

    with torch.inference_mode():
        outputs: Tensor = network(torch.from_numpy(maps))[:, 0]
    return outputs.double().numpy()
