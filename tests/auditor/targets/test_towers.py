"""Image-text encoders: a CLIP directory, an open_clip checkpoint, and clear refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.errors import TargetError
from auditor.demo.digits import demo_splits
from auditor.targets.towers import open_towers
from tests.small_clip import save_small_clip

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_small_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture(scope="module")
def pictures():
    return [Image.fromarray(image) for image in demo_splits().others.images[:40]]


def test_a_directory_gives_what_transformers_gives(folder, pictures):
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    towers = open_towers(str(folder), None, CPU)
    model = CLIPModel.from_pretrained(folder).eval()
    captions = ["a handwritten one, bold red ink", "a handwritten two, thin blue ink", ""]
    tokens = CLIPTokenizer.from_pretrained(folder)(
        captions, padding="max_length", return_tensors="pt"
    )
    pixels = CLIPImageProcessor.from_pretrained(folder)(images=pictures, return_tensors="pt")
    with torch.no_grad():
        both = model(**tokens, **pixels)
    for own, theirs in (
        (towers.images(pictures), both.image_embeds),
        (towers.texts(captions), both.text_embeds),
    ):
        unit = own / np.linalg.norm(own, axis=1, keepdims=True)
        np.testing.assert_allclose(unit, theirs.numpy(), atol=1e-5)


def test_batches_do_not_matter_and_none_is_fine(folder, pictures):
    towers = open_towers(str(folder), None, CPU)
    together = towers.images(pictures)
    assert together.shape == (40, 32)
    alone = np.concatenate([towers.images([picture]) for picture in pictures])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(towers.images([])) == len(towers.texts([])) == 0


def test_other_weights_have_another_key(folder, tmp_path):
    trained = save_small_clip(tmp_path / "tiny-clip", steps=1)
    keys = {open_towers(str(path), None, CPU).key for path in (folder, trained)}
    assert len(keys) == 2
    assert open_towers(str(folder), None, CPU).key in keys
    assert all(key.startswith("tiny-clip@") for key in keys)


@pytest.mark.parametrize(
    ("name", "checkpoint", "message"),
    [
        ("ViT-B-32", None, "has no weights; name a file"),
        ("ViT-B-32", "missing.safetensors", "no file of weights"),
    ],
)
def test_an_encoder_without_weights_is_refused(name, checkpoint, message, tmp_path):
    with pytest.raises(TargetError, match=message):
        open_towers(name, checkpoint and tmp_path / checkpoint, CPU)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(TargetError, match="no directory with a CLIP model"):
        open_towers(str(tmp_path), None, CPU)


def test_an_open_clip_architecture_with_a_checkpoint(tmp_path, pictures):
    open_clip = pytest.importorskip("open_clip")
    from safetensors.torch import save_file

    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    }
    (tmp_path / "tiny-towers.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-towers.json")
    model = open_clip.create_model("tiny-towers").eval()
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "w.safetensors"
    )
    towers = open_towers("tiny-towers", tmp_path / "w.safetensors", CPU)
    assert towers.images(pictures[:3]).shape == towers.texts(["a", "b", "c"]).shape == (3, 16)
    with torch.no_grad():
        direct = model.encode_text(open_clip.get_tokenizer("tiny-towers")(["a", "b"]))
    np.testing.assert_allclose(towers.texts(["a", "b"]), direct.numpy(), atol=1e-5)
