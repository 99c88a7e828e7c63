"""SecMI on a pixel model that memorized repeated digits: a slow reference, and what it measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from attacks.observations import NoiseError, StepError, with_requirements
from auditor.observe.diffusion import ShardObserver
from auditor.targets.loading import open_target
from tests.conftest import pixel_unet, save_pixel_pipeline

N_REPEATED = 6


@pytest.fixture(scope="module")
def memorizing(tmp_path_factory, digits):
    """A DDPM trained on six digits over and over, among a hundred others seen rarely."""
    torch.manual_seed(0)
    unet = pixel_unet()
    images = torch.from_numpy(digits[:106]).float()[:, None] / 127.5 - 1
    abar = torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))).float()
    optimiser = torch.optim.AdamW(unet.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        rows = torch.cat(
            [torch.arange(N_REPEATED).repeat(4), torch.randint(106, (8,), generator=generator)]
        )
        t = torch.randint(1000, (len(rows),), generator=generator)
        noise = torch.randn((len(rows), 1, 8, 8), generator=generator)
        at = abar[t].reshape(-1, 1, 1, 1)
        noised = at.sqrt() * images[rows] + (1 - at).sqrt() * noise
        loss = torch.nn.functional.mse_loss(unet(noised, t).sample, noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    folder = save_pixel_pipeline(tmp_path_factory.mktemp("memorizing") / "model", unet=unet)
    return open_target(str(folder), device="cpu")


def observe(target, images, *requests):
    observer = ShardObserver(
        predictor=target,
        images=[Image.fromarray(image) for image in images],
        captions=[""] * len(images),
        ids=[f"id{i}" for i in range(len(images))],
        batch_size=16,
        seed=0,
    )
    return observer.observe(with_requirements(requests))


def prediction(target, state, t):
    """The network alone on one record, in float64 outside it."""
    given = torch.from_numpy(state).float()[None, None]
    with torch.no_grad():
        return target.unet(given, torch.tensor([t])).sample[0, 0].double().numpy()


def step(state, eps, abar, s, u):
    """The card's DDIM map from s to u: first the predicted clean image, then the other level."""
    clean = (state - np.sqrt(1 - abar[s]) * eps) / np.sqrt(abar[s])
    return np.sqrt(abar[u]) * clean + np.sqrt(1 - abar[u]) * eps


def slow_secmi(target, image, t, k):
    """Inversion to t, one step up, one step down, one record at a time."""
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    state = image.astype(np.float64) / 127.5 - 1
    for s in range(0, t, k):
        state = step(state, prediction(target, state, s), abar, s, s + k)
    at_t = prediction(target, state, t)
    above = step(state, at_t, abar, t, t + k)
    at_u = prediction(target, above, t + k)
    back = step(above, at_u, abar, t + k, t)
    return ((back - state) ** 2).sum(), ((at_u - at_t) ** 2).sum()


@pytest.mark.parametrize(("t", "k"), [(100, 10), (60, 20)])
def test_equals_the_equations_step_by_step_on_trained_weights(memorizing, digits, t, k):
    chosen = np.concatenate([digits[:N_REPEATED], digits[200:206]])
    found = observe(memorizing, chosen, StepError(t=t, k=k))[StepError(t=t, k=k)]
    expected = [slow_secmi(memorizing, image, t, k)[0] for image in chosen]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_the_error_is_the_change_of_the_prediction_over_one_step(memorizing, digits):
    """The clean image cancels: a wrong but constant prediction has no t-error at all."""
    t, k = 100, 10
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    factor = np.sqrt(1 - abar[t]) - np.sqrt(abar[t] / abar[t + k]) * np.sqrt(1 - abar[t + k])
    for image in (digits[0], digits[300]):
        error, change = slow_secmi(memorizing, image, t, k)
        assert error == pytest.approx(factor**2 * change, rel=1e-6)


def test_the_model_memorized_and_its_inverted_states_carry_too_little_noise(memorizing, digits):
    """Why the orientation of the score is no law: the record itself moves the starting point."""
    others = digits[200:260]
    images = np.concatenate([digits[:N_REPEATED], others])
    is_repeated = np.arange(len(images)) < N_REPEATED
    found = observe(memorizing, images, NoiseError(t=100), NoiseError(t=200))
    loss = found[NoiseError(t=100)] + found[NoiseError(t=200)]
    assert roc_auc_score(is_repeated, -loss) > 0.9
    predicted = [prediction(memorizing, i.astype(float) / 127.5 - 1, 0) for i in images]
    power = np.square(predicted).mean(axis=(1, 2))
    assert power.max() < 1  # of the noise that a timestep stands for
    assert np.median(power[is_repeated]) < np.median(power[~is_repeated])
