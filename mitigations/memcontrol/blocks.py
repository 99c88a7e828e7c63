"""The bits of a mask: the attention blocks of a U-Net, in one documented order.

Bit 0 is the first attention of the first down block that has any; then the rest of the down
blocks, the middle block, the up blocks. A U-Net with the layout of Stable Diffusion has 6 + 1 + 9.
"""

from __future__ import annotations

from typing import Any

from attacks.errors import Inapplicable


def block_names(unet: Any) -> tuple[str, ...]:
    """Names of the attention blocks; bit i of a mask is the i-th of them.

    Raises Inapplicable for a U-Net without any.
    """
    names = [
        f"{part}.attentions.{i}"
        for part, module in _parts(unet)
        for i, block in enumerate(getattr(module, "attentions", None) or ())
        if block is not None
    ]
    if not names:
        raise Inapplicable(
            "the U-Net has no attention blocks, which are what is searched; fine-tune it by "
            "another recipe"
        )
    return tuple(names)


def inner_names(unet: Any, block: str) -> tuple[str, ...]:
    """Names of the modules that a bit governs: the transformer blocks inside an attention block.

    A block that is a plain attention layer, as in pixel models, is governed as a whole.
    """
    module = unet.get_submodule(block)
    inside = getattr(module, "transformer_blocks", None)
    if inside is None:
        return (block,)
    return tuple(f"{block}.transformer_blocks.{i}" for i in range(len(inside)))


def _parts(unet: Any) -> list[tuple[str, Any]]:
    parts = [(f"down_blocks.{i}", block) for i, block in enumerate(unet.down_blocks)]
    if getattr(unet, "mid_block", None) is not None:
        parts.append(("mid_block", unet.mid_block))
    return [*parts, *((f"up_blocks.{i}", block) for i, block in enumerate(unet.up_blocks))]
