"""A small CLIP, trained on digits and captions that no target of the tests is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from auditor.demo.digits import IMAGE_SIZE, demo_splits
from auditor.demo.vocabulary import MAX_TOKENS, write_tokenizer

WIDTH = 32
TOWER = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def untrained_clip(vocabulary_size: int) -> CLIPModel:
    """Two towers at toy size with random weights."""
    text = TOWER | {
        "vocab_size": vocabulary_size,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": vocabulary_size - 2,
        "eos_token_id": vocabulary_size - 1,
        "pad_token_id": vocabulary_size - 1,
    }
    vision = TOWER | {"image_size": IMAGE_SIZE, "patch_size": 8}
    torch.manual_seed(0)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def save_small_clip(folder: Path, steps: int = 0) -> Path:
    """Save model, image processor and tokenizer as transformers does; trained for some steps."""
    size = write_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    processor = CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    model = untrained_clip(size)
    if steps:
        _train(model, processor, tokenizer, steps)
    model.save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
    return folder


def _train(model, processor, tokenizer, steps):
    others = demo_splits().others
    pixels = processor(images=list(others.images), return_tensors="pt")["pixel_values"]
    tokens = tokenizer(
        list(others.captions),
        padding="max_length",
        max_length=MAX_TOKENS,
        truncation=True,
        return_tensors="pt",
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        rows = torch.from_numpy(rng.choice(len(pixels), 64, replace=False))
        given = {name: values[rows] for name, values in tokens.items()}
        optimiser.zero_grad()
        model(pixel_values=pixels[rows], return_loss=True, **given).loss.backward()
        optimiser.step()
    model.eval()
