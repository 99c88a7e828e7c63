"""Encoders: unit vectors, determinism, what the built-in one sees, and files of the user."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.errors import TargetError, UsageError
from auditor.demo.digits import demo_splits
from auditor.images.controls import WAYS, planted
from auditor.matching import PixelEncoder, nearest, open_encoder
from auditor.matching.encoders import normalised


@pytest.fixture(scope="module")
def pictures():
    return [Image.fromarray(image) for image in demo_splits().members.images[:120]]


def test_vectors_have_length_one_and_do_not_depend_on_the_batch(pictures):
    encoder = PixelEncoder()
    together = encoder.embed(pictures)
    assert together.shape == (120, encoder.width)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.concatenate([encoder.embed([p]) for p in pictures[:5]]) == pytest.approx(
        together[:5], abs=1e-6
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_copy_stays_among_the_nearest(pictures, way):
    encoder = PixelEncoder()
    rng = np.random.default_rng(0)
    copies = encoder.embed([planted(p, way, rng) for p in pictures])
    found = nearest(copies, [encoder.embed(pictures)], 10)
    is_found = (found.position == np.arange(len(pictures))[:, None]).any(axis=1)
    assert is_found.mean() >= (0.9 if way == "crop" else 1.0)


def test_brightness_alone_changes_nothing_and_one_colour_is_no_error():
    encoder = PixelEncoder()
    rng = np.random.default_rng(1)
    dark = rng.integers(0, 120, (40, 30, 3), dtype=np.uint8)
    one, other = encoder.embed([Image.fromarray(dark), Image.fromarray(dark + 100)])
    assert one @ other == pytest.approx(1, abs=1e-3)
    flat = encoder.embed([Image.new("RGB", (5, 9), colour) for colour in ("red", "white")])
    assert flat[0] @ flat[1] == pytest.approx(1, abs=1e-2)


def test_the_report_can_say_what_was_used():
    encoder = open_encoder(None)
    assert encoder.name == "pixels (built in)"
    assert "No embedding model was given" in encoder.limits
    assert len(encoder.key) == 64
    assert open_encoder("pixels").key == encoder.key


@pytest.fixture
def script(tmp_path):
    """A small network in a TorchScript file, as SSCD comes."""

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(3 * 16, 8)

        def forward(self, x):
            small = torch.nn.functional.adaptive_avg_pool2d(x, 4)
            return torch.nn.functional.normalize(self.layer(small.flatten(1)))

    path = tmp_path / "sscd.torchscript.pt"
    torch.jit.script(Network()).save(str(path))
    return path


def test_a_torchscript_file_of_the_user(script, pictures):
    encoder = open_encoder(str(script), device="cpu")
    assert encoder.width == 8
    assert "TorchScript" in encoder.name
    assert str(script) not in encoder.name
    mixed = [pictures[0], pictures[1].resize((300, 500)), pictures[2]]
    together = encoder.embed(mixed)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    alone = np.concatenate([encoder.embed([p]) for p in mixed])
    assert together == pytest.approx(alone, abs=1e-5)
    # its own preprocessing, by hand: small side 288, ImageNet statistics
    small = mixed[0].resize((288, 288), Image.Resampling.BILINEAR)
    x = (np.asarray(small) / 255 - encoder.MEAN) / encoder.DEVIATION
    network = torch.jit.load(str(script))
    with torch.inference_mode():
        expected = network(torch.tensor(x, dtype=torch.float32).permute(2, 0, 1)[None]).numpy()
    assert together[0] == pytest.approx(expected[0], abs=1e-3)
    assert encoder.key != PixelEncoder().key


def test_what_cannot_be_an_encoder_is_refused(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"no zip file")
    with pytest.raises(TargetError, match="TorchScript"):
        open_encoder(str(tmp_path / "weights.pt"), device="cpu")
    with pytest.raises(UsageError, match="check the path"):
        open_encoder("pixel")
    with pytest.raises(TargetError, match="not finite"):
        normalised(np.array([[np.nan, 1.0]]))


def test_open_clip_without_the_package_says_what_to_install():
    try:
        import open_clip  # noqa: F401
    except ImportError:
        with pytest.raises(TargetError, match="matching"):
            open_encoder("open_clip:ViT-B-32", device="cpu")


def test_open_clip_model_from_its_configuration(tmp_path, pictures):
    open_clip = pytest.importorskip("open_clip")
    model = open_clip.create_model("RN50")
    torch.save(model.state_dict(), tmp_path / "rn50.pt")
    encoder = open_encoder(f"open_clip:RN50:{tmp_path / 'rn50.pt'}", device="cpu")
    vectors = encoder.embed(pictures[:2])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)
