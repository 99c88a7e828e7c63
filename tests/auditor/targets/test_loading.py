from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.errors import TargetError
from attacks.protocols import Tuning
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.layout import read_layout
from auditor.targets.loading import find_model, open_target
from auditor.targets.parametrisation import add_noise, coefficients, native_goal, to_epsilon
from tests.conftest import pixel_unet, save_pixel_pipeline


def edit(folder, name, **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def broken(pixel_pipeline, tmp_path):
    return shutil.copytree(pixel_pipeline, tmp_path / "model")


def test_pixel_pipeline_loads(pixel_pipeline):
    target = open_target(str(pixel_pipeline), device="cpu")
    assert isinstance(target, DiffusionTarget)
    assert target.input_shape == (1, 8, 8)
    assert not target.capabilities.is_latent
    assert not target.capabilities.is_text_conditional
    assert target.embed(["x"]) is None
    assert len(target.alphas_cumprod) == 1000


def test_text_pipeline_loads_and_uses_the_posterior_mode(text_pipeline, digits):
    target = open_target(str(text_pipeline), device="cpu")
    assert target.capabilities.is_latent
    assert target.capabilities.is_text_conditional
    images = [Image.fromarray(digits[0]).convert("RGB")]
    first, second = target.prepare(images), target.prepare(images)
    assert torch.equal(first, second)
    assert target.embed(["a three", ""]).hidden.shape[0] == 2


def test_unconditional_latent_pipeline_loads(text_pipeline, tmp_path):
    from diffusers import UNet2DModel

    folder = shutil.copytree(text_pipeline, tmp_path / "latent")
    shutil.rmtree(folder / "unet")
    pixel_unet(in_channels=4, out_channels=4).save_pretrained(folder / "unet")
    shutil.move(folder / "vae", folder / "vqvae")
    index = {
        "_class_name": "LDMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "vqvae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    target = open_target(str(folder), device="cpu")
    assert isinstance(target.unet, UNet2DModel)
    assert target.capabilities.is_latent
    assert not target.capabilities.is_text_conditional


def test_rectangles_are_covered_and_cut_at_the_centre(pixel_pipeline):
    target = open_target(str(pixel_pipeline), device="cpu")
    wide = np.zeros((16, 48), np.uint8)
    wide[:, 16:32] = 255
    inputs = target.prepare([Image.fromarray(wide).convert("RGB")])
    assert inputs.shape == (1, 1, 8, 8)
    assert inputs.min() > 0.8  # the filter reaches a pixel over the edge


def test_every_prediction_type_gives_the_same_noise():
    rng = torch.Generator().manual_seed(0)
    tables = coefficients(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), torch.device("cpu"))
    at = tables.at(torch.tensor([0, 100, 700, 999]))
    clean, noise = (torch.randn(4, 1, 8, 8, generator=rng) for _ in range(2))
    noised = add_noise(clean, noise, at)
    for kind, tolerance in (("epsilon", 1e-6), ("v_prediction", 1e-5), ("sample", 5e-3)):
        native = native_goal(clean, noise, at, kind)
        torch.testing.assert_close(
            to_epsilon(native, noised, at, kind), noise, atol=tolerance, rtol=0
        )


def test_schedule_is_the_models_own(tmp_path):
    linear = open_target(str(save_pixel_pipeline(tmp_path / "a")), device="cpu")
    scaled = open_target(
        str(save_pixel_pipeline(tmp_path / "b", beta_schedule="scaled_linear")), device="cpu"
    )
    assert not np.allclose(linear.alphas_cumprod, scaled.alphas_cumprod)


def test_key_depends_on_weights_schedule_precision_and_resolution(tmp_path, text_pipeline):
    def key(path, **options):
        return open_target(str(path), device="cpu", **options).key

    first = save_pixel_pipeline(tmp_path / "a", seed=0)
    same = save_pixel_pipeline(tmp_path / "b", seed=0)
    other = save_pixel_pipeline(tmp_path / "c", seed=1)
    assert key(first) == key(same)
    others = [
        key(other),
        key(first, precision="bf16"),
        key(save_pixel_pipeline(tmp_path / "d", seed=0, beta_schedule="scaled_linear")),
    ]
    assert len({key(first), *others}) == 4
    assert key(text_pipeline) != key(text_pipeline, resolution=64)


REFUSALS = {
    "unknown pipeline": (
        lambda f: edit(f, "model_index.json", _class_name="FluxPipeline"),
        "FluxPipeline",
    ),
    "remote code": (
        lambda f: edit(f, "model_index.json", unet=["my_code", "UNet2DModel"]),
        "remote code",
    ),
    "flow matching": (
        lambda f: edit(
            f, "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]
        ),
        "noise schedule",
    ),
    "learned variance": (
        lambda f: edit(f, "scheduler/scheduler_config.json", variance_type="learned_range"),
        "learned variance",
    ),
    "variance channels": (lambda f: edit(f, "unet/config.json", out_channels=2), "variance"),
    "classes": (lambda f: edit(f, "unet/config.json", num_class_embeds=10), "classes"),
    "prediction": (
        lambda f: edit(f, "scheduler/scheduler_config.json", prediction_type="flow"),
        "'flow'",
    ),
    "no index": (lambda f: (f / "model_index.json").unlink(), "model_index.json"),
    "broken index": (lambda f: (f / "model_index.json").write_text("{"), "JSON"),
    "no weights": (lambda f: next((f / "unet").glob("*.safetensors")).unlink(), "no weights"),
    "no scheduler": (lambda f: shutil.rmtree(f / "scheduler"), "scheduler"),
    "truncated weights": (
        lambda f: next((f / "unet").glob("*.safetensors")).write_bytes(b"\x08" * 20),
        "cannot be loaded",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_audited_is_refused_by_name(broken, case):
    breakage, expected = REFUSALS[case]
    breakage(broken)
    with pytest.raises(TargetError, match=expected):
        open_target(str(broken), device="cpu")


class Exploit:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise RuntimeError('pickle was executed')",))


def test_a_pickle_is_refused_and_never_executed(broken):
    weights = next((broken / "unet").glob("*.safetensors"))
    weights.unlink()
    torch.save(Exploit(), broken / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(TargetError, match="pickle"):
        open_target(str(broken), device="cpu")
    with pytest.raises(TargetError, match="cannot be loaded") as caught:
        open_target(str(broken), device="cpu", allow_pickle=True)
    assert "executed" not in str(caught.value)


def test_honest_pickled_weights_load_on_request(broken, pixel_pipeline):
    safe = open_target(str(pixel_pipeline), device="cpu")
    next((broken / "unet").glob("*.safetensors")).unlink()
    torch.save(safe.unet.state_dict(), broken / "unet" / "diffusion_pytorch_model.bin")
    read_layout(broken, allow_pickle=True)
    again = open_target(str(broken), device="cpu", allow_pickle=True)
    for one, two in zip(safe.unet.parameters(), again.unet.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_single_checkpoint_file_is_explained(tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"x")
    with pytest.raises(TargetError, match="can run code"):
        open_target(str(path))


@pytest.mark.parametrize("name", ["no/such-model", "./nowhere", "nowhere"])
def test_missing_models_say_what_to_do(name):
    with pytest.raises(TargetError, match="directory"):
        find_model(name)


def test_bad_device_precision_and_resolution(text_pipeline):
    for options in ({"device": "warp"}, {"precision": "int3"}, {"resolution": 37}):
        with pytest.raises(TargetError):
            open_target(str(text_pipeline), **{"device": "cpu", **options})


def test_lora_changes_predictions_and_the_key(text_pipeline, tmp_path, digits):
    from peft import LoraConfig

    plain = open_target(str(text_pipeline), device="cpu")
    unet = open_target(str(text_pipeline), device="cpu").unet
    unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    StableDiffusionPipeline.save_lora_weights(
        tmp_path / "lora",
        unet_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(unet)),
    )
    adapted = open_target(str(text_pipeline), device="cpu", lora=tmp_path / "lora")
    assert adapted.adapter == "lora"
    assert adapted.key != plain.key
    inputs, t = torch.randn(1, 4, 8, 8), torch.tensor([100])
    conditioning = plain.embed(["a three"])
    assert not torch.allclose(
        plain.predict(inputs, t, conditioning), adapted.predict(inputs, t, conditioning)
    )
    with pytest.raises(TargetError, match="adapter"):
        open_target(str(text_pipeline), device="cpu", lora=tmp_path / "missing")
    from safetensors.torch import load_file, save_file

    path = next((tmp_path / "lora").glob("*.safetensors"))
    weights = load_file(path)
    for name, damaged in {
        "unknown prefix": {f"transformer.{k}": v for k, v in weights.items()},
        "no prefix": {k.removeprefix("unet."): v for k, v in weights.items()},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        save_file(damaged, folder / path.name)
        with pytest.raises(TargetError, match="does not fit"):
            open_target(str(text_pipeline), device="cpu", lora=folder)


def peft_folder(folder, text_pipeline, seed):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    unet = open_target(str(text_pipeline), device="cpu").unet
    config = LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_v"])
    get_peft_model(unet, config).save_pretrained(folder)
    return folder


def test_peft_adapters_load_wholly_or_not_at_all(text_pipeline, tmp_path):
    """A file whose keys do not fit is ignored by peft; auditing the base would be an all-clear."""
    from safetensors.torch import load_file, save_file

    folder = peft_folder(tmp_path / "good", text_pipeline, 0)
    plain = open_target(str(text_pipeline), device="cpu")
    adapted = open_target(str(text_pipeline), device="cpu", lora=folder)
    assert adapted.key != plain.key
    weights = load_file(folder / "adapter_model.safetensors")
    broken = {
        "compiled": {k.replace("base_model.model.", "base_model.model._orig_mod."): v
                     for k, v in weights.items()},
        "truncated": dict(list(weights.items())[:2]),
    }  # fmt: skip
    for name, damaged in broken.items():
        bad = shutil.copytree(folder, tmp_path / name)
        save_file(damaged, bad / "adapter_model.safetensors")
        with pytest.raises(TargetError, match="does not fit"):
            open_target(str(text_pipeline), device="cpu", lora=bad)


def test_two_adapters_never_share_a_key(text_pipeline, tmp_path):
    """Also when a checkpoint of the same name lies in a folder below."""
    keys = set()
    for seed in (1, 2):
        folder = peft_folder(tmp_path / f"adapter{seed}", text_pipeline, seed)
        peft_folder(folder / "checkpoint-500", text_pipeline, 9)
        keys.add(open_target(str(text_pipeline), device="cpu", lora=folder).key)
    assert len(keys) == 2


@pytest.mark.parametrize("side", [98, 103, 196, 197, 33, 7, 1])
@pytest.mark.parametrize("crop", [1.0, 0.8])
def test_any_image_size_can_be_prepared(text_pipeline, side, crop):
    target = open_target(str(text_pipeline), device="cpu", resolution=64)
    for size in ((side, side), (side, 3 * side), (3 * side + 1, side)):
        assert target.prepare([Image.new("RGB", size)], crop).shape == (1, 4, 16, 16)


def test_finetuning_never_touches_the_target(pixel_pipeline, digits):
    target = open_target(str(pixel_pipeline), device="cpu")
    before = [p.clone() for p in target.unet.parameters()]
    inputs = target.prepare([Image.fromarray(d).convert("RGB") for d in digits[:4]])
    doses = list(target.finetune(inputs, None, doses=(1, 8), seed=0))
    assert [dose.exposures for dose in doses] == [1, 8]
    assert doses[-1].loss_after < doses[-1].loss_before
    for one, two in zip(before, target.unet.parameters(), strict=True):
        assert torch.equal(one, two)
    again = list(target.finetune(inputs, None, doses=(1, 8), seed=0))
    assert [d.loss_after for d in again] == [d.loss_after for d in doses]


def test_averaged_copies_are_the_moving_average_of_the_plain_ones(pixel_pipeline, digits):
    """A slow twin: average by hand the weights that the plain training has after each step."""
    from auditor.targets.finetuning import AVERAGE_DECAY

    target = open_target(str(pixel_pipeline), device="cpu")
    inputs = target.prepare([Image.fromarray(d).convert("RGB") for d in digits[:4]])
    expected = [p.clone() for p in target.unet.parameters()]
    for dose in target.finetune(inputs, None, doses=(1, 2, 3, 4), seed=0):
        for i, weight in enumerate(dose.predictor.unet.parameters()):
            kept = AVERAGE_DECAY * expected[i] + (1 - AVERAGE_DECAY) * weight.detach()
            expected[i] = kept
    averaged = target.finetune(inputs, None, doses=(2, 4), seed=0, tuning=Tuning(1, True))
    last = [[p.detach().clone() for p in d.predictor.unet.parameters()] for d in averaged][-1]
    for one, two in zip(last, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_a_multiple_of_the_rate_moves_the_copy_further(pixel_pipeline, digits):
    target = open_target(str(pixel_pipeline), device="cpu")
    inputs = target.prepare([Image.fromarray(d).convert("RGB") for d in digits[:4]])
    moved, rates = [], []
    for rate in (1.0, 4.0):
        tuning = Tuning(rate)
        (dose,) = target.finetune(inputs, None, doses=(1,), seed=0, tuning=tuning)
        pairs = zip(dose.predictor.unet.parameters(), target.unet.parameters(), strict=True)
        moved.append(sum(float((a - b).detach().abs().sum()) for a, b in pairs))
        rates.append(dose.learning_rate)
    assert moved[1] == pytest.approx(4 * moved[0], rel=1e-2)
    assert rates[1] == 4 * rates[0]


def test_reinitialised_is_the_same_architecture_with_other_weights(pixel_pipeline):
    target = open_target(str(pixel_pipeline), device="cpu")
    state = torch.random.get_rng_state()
    fresh = target.reinitialised(0)
    assert torch.equal(state, torch.random.get_rng_state())
    pairs = zip(target.unet.parameters(), fresh.unet.parameters(), strict=True)
    assert any(not torch.equal(one, two) for one, two in pairs)


def test_sdxl_style_conditioning(text_pipeline, tmp_path):
    """A tiny SDXL pipeline: two text encoders, pooled embedding, time ids."""
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    base = diffusers.StableDiffusionPipeline.from_pretrained(text_pipeline, safety_checker=None)
    config = CLIPTextConfig.from_dict(base.text_encoder.config.to_dict() | {"projection_dim": 16})
    torch.manual_seed(0)
    second = CLIPTextModelWithProjection(config)
    width = base.text_encoder.config.hidden_size
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=2 * width,
        attention_head_dim=8,
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        text_encoder_2=second,
        tokenizer=base.tokenizer,
        tokenizer_2=base.tokenizer,
        unet=unet,
        scheduler=base.scheduler,
    )
    pipeline.save_pretrained(tmp_path / "xl")
    target = open_target(str(tmp_path / "xl"), device="cpu")
    conditioning = target.embed(["a three", ""])
    assert conditioning.pooled.shape == (2, 16)
    out = target.predict(torch.randn(2, 4, 8, 8), torch.tensor([5, 10]), conditioning)
    assert out.shape == (2, 4, 8, 8)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("kind", ["pixel_pipeline", "text_pipeline"])
def test_large_unets_are_tuned_by_lora(kind, request, monkeypatch, digits):
    from auditor.targets import finetuning

    monkeypatch.setattr(finetuning, "WHOLE_UP_TO", 0)
    target = open_target(str(request.getfixturevalue(kind)), device="cpu", precision="bf16")
    inputs = target.prepare([Image.fromarray(d).convert("RGB") for d in digits[:4]])
    conditioning = target.embed(["a three"] * 4)
    last = list(target.finetune(inputs, conditioning, doses=(1, 12), seed=0))[-1]
    assert last.loss_after < last.loss_before
    assert last.predictor.unet.dtype == torch.bfloat16
    assert target.unet.dtype == torch.bfloat16


def test_training_out_of_memory_goes_on_in_chunks(pixel_pipeline, digits):
    """Gradients of chunks add up to the gradient of the whole batch."""
    target = open_target(str(pixel_pipeline), device="cpu")
    inputs = target.prepare([Image.fromarray(d).convert("RGB") for d in digits[:8]])
    whole = list(target.finetune(inputs, None, doses=(3,), seed=0))[0]
    native = DiffusionTarget.native

    def limited(self, x, t, c):
        if torch.is_grad_enabled() and len(x) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return native(self, x, t, c)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DiffusionTarget, "native", limited)
        chunked = list(target.finetune(inputs, None, doses=(3,), seed=0))[0]
    assert chunked.loss_after == pytest.approx(whole.loss_after, rel=1e-3)


def test_a_tokenizer_without_its_vocabulary_is_refused(text_pipeline, tmp_path):
    folder = shutil.copytree(text_pipeline, tmp_path / "model")
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    with pytest.raises(TargetError, match="vocab"):
        open_target(str(folder), device="cpu")


def test_weights_that_are_cut_short_say_what_to_do(broken):
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(TargetError, match="cut short or damaged; save or copy") as caught:
        open_target(str(broken), device="cpu")
    assert str(broken) not in str(caught.value)
