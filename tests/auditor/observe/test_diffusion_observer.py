from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.manifest import DiffusionCapabilities
from attacks.observations import (
    NORMS,
    CleanNorms,
    NoiseError,
    ProximalError,
    StepError,
    StepResidual,
    VariationDistance,
    calls_per_record,
    with_requirements,
)
from auditor.observe.diffusion import ShardObserver
from auditor.observe.noise import noise
from auditor.observe.plan import make_plan
from auditor.observe.similarity import ssim
from auditor.observe.texts import condition_text
from auditor.targets.loading import open_target

BUNDLE = ("loss", "pia", "pian", "sima", "secmi")


@pytest.fixture(scope="module")
def target(pixel_pipeline):
    return open_target(str(pixel_pipeline), device="cpu")


@pytest.fixture(scope="module")
def text_target(text_pipeline):
    return open_target(str(text_pipeline), device="cpu")


def observer(target, images, *, batch_size=7, seed=3, captions=None, ids=None):
    from PIL import Image

    pictures = [Image.fromarray(i).convert("RGB") for i in images]
    return ShardObserver(
        predictor=target,
        images=pictures,
        captions=captions or [""] * len(images),
        ids=ids or [f"id{i}" for i in range(len(images))],
        batch_size=batch_size,
        seed=seed,
    )


def count_unet_rows(target):
    rows = []
    hook = target.unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    return rows, hook


def test_bundle_costs_24_forward_calls_a_record_counted_at_the_unet(target, digits):
    plan = make_plan(BUNDLE, target.capabilities)
    rows, hook = count_unet_rows(target)
    try:
        observer(target, digits[:5]).observe(plan.requests)
    finally:
        hook.remove()
    assert sum(rows) == 24 * 5
    assert plan.calls_per_record == 24


@pytest.mark.parametrize(
    ("requests", "calls"),
    [
        ((VariationDistance(t=200, k=100, n=3),), 6),
        ((VariationDistance(t=10, k=10, n=10),), 10),
        ((StepError(t=100, k=10), StepResidual(t=100, k=10)), 12),
        ((ProximalError(t=50), ProximalError(t=100), ProximalError(t=300)), 4),
        ((NoiseError(t=50), NoiseError(t=50, crop=0.8), NoiseError(t=50, repetition=1)), 3),
    ],
)
def test_calls_match_the_plan(target, digits, requests, calls):
    rows, hook = count_unet_rows(target)
    try:
        observer(target, digits[:3]).observe(with_requirements(requests))
    finally:
        hook.remove()
    assert sum(rows) == 3 * calls == 3 * calls_per_record(requests)


def test_conditional_bundle_makes_one_call_per_condition(text_target, digits):
    requests = [NoiseError(t=100, condition=c) for c in ("caption", "null", "first", "last")]
    rows, hook = count_unet_rows(text_target)
    try:
        found = observer(
            text_target, digits[:4], captions=["a handwritten three in ink"] * 4
        ).observe(requests)
    finally:
        hook.remove()
    assert sum(rows) == 16
    assert not np.allclose(found[requests[0]], found[requests[1]])


class Scaled:
    """An analytic predictor: eps(x, t) = a x + b t; the arithmetic can be done by hand."""

    device = torch.device("cpu")
    input_shape = (1, 8, 8)
    capabilities = DiffusionCapabilities("diffusion", "analytic", False, False, 1000, 8)

    def __init__(self, a=0.0, b=0.0, constant=None, betas=(1e-4, 0.02)):
        self.a, self.b, self.constant = a, b, constant
        self.alphas_cumprod = np.cumprod(1 - np.linspace(*betas, 1000))

    def prepare(self, images, crop=1.0):
        arrays = np.stack(
            [np.asarray(i.convert("L"), np.float32)[None] / 127.5 - 1 for i in images]
        )
        return torch.from_numpy(arrays)

    def decode(self, inputs):
        return inputs / 2 + 0.5

    def embed(self, captions):
        return None

    def predict(self, inputs, timesteps, conditioning):
        if self.constant is not None:
            return torch.full_like(inputs, self.constant)
        return self.a * inputs + self.b * timesteps.reshape(-1, 1, 1, 1)


def test_zero_predictor_gives_the_power_of_the_noise(digits):
    found = observer(Scaled(), digits[:6]).observe([NoiseError(t=200)])[NoiseError(t=200)]
    expected = [np.square(noise(3, f"id{i}", 200, 0, (1, 8, 8))).mean() for i in range(6)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_oracle_that_knows_the_noise_has_zero_error(digits):
    class Oracle(Scaled):
        def predict(self, inputs, timesteps, conditioning):
            abar = torch.tensor(self.alphas_cumprod)[timesteps].float().reshape(-1, 1, 1, 1)
            clean = self.prepare([PIL.fromarray(digits[0])])
            return (inputs - abar.sqrt() * clean) / (1 - abar).sqrt()

    from PIL import Image as PIL

    requests = [NoiseError(t=t) for t in (50, 500, 999)]
    found = observer(Oracle(), digits[:1]).observe(requests)
    assert max(found[r][0] for r in requests) < 1e-6


def test_constant_predictor_has_no_pia_and_no_secmi_error(digits):
    requests = with_requirements([ProximalError(t=200), StepError()])
    found = observer(Scaled(constant=0.7), digits[:4]).observe(requests)
    np.testing.assert_allclose(found[ProximalError(t=200)], 0, atol=1e-12)
    np.testing.assert_allclose(found[StepError()], 0, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(
    n=st.integers(1, 5), a=st.floats(-0.5, 0.9), b=st.floats(0, 1e-3), t=st.sampled_from([50, 200])
)
def test_pia_and_pian_equal_an_obvious_loop(n, a, b, t):
    images = np.random.default_rng(n).integers(0, 256, (n, 8, 8), dtype=np.uint8)
    predictor = Scaled(a=a, b=b)
    plain, unit = ProximalError(t=t), ProximalError(t=t, normalisation="unit")
    found = observer(predictor, images, batch_size=2).observe(with_requirements([plain, unit]))
    abar = predictor.alphas_cumprod[t]
    for i, image in enumerate(images):
        clean = image.astype(np.float64) / 127.5 - 1
        first = a * clean
        for request in (plain, unit):
            e0 = first
            if request is unit:
                e0 = first * np.sqrt(2 / np.pi) / max(np.abs(first).mean(), 1e-12)
                if np.abs(first).mean() > 1e-6:
                    assert np.abs(e0).mean() == pytest.approx(np.sqrt(2 / np.pi), abs=1e-6)
            e1 = a * (np.sqrt(abar) * clean + np.sqrt(1 - abar) * e0) + b * t
            expected = [np.mean(np.abs(e0 - e1) ** p) for p in NORMS]
            np.testing.assert_allclose(found[request][i], expected, rtol=2e-4, atol=1e-9)


def test_clean_norms_equal_the_definition(target, digits):
    found = observer(target, digits[:3]).observe([CleanNorms(t=5)])[CleanNorms(t=5)]
    from PIL import Image

    inputs = target.prepare([Image.fromarray(i).convert("RGB") for i in digits[:3]])
    predicted = target.predict(inputs, torch.full((3,), 5), None).double().numpy()
    for j, p in enumerate(NORMS):
        expected = (np.abs(predicted) ** p).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(found[:, j], expected, rtol=1e-5)


def test_secmi_equals_diffusers_own_ddim_schedulers(target, digits):
    """The chain against DDIMInverseScheduler (up) and DDIMScheduler (down) of diffusers."""
    from PIL import Image

    request = StepError(t=100, k=10)
    found = observer(target, digits[:3]).observe(with_requirements([request]))[request]
    common = {
        "num_train_timesteps": 1000,
        "clip_sample": False,
        "beta_start": 1e-4,
        "beta_end": 0.02,
    }
    down = DDIMScheduler(**common, set_alpha_to_one=False, timestep_spacing="leading")
    up = DDIMInverseScheduler(**common, set_alpha_to_one=False, timestep_spacing="leading")
    down.set_timesteps(100)
    up.set_timesteps(100)
    state = target.prepare([Image.fromarray(i).convert("RGB") for i in digits[:3]])

    def invert(state, s):
        predicted = target.predict(state, torch.full((3,), s), None)
        # DDIMInverseScheduler.step(t) moves from t - 10 to t with the prediction given
        return up.step(predicted, s + 10, state).prev_sample

    for s in range(0, 100, 10):
        state = invert(state, s)
    above = invert(state, 100)
    back = down.step(target.predict(above, torch.full((3,), 110), None), 110, above).prev_sample
    expected = (back - state).double().square().sum((1, 2, 3)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_fresh_noise_instead_of_the_ddim_step_would_differ(target, digits):
    """SecMI draws no noise at all: another seed changes nothing."""
    request = StepError()
    one = observer(target, digits[:4], seed=1).observe(with_requirements([request]))[request]
    two = observer(target, digits[:4], seed=2).observe(with_requirements([request]))[request]
    np.testing.assert_array_equal(one, two)


def test_variations_are_averaged_before_the_distance(target, digits):
    many = VariationDistance(t=200, k=100, n=4)
    one = VariationDistance(t=200, k=100, n=1)
    found = observer(target, digits[:6]).observe([many, one])
    assert (found[many][:, 1] < found[one][:, 1]).mean() > 0.5
    singles = []
    for j in range(4):
        o = observer(target, digits[:6])
        o._noise = lambda keys, j=j, o=o: ShardObserver._noise(o, [(i, t, j) for i, t, _ in keys])
        singles.append(o.observe([one])[one][:, 1])
    assert not np.allclose(np.mean(singles, axis=0), found[many][:, 1])
    np.testing.assert_allclose(singles[0], found[one][:, 1], rtol=1e-6)


def test_perfect_denoiser_returns_the_image(digits):
    class Perfect(Scaled):
        def predict(self, inputs, timesteps, conditioning):
            abar = torch.tensor(self.alphas_cumprod)[timesteps].float().reshape(-1, 1, 1, 1)
            return (inputs - abar.sqrt() * self.clean) / (1 - abar).sqrt()

    from PIL import Image

    predictor = Perfect()
    predictor.clean = predictor.prepare([Image.fromarray(digits[0])])
    request = VariationDistance(t=200, k=100, n=2)
    found = observer(predictor, digits[:1]).observe([request])[request][0]
    # The last step ends at index 0, where abar is .9999 and not 1: a trace of noise stays.
    assert found[0] > 0.98
    assert found[1] < 1e-3


def test_batch_size_and_order_change_nothing(target, digits):
    plan = make_plan((*BUNDLE, "pfami", "rediffuse"), target.capabilities)
    images, ids = digits[:9], [f"r{i}" for i in range(9)]
    whole = observer(target, images, batch_size=64, ids=ids).observe(plan.requests)
    small = observer(target, images, batch_size=2, ids=ids).observe(plan.requests)
    order = np.random.default_rng(1).permutation(9)
    mixed = observer(target, images[order], batch_size=5, ids=[ids[i] for i in order]).observe(
        plan.requests
    )
    for request in plan.requests:
        scale = np.ptp(whole[request], axis=0) + 1e-12
        assert np.max(np.abs(whole[request] - small[request]) / scale) < 1e-3, request
        assert np.max(np.abs(whole[request][order] - mixed[request]) / scale) < 1e-3, request


def test_one_pass_equals_each_attack_on_its_own(target, digits):
    together = make_plan(BUNDLE, target.capabilities)
    shared = observer(target, digits[:6]).observe(together.requests)
    for name in BUNDLE:
        alone = make_plan((name,), target.capabilities)
        found = observer(target, digits[:6]).observe(alone.requests)
        for request in alone.requests:
            np.testing.assert_allclose(found[request], shared[request], rtol=1e-4)


def test_crop_one_is_the_image_itself_and_smaller_crops_are_not(text_target, digits):
    same, cropped = NoiseError(t=100), NoiseError(t=100, crop=0.8)
    found = observer(text_target, digits[:4], captions=["a three"] * 4).observe([same, cropped])
    assert not np.allclose(found[same], found[cropped])


def test_noise_is_standard_normal_and_keyed():
    drawn = np.stack([noise(0, f"id{i}", 100, 0, (4, 8, 8)) for i in range(200)])
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02
    base = noise(0, "a", 1, 0, (4,))
    assert np.array_equal(base, noise(0, "a", 1, 0, (4,)))
    for other in (noise(1, "a", 1, 0, (4,)), noise(0, "b", 1, 0, (4,)), noise(0, "a", 2, 0, (4,))):
        assert not np.array_equal(base, other)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("caption", "one two three four five six"),
        ("null", ""),
        ("first", "three four five six"),
        ("middle", "one two five six"),
        ("last", "one two three four"),
    ],
)
def test_clipped_captions(condition, expected):
    assert condition_text("one two three four five six", condition) == expected


@pytest.mark.parametrize("condition", ["first", "middle", "last"])
@pytest.mark.parametrize("caption", ["one", "one two", "one two three four"])
def test_a_clipped_caption_always_loses_a_word(caption, condition):
    assert len(condition_text(caption, condition).split()) < len(caption.split())


def test_ssim_equals_a_loop_over_windows():
    """Against the textbook loop over windows."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, 9, 9)), rng.random((2, 1, 9, 9))
    found = ssim(torch.tensor(first), torch.tensor(second))
    for i in range(2):
        values = []
        for y in range(3):
            for x in range(3):
                a, b = first[i, 0, y : y + 7, x : x + 7], second[i, 0, y : y + 7, x : x + 7]
                cov = np.cov(a.ravel(), b.ravel())
                top = (2 * a.mean() * b.mean() + 1e-4) * (2 * cov[0, 1] + 9e-4)
                low = (a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (cov[0, 0] + cov[1, 1] + 9e-4)
                values.append(top / low)
        assert found[i] == pytest.approx(np.mean(values), abs=1e-9)
    np.testing.assert_allclose(ssim(torch.tensor(first), torch.tensor(first)), 1.0)
