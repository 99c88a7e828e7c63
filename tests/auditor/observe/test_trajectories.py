"""One trajectory for all detectors: right, cheap, cached, and invisible to the model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import auditor.observe.generation as generation
from attacks.detection import Setting
from attacks.detection.bright_ending import local_magnitudes, resized
from attacks.detection.edge_consistency import edge_mask, unpacked
from attacks.detection.registry import DETECTORS, detector
from attacks.errors import TargetError
from attacks.observations.prompts import (
    EndingMask,
    FirstAttention,
    FirstChange,
    FirstEdges,
    FirstResidual,
    LateAttention,
    LocalMagnitudes,
    TextMagnitudes,
)
from auditor.observe.cache import Cache
from auditor.observe.cross_attention import (
    attention_probabilities,
    bright_layers,
    cross_attention_layers,
    recorded_attention,
)
from auditor.observe.trajectories import TrajectoryExecutor, route
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw, Sampling, ddim_scheduler, generate, initial_noise
from auditor.targets.tokens import tokenize

STEPS, GUIDANCE = 5, 4.0
PROMPTS = ["a handwritten five, bold red ink", "seven", "a teal three"]
DRAWS = [Draw(prompt, seed) for prompt in PROMPTS for seed in (3, 4)]
EVERYTHING = (
    TextMagnitudes(STEPS, GUIDANCE, end=1),
    TextMagnitudes(STEPS, GUIDANCE, end=STEPS),
    FirstChange(STEPS, GUIDANCE),
    FirstEdges(STEPS, GUIDANCE),
    FirstResidual(STEPS),
    FirstAttention(STEPS),
    LateAttention(STEPS, GUIDANCE, begin=4),
    LocalMagnitudes(STEPS, GUIDANCE),
    EndingMask(STEPS, GUIDANCE),
)


@pytest.fixture(scope="module")
def target(demo):
    return open_target(str(demo.models["memorized"]), device="cpu")


@pytest.fixture(scope="module")
def ends(target):
    cut = tokenize(target, PROMPTS)
    return {prompt: tokens.end for prompt, tokens in zip(PROMPTS, cut, strict=True)}


@pytest.fixture(scope="module")
def answers(target, ends):
    return TrajectoryExecutor(target, 8).record(DRAWS, EVERYTHING, GUIDANCE, ends)


def predict(target, state, t, prompt):
    """Both predictions, each in a call of its own, with the plain probabilities of attention."""
    seen = {}
    layers = cross_attention_layers(target.unet)
    hooks = []
    for name, layer in layers.items():

        def look(module, args, kwargs, name=name):
            seen[name] = attention_probabilities(module, args[0], kwargs["encoder_hidden_states"])

        hooks.append(layer.register_forward_pre_hook(look, with_kwargs=True))
    times = torch.full((1,), t)
    without = target.predict(state, times, target.embed_nothing())
    given = target.predict(state, times, target.embed([prompt]))
    for hook in hooks:
        hook.remove()
    return given, without, {name: seen[name][0] for name in layers}


def test_recordings_equal_a_slow_pass(target, ends, answers):
    """One draw at a time, two separate predictions a step, nothing shared or reduced on the way."""
    scheduler = ddim_scheduler(target)
    scheduler.set_timesteps(STEPS)
    for i, (prompt, seed) in enumerate(DRAWS):
        state = initial_noise([seed], target.input_shape)
        magnitudes, squares, late = [], [], []
        for number, t in enumerate(scheduler.timesteps.tolist()):
            given, without, attention = predict(target, state, t, prompt)
            guided = without + GUIDANCE * (given - without)
            squares.append((given - without).square().sum(dim=1)[0].numpy())
            magnitudes.append(float((given - without).norm()))
            shares = torch.stack([a.mean(dim=(0, 1)) for a in attention.values()])
            late.append(shares.mean(dim=0).numpy())
            if number == 0:
                abar = float(target.alphas_cumprod[t])
                clean = (state - (1 - abar) ** 0.5 * guided) / abar**0.5
                change = float((state - clean).square().mean())
                assert answers[FirstChange(STEPS, GUIDANCE)][i] == pytest.approx(change, rel=1e-4)
                residual = answers[FirstResidual(STEPS)][i].astype(np.float32)
                np.testing.assert_allclose(residual, (given - state)[0], atol=5e-3)
                found = answers[FirstAttention(STEPS)][i]
                np.testing.assert_allclose(found, shares, atol=1e-5)
                picture = (target.decode(clean)[0].permute(1, 2, 0).numpy() * 255).round()
                edges = _edges_of(picture.astype(np.uint8))
                own = unpacked(answers[FirstEdges(STEPS, GUIDANCE)][i : i + 1])[0]
                assert (own != edges).mean() < 1e-3
            state = scheduler.step(guided, t, state, eta=0.0).prev_sample
        whole = answers[TextMagnitudes(STEPS, GUIDANCE, end=STEPS)][i]
        np.testing.assert_allclose(whole, magnitudes, rtol=1e-3)
        assert answers[TextMagnitudes(STEPS, GUIDANCE, end=1)][i, 0] == whole[0]
        np.testing.assert_allclose(
            answers[LateAttention(STEPS, GUIDANCE, begin=4)][i], late[4:], atol=1e-4
        )
        bright = bright_layers(list(attention))
        maps = [attention[name].mean(dim=0)[:, ends[prompt]] for name in bright]
        mask = torch.stack(maps).mean(dim=0).reshape(1, 4, 4).numpy()
        np.testing.assert_allclose(
            answers[EndingMask(STEPS, GUIDANCE)][i], mask[0], rtol=5e-3, atol=1e-4
        )
        local = local_magnitudes(np.stack(squares)[None], resized(mask, 8, 8))[0]
        np.testing.assert_allclose(answers[LocalMagnitudes(STEPS, GUIDANCE)][i], local, rtol=5e-3)


def _edges_of(picture):
    from PIL import Image

    large = Image.fromarray(picture).resize((256, 256), Image.Resampling.LANCZOS)
    return edge_mask(np.asarray(large) / 255)


def test_recording_attention_changes_no_bit_and_leaves_no_trace(target):
    state = initial_noise([1, 2], target.input_shape)
    times = torch.full((2,), 500)
    text = target.embed(["one", "two"])
    before = target.predict(state, times, text)
    own = {name: layer.processor for name, layer in cross_attention_layers(target.unet).items()}
    with recorded_attention(target.unet) as attention:
        attention.n_rows = 2
        attention.ends = torch.tensor([3, 4])
        assert torch.equal(target.predict(state, times, text), before)
        shares = attention.shares()
        maps = list(attention.maps.values())
    assert shares.shape == (2, 4, 16)
    np.testing.assert_allclose(shares.sum(dim=2), 1, rtol=1e-5)
    assert [tuple(one.shape) for one in maps] == [(2, 16)]
    for name, layer in cross_attention_layers(target.unet).items():
        assert layer.processor is own[name]


def test_probabilities_are_those_of_diffusers(target):
    layer = next(iter(cross_attention_layers(target.unet).values()))
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn((2, 16, layer.to_q.in_features), generator=generator)
    text = torch.randn((2, 5, layer.to_k.in_features), generator=generator)
    with torch.no_grad():
        query = layer.head_to_batch_dim(layer.to_q(hidden))
        key = layer.head_to_batch_dim(layer.to_k(text))
        expected = layer.get_attention_scores(query, key).unflatten(0, (2, layer.heads))
        found = attention_probabilities(layer, hidden, text)
    torch.testing.assert_close(found, expected)


def test_a_model_without_cross_attention_is_refused(pixel_pipeline):
    plain = open_target(str(pixel_pipeline), device="cpu")
    with pytest.raises(TargetError, match="cross-attention"), recorded_attention(plain.unet):
        pass


@pytest.mark.parametrize(
    ("name", "seeds", "steps", "calls"),
    [
        ("denoising_confidence", 1, 50, 2),
        ("text_magnitude", 1, 50, 2),
        ("seed_similarity", 10, 50, 10),
        ("edge_consistency", 4, 50, 8),
        ("text_magnitude_mean", 4, 10, 80),
        ("attention_entropy_late", 1, 50, 100),
        ("bright_ending", 1, 50, 100),
        ("attention_entropy", 1, 50, 1),
    ],
)
def test_calls_are_those_of_the_papers(name, seeds, steps, calls):
    setting = Setting(steps, 7.5, seeds)
    assert route(detector(name).requests(setting), 7.5).calls * seeds == calls


def test_all_detectors_share_one_trajectory(target, ends):
    setting = Setting(STEPS, GUIDANCE, 2)
    requests = tuple({r: 0 for n in DETECTORS for r in detector(n).requests(setting)})
    rows = []
    hook = target.unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    executor = TrajectoryExecutor(target, 8)
    executor.record(DRAWS, requests, GUIDANCE, ends)
    hook.remove()
    assert sum(rows) == executor.usage.n_calls == len(DRAWS) * 2 * STEPS


def test_the_first_step_does_not_depend_on_the_guidance(target, ends, answers):
    other = TextMagnitudes(STEPS, 9.0, end=1)
    found = TrajectoryExecutor(target, 8).record(DRAWS, [other], 9.0, ends)
    same = answers[TextMagnitudes(STEPS, GUIDANCE, end=1)]
    np.testing.assert_allclose(found[other], same, rtol=1e-5)


def test_an_empty_prompt_has_no_magnitude(target):
    request = TextMagnitudes(STEPS, GUIDANCE, end=1)
    found = TrajectoryExecutor(target, 4).record([Draw("", 1)], [request], GUIDANCE, {"": 1})
    assert found[request][0, 0] < 1e-4


def test_a_recording_depends_on_its_draw_alone(target, ends, answers):
    alone = TrajectoryExecutor(target, 2).record(DRAWS[3:4], EVERYTHING, GUIDANCE, ends)
    for request, array in alone.items():
        if array.dtype == np.uint8:
            continue
        np.testing.assert_allclose(
            array[0].astype(float), answers[request][3].astype(float), rtol=2e-3, atol=5e-3
        )


def test_finished_shards_and_requests_come_from_the_cache(target, ends, tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "SHARD_DRAWS", 2)
    cache = Cache(tmp_path / "cache", target.key, 0)
    first = EVERYTHING[:1]
    TrajectoryExecutor(target, 8, cache).record(DRAWS[:4], first, GUIDANCE, ends)
    again = TrajectoryExecutor(target, 8, cache)
    stored = again.record(DRAWS, first, GUIDANCE, ends)
    assert (again.usage.n_calls, again.usage.n_calls_cached) == (2 * 2, 4 * 2)
    fresh = TrajectoryExecutor(target, 8).record(DRAWS, first, GUIDANCE, ends)
    np.testing.assert_allclose(stored[first[0]], fresh[first[0]], rtol=1e-5)
    more = TrajectoryExecutor(target, 8, cache)
    more.record(DRAWS, EVERYTHING[:5], GUIDANCE, ends)  # the first is stored, others are not
    whole = TrajectoryExecutor(target, 8, cache)
    whole.record(DRAWS, EVERYTHING[:5], GUIDANCE, ends)
    assert whole.usage.n_calls == 0


def test_the_batch_halves_when_memory_runs_out(target, ends, monkeypatch):
    twin = copy.copy(target)
    real = target.predict

    def scarce(inputs, timesteps, conditioning):
        if len(inputs) > 2:
            raise RuntimeError("out of memory")
        return real(inputs, timesteps, conditioning)

    monkeypatch.setattr(twin, "predict", scarce)
    executor = TrajectoryExecutor(twin, 8)
    found = executor.record(DRAWS, EVERYTHING[:1], GUIDANCE, ends)
    assert executor.batch_size == 2
    assert len(found[EVERYTHING[0]]) == len(DRAWS)


def test_watching_does_not_change_what_is_drawn(target, ends):
    """The trajectory of the recorder is that of the images: same sampling, same state."""
    images = generate(target, DRAWS[:2], Sampling(STEPS, GUIDANCE), batch_size=4)
    TrajectoryExecutor(target, 4).record(DRAWS[:2], EVERYTHING, GUIDANCE, ends)
    again = generate(target, DRAWS[:2], Sampling(STEPS, GUIDANCE), batch_size=4)
    assert np.array_equal(images, again)
