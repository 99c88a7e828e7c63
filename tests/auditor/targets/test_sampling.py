"""Images that a target draws are those of diffusers' own pipelines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, StableDiffusionPipeline

from attacks.errors import UsageError
from auditor.targets.loading import open_target
from auditor.targets.sampling import (
    Draw,
    Sampling,
    Watcher,
    draws_key,
    generate,
    initial_noise,
    usual,
)


@pytest.fixture(scope="module")
def text_target(text_pipeline):
    return open_target(str(text_pipeline), device="cpu")


def _stock(folder, prompt, seed, steps, guidance):
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    drawn = pipeline(
        prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="np",
    )
    return drawn.images[0]


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_a_stock_pipeline_draws_the_same_image(text_target, text_pipeline, guidance):
    draws = [Draw("a digit seven", 3), Draw("a digit two", 4)]
    found = generate(text_target, draws, Sampling(5, guidance), batch_size=8)
    for image, (prompt, seed) in zip(found, draws, strict=True):
        stock = _stock(text_pipeline, prompt, seed, 5, guidance)
        np.testing.assert_allclose(image / 255, stock, atol=2 / 255)
    assert not np.array_equal(found[0], found[1])


def test_an_unconditional_stock_pipeline_draws_the_same_image(pixel_pipeline):
    target = open_target(str(pixel_pipeline), device="cpu")
    found = generate(target, [Draw("", 5)], usual(target, 7), batch_size=1)
    loaded = DDPMPipeline.from_pretrained(pixel_pipeline)
    stock = DDIMPipeline(loaded.unet, loaded.scheduler)
    stock.set_progress_bar_config(disable=True)
    drawn = stock(
        generator=torch.Generator("cpu").manual_seed(5), num_inference_steps=7, output_type="np"
    )
    np.testing.assert_allclose(found[0] / 255, drawn.images[0], atol=1 / 255)


def test_an_image_depends_on_prompt_and_seed_alone(text_target):
    draws = [Draw("one", 0), Draw("two", 0), Draw("one", 1), Draw("one", 0)]
    sampling = Sampling(4, 3.0)
    together = generate(text_target, draws, sampling, batch_size=8)
    alone = np.concatenate(
        [generate(text_target, [draw], sampling, batch_size=1) for draw in draws]
    )
    assert np.abs(together.astype(int) - alone).max() <= 1
    assert np.array_equal(together[0], together[3])
    assert not np.array_equal(together[0], together[2])


def test_calls_are_counted_and_steps_are_watched(text_target):
    class Seen(Watcher):
        def __init__(self):
            self.steps, self.rows = [], []

        def step(self, step):
            self.steps.append((step.number, step.t, step.unconditional is None))

        def ends(self, batch, clean):
            self.rows.append((len(batch.draws), len(clean)))

    seen, calls = Seen(), []
    sampling = Sampling(3, 2.0)
    draws = [Draw("one", seed) for seed in range(5)]
    generate(text_target, draws, sampling, batch_size=4, watcher=seen, on_calls=calls.append)
    assert sum(calls) == sampling.calls * len(draws) == 30
    assert max(calls) == 4
    assert seen.rows == [(2, 2), (2, 2), (1, 1)]
    assert [number for number, _, _ in seen.steps] == [0, 1, 2] * 3
    assert not any(is_plain for _, _, is_plain in seen.steps)


def test_the_first_step_does_not_depend_on_the_guidance(text_target):
    class First(Watcher):
        def step(self, step):
            if step.number == 0:
                self.found = step.conditional, step.unconditional

    found = []
    for guidance in (2.0, 9.0):
        first = First()
        generate(text_target, [Draw("one", 1)], Sampling(3, guidance), batch_size=2, watcher=first)
        found.append(first.found)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_noise_of_a_seed_is_that_of_torch():
    noise = initial_noise([7, 8], (1, 2, 3))
    again = torch.randn((1, 1, 2, 3), generator=torch.Generator().manual_seed(8))
    assert torch.equal(noise[1:], again)


def test_keys_tell_draws_apart():
    sampling = Sampling(5, 2.0)
    keys = {
        draws_key([Draw("a", 1)], sampling),
        draws_key([Draw("a", 2)], sampling),
        draws_key([Draw("b", 1)], sampling),
        draws_key([Draw("a", 1)], Sampling(6, 2.0)),
    }
    assert len(keys) == 4


def test_wrong_settings_are_refused(pixel_pipeline):
    for wrong in ({"steps": 0}, {"guidance": 0.5}, {"guidance": float("nan")}):
        with pytest.raises(UsageError):
            Sampling(**wrong)
    target = open_target(str(pixel_pipeline), device="cpu")
    with pytest.raises(UsageError, match="guidance"):
        generate(target, [Draw("", 0)], Sampling(2, 2.0), batch_size=1)


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_embeddings_in_place_of_prompts_are_those_of_a_stock_pipeline(
    text_target, text_pipeline, guidance
):
    generator = torch.Generator().manual_seed(0)
    like = text_target.embed(["", ""])
    free = like.replaced([torch.randn(like.hidden.shape, generator=generator)])
    found = generate(
        text_target,
        [Draw("", 3), Draw("", 4)],
        Sampling(5, guidance),
        batch_size=2,
        embeddings=free,
    )
    pipeline = StableDiffusionPipeline.from_pretrained(text_pipeline, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    for i, seed in enumerate((3, 4)):
        stock = pipeline(
            prompt_embeds=free.hidden[i : i + 1],
            negative_prompt_embeds=text_target.embed_nothing().hidden,
            num_inference_steps=5,
            guidance_scale=guidance,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
        ).images[0]
        np.testing.assert_allclose(found[i] / 255, stock, atol=2 / 255)


def test_the_embeddings_of_the_prompts_draw_what_the_prompts_draw(text_target):
    draws = [Draw("a digit seven", 3), Draw("a digit two", 4), Draw("a digit seven", 5)]
    embedded = text_target.embed([draw.prompt for draw in draws])
    by_prompt = generate(text_target, draws, Sampling(4, 2.0), batch_size=4)
    by_embedding = generate(text_target, draws, Sampling(4, 2.0), batch_size=4, embeddings=embedded)
    assert np.array_equal(by_prompt, by_embedding)
