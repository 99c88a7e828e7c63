"""Watches what goes into the second linear layer of every feed-forward block of a U-Net."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from attacks.errors import TargetError
from attacks.probing.activity import Activity
from auditor.targets.sampling import Batch, Step, Watcher

ORDER = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
"""Parts of a U-Net in the order of a forward call."""


def feed_forward_layers(unet: Any) -> dict[str, nn.Linear]:
    """Name of the parameter's module -> second linear layer W2 (o, d), in the order of a call.

    Found by structure: the last linear layer of the feed-forward part of every transformer block.
    Raises TargetError if there is none.
    """
    found: dict[str, nn.Linear] = {}
    for name, block in transformer_blocks(unet).items():
        net = getattr(getattr(block, "ff", None), "net", ())
        linear = [(i, one) for i, one in enumerate(net) if isinstance(one, nn.Linear)]
        if linear:
            place, layer = linear[-1]
            found[f"{name}.ff.net.{place}"] = layer
    if not found:
        raise TargetError(
            f"{type(unet).__name__} has no transformer block with a feed-forward layer, which is "
            "where probing looks; give a text-to-image model of the Stable Diffusion kind"
        )
    return found


def transformer_blocks(unet: Any) -> dict[str, Any]:
    """Name -> transformer block of diffusers, in the order of a forward call."""
    from diffusers.models.attention import BasicTransformerBlock

    found = {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, BasicTransformerBlock)
    }
    return dict(sorted(found.items(), key=lambda item: ORDER.get(item[0].split(".")[0], 3)))


class ActivityWatcher(Watcher):
    """Tells the hooks which step runs and which rows are those of the prompts."""

    def __init__(self, *, prompts_alone: bool):
        self.into = Activity()
        """Where the sums go; exchange it to begin another list of prompts."""
        self._prompts_alone = prompts_alone
        self._step = 0
        self._n_rows = 0

    def begins(self, batch: Batch) -> None:
        """A batch begins at its first step."""
        self._step, self._n_rows = 0, len(batch.draws)

    def step(self, step: Step) -> None:
        """Calls count as they come: the next one belongs to the next step."""
        self._step = step.number + 1

    def saw(self, layer: str, inputs: Tensor) -> None:
        """The inputs (rows, tokens, d) of a layer; rows of the prompts come last."""
        rows = inputs[-self._n_rows :] if self._prompts_alone else inputs
        self.into.add(layer, self._step, rows)


@contextmanager
def watched_activity(unet: Any, *, prompts_alone: bool = False) -> Iterator[ActivityWatcher]:
    """Watch while the context lasts; every hook is removed afterwards, whatever happens.

    prompts_alone: leave out the rows of the empty text, which guidance asks beside the prompt.
    """
    watcher = ActivityWatcher(prompts_alone=prompts_alone)

    def hook_of(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            watcher.saw(name, args[0])

        return hook

    hooks = []
    try:
        for name, layer in feed_forward_layers(unet).items():
            hooks.append(layer.register_forward_pre_hook(hook_of(name)))
        yield watcher
    finally:
        for hook in hooks:
            hook.remove()
