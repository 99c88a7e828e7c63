"""Inference filters on the bundled pipeline: what changes nothing, what must change, and how."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.targets.sampling import PLAIN, Draw, Sampling, generate
from mitigations import anti_memorization_guidance as amg
from mitigations import attention_rescale, delayed_guidance, opposite_guidance, prompt_adjust
from mitigations._transition import TransitionFilter, first_minimum
from mitigations.anti_memorization_guidance import (
    AntiMemorization,
    AntiMemorizationConfig,
    projection,
    scales,
)
from mitigations.attention_rescale import AttentionRescale
from mitigations.deploy import draw
from mitigations.filters import Chain, Filter
from mitigations.prompt_adjust import PromptAdjust
from mitigations.random_tokens import RandomTokens, vocabulary
from mitigations.registry import mitigation

SAMPLING = Sampling(4, 7.5)


def draws_of(prompts):
    return [Draw(prompt, seed) for seed, prompt in enumerate(prompts)]


def images(target, prompts, guide, batch_size=8):
    return generate(target, draws_of(prompts), SAMPLING, batch_size=batch_size, guide=guide)


def index_filter(target, prompts, **changes) -> AntiMemorization:
    """An index of what the model itself draws, so that it is approached."""
    inputs = target.prepare(pictures_of(images(target, prompts, PLAIN)))
    config = AntiMemorizationConfig(**changes)
    matrix = projection(inputs[0].numel(), config.dims, 0)
    return AntiMemorization(config, 0, inputs.flatten(1) @ matrix, list(prompts))


def pictures_of(drawn):
    from PIL import Image

    return [Image.fromarray(one.squeeze()).convert("RGB") for one in drawn]


NOTHING = {
    "prompt_adjust": lambda target, prompts: PromptAdjust(math.inf),
    "random_tokens, p 0": lambda target, prompts: RandomTokens("words", 2, 0.1, 0.0, 0, ["cat"]),
    "random_tokens, n 0": lambda target, prompts: RandomTokens("repeat", 0, 0.1, 1.0, 0, []),
    "random_tokens, no noise": lambda target, prompts: RandomTokens("noise", 0, 0.0, 1.0, 0, []),
    "attention_rescale": lambda target, prompts: AttentionRescale("none", 1.0),
    "delayed_guidance": lambda target, prompts: TransitionFilter(0.0, "static", 10**6, 1.0),
    "delayed_guidance, dynamic": lambda target, prompts: TransitionFilter(0.0, "dynamic", 0, 0.0),
    "anti_memorization": lambda target, prompts: index_filter(target, prompts, threshold=1e9),
    "a chain of nothing": lambda target, prompts: Chain([Filter(), PromptAdjust(math.inf)]),
}
SOMETHING = {
    "prompt_adjust": lambda target, prompts: PromptAdjust(0.1, iterations=3),
    "random_tokens": lambda target, prompts: RandomTokens("numbers", 2, 0.1, 1.0, 0, []),
    "random_tokens, noise": lambda target, prompts: RandomTokens("noise", 2, 0.5, 1.0, 0, []),
    "attention_rescale": lambda target, prompts: AttentionRescale("end", 1.25),
    "delayed_guidance": lambda target, prompts: TransitionFilter(0.0, "static", 500, 1.0),
    "opposite_guidance": lambda target, prompts: TransitionFilter(-2.0, "static", 650, 1.0),
    "dynamic": lambda target, prompts: TransitionFilter(0.0, "dynamic", 0, 0.6),
    "anti_memorization": lambda target, prompts: index_filter(target, prompts),
    "two at once": lambda target, prompts: Chain(
        [RandomTokens("noise", 2, 0.5, 1.0, 0, []), TransitionFilter(0.0, "static", 500, 1.0)]
    ),
}


@pytest.mark.parametrize("name", NOTHING)
def test_settings_that_change_nothing_give_the_same_bits(target, prompts, name):
    plain = images(target, prompts, PLAIN)
    assert np.array_equal(images(target, prompts, NOTHING[name](target, prompts)), plain)


@pytest.mark.parametrize("name", SOMETHING)
def test_other_settings_change_images_and_leave_no_trace(target, prompts, name):
    """Without the filter the target draws as before, and has its own processors and weights."""
    plain = images(target, prompts, PLAIN)
    guide = SOMETHING[name](target, prompts)
    changed = images(target, prompts, guide)
    assert not np.array_equal(changed, plain)
    assert np.array_equal(images(target, prompts, guide), changed), "it can be repeated"
    assert np.array_equal(images(target, prompts, PLAIN), plain)


@pytest.mark.parametrize("name", SOMETHING)
def test_an_image_does_not_depend_on_its_company(target, prompts, name):
    together = images(target, prompts, SOMETHING[name](target, prompts))
    alone = images(target, prompts, SOMETHING[name](target, prompts), batch_size=2)
    assert np.abs(together.astype(int) - alone.astype(int)).max() <= 2


@pytest.mark.parametrize("name", [*SOMETHING, "plain"])
def test_a_stock_pipeline_draws_the_same_with_the_filter(target, prompts, name):
    from auditor.targets.sampling import ddim_scheduler

    guide = Filter() if name == "plain" else SOMETHING[name](target, prompts)
    pipeline = target.text_pipeline
    own, pipeline.scheduler = pipeline.scheduler, ddim_scheduler(target)
    pipeline.set_progress_bar_config(disable=True)
    try:
        theirs = draw(
            pipeline,
            guide,
            prompts,
            seeds=range(len(prompts)),
            num_inference_steps=SAMPLING.steps,
            guidance_scale=SAMPLING.guidance,
        )
    finally:
        pipeline.scheduler = own
    ours = images(target, prompts, guide)
    assert np.abs(theirs * 255 - ours).max() <= 2


# --- guidance with a transition -------------------------------------------------------------


@pytest.mark.parametrize(
    ("distances", "index"),
    [
        ([5, 4, 3, 4, 2], 2),
        ([5, 5, 4, 4, 6], 3),
        ([1, 2, 3], None),
        ([3, 2, 1], None),
        ([2, 3, 1, 2], 2),
        ([], None),
    ],
)
def test_the_first_local_minimum(distances, index):
    assert first_minimum(distances) == index


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_the_watch_finds_the_minimum_one_step_late(distances):
    guide = TransitionFilter(0.0, "dynamic", 0, 1.0)
    guide._number, guide._limit = 0, 10**6
    guide._last = guide._has_fallen = guide._has_passed = None
    passed = [bool(guide._watch(torch.tensor([float(d)]))[0]) for d in distances]
    minimum = first_minimum(distances)
    late = (np.arange(len(distances)) > minimum).tolist() if minimum is not None else None
    assert passed == (late or [False] * len(distances))


@pytest.mark.parametrize(("before", "expected"), [(0.0, 2.0), (1.0, 5.0), (-2.0, -4.0)])
def test_the_step_before_the_transition(before, expected):
    guide = TransitionFilter(before, "static", 500, 1.0)
    guide._scale = 7.5
    given_, without = torch.full((1, 1, 1, 1), 5.0), torch.full((1, 1, 1, 1), 2.0)
    assert guide.on_step(given_, without, given_, 501).item() == expected
    assert guide.on_step(given_, without, given_, 500).item() == 2 + 7.5 * 3


# --- attention ------------------------------------------------------------------------------


def test_masked_keys_have_no_weight_and_rows_sum_to_one(target, prompts):
    guide = AttentionRescale("padding", 1.25)
    guide._ends = attention_rescale.end_positions(target.tokenizer, prompts)
    logits = torch.randn(len(prompts), 2, 3, target.tokenizer.model_max_length)
    weights = guide.logits(logits).softmax(dim=-1)
    assert torch.allclose(weights.sum(-1), torch.ones(()))
    for row, end in zip(weights, guide._ends, strict=True):
        assert (row[..., end + 1 :] == 0).all()
        assert (row[..., : end + 1] > 0).all()


def test_the_start_token_is_raised_by_sign():
    logits = torch.tensor([[[[-2.0, 1.0]]]])
    for sign, expected in (("paper", -2.5), ("raise", -1.5)):
        guide = AttentionRescale("none", 1.25, sign)
        assert guide.logits(logits)[..., 0].item() == expected
        assert guide.logits(logits)[..., 1].item() == 1.0


# --- prompts --------------------------------------------------------------------------------


def test_adjusting_shrinks_the_first_step_and_keeps_the_start_token(target, prompts):
    from mitigations.filters import Drawing

    conditional, n = target.embed(prompts), len(prompts)
    empty = target.embed_nothing().rows(torch.zeros(n, dtype=torch.long))
    noise = torch.randn(n, *target.input_shape, generator=torch.Generator().manual_seed(0))
    drawing = Drawing(
        target, tuple(prompts), tuple(range(n)), 7.5, (980, 500), noise, conditional, empty
    )
    guide = PromptAdjust(0.01, iterations=8)
    adjusted = guide.begins(drawing)
    assert torch.equal(adjusted.hidden[:, 0], conditional.hidden[:, 0])
    assert not torch.equal(adjusted.hidden, conditional.hidden)
    assert guide.history[-1].mean() < guide.history[0].mean()
    assert all(p.grad is None for p in target.unet.parameters())


def test_the_target_is_a_quantile_of_the_reference(target, prompts):
    from mitigations.material import Material

    material = Material(target, reference=tuple(prompts), prompts=tuple(prompts[:1]))
    config = prompt_adjust.PromptAdjustConfig(quantile=1.0)
    highest = prompt_adjust.apply(material, config).filter["target"]
    lowest = prompt_adjust.apply(material, dataclasses.replace(config, quantile=0.0))
    assert 0 < lowest.filter["target"] < highest


def test_words_are_drawn_afresh_for_every_seed_and_can_be_repeated(target):
    words = vocabulary(target.text_pipeline, 0)
    guide = RandomTokens("words", 2, 0.1, 1.0, 0, words)
    rewritten = [guide.prompt("the digit seven", seed) for seed in range(20)]
    assert len(set(rewritten)) > 10
    assert rewritten == [guide.prompt("the digit seven", seed) for seed in range(20)]
    for text in rewritten:
        assert len(text.split()) == 5
        kept = [word for word in text.split() if word in ("the", "digit", "seven")]
        assert [w for w in kept if w in ("the", "digit", "seven")][:1]


# --- anti-memorization ----------------------------------------------------------------------


@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    st.floats(1, 10),
    st.floats(0, 20),
    st.floats(0, 20),
)
def test_the_scales_never_turn_the_guidance_around(sigma, s0, c1, c2):
    s1, s2 = scales(torch.tensor(sigma, dtype=torch.float64), s0, c1, c2)
    assert (s1 >= 0).all()
    assert (s2 >= 0).all()
    assert (s1 + s2 <= s0 - 1 + 1e-9).all()


@pytest.mark.parametrize("through", ["network", "estimate"])
def test_a_step_against_the_gradient_lowers_the_similarity(target, prompts, through):
    guide = index_filter(target, prompts, through=through)
    seen = []

    class Spy(AntiMemorization):
        def gradient(self, usual, x_t, t, rows):
            found = super().gradient(usual, x_t, t, rows)
            if through == "estimate":
                before = self.similarity(self._estimate(usual, x_t, t))[0]
                norm = found.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1).clamp_min(1e-12)
                moved = x_t - 1e-3 * found / norm
                seen.append((before, self.similarity(self._estimate(usual, moved, t))[0]))
            else:
                at = torch.full((len(x_t),), t)
                before = self.similarity(self._estimate(usual, x_t, t))[0]
                norm = found.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1).clamp_min(1e-12)
                moved = x_t - 1e-3 * found / norm
                again = self._predicted(moved, t, rows).detach()
                seen.append((before, self.similarity(self._estimate(again, moved, t))[0]))
                assert len(at) == len(before)
            return found

    spy = Spy(guide.config, guide.seed, guide.index, guide.captions)
    images(target, prompts, spy)
    assert seen
    for before, after in seen:
        assert (after < before + 1e-6).all()


def test_it_steers_away_from_what_is_indexed(target, prompts):
    plain = images(target, prompts, PLAIN).astype(float)
    guide = index_filter(target, prompts)
    steered = images(target, prompts, guide).astype(float)
    assert guide.n_steered > 0
    assert np.square(steered - plain).mean() > 0


@pytest.mark.parametrize(
    "name", ["prompt_adjust", "random_tokens", "attention_rescale", "delayed_guidance",
             "opposite_guidance", "anti_memorization_guidance"],
)  # fmt: skip
def test_every_filter_is_in_the_catalogue_and_says_what_it_does_not_do(name):
    module = mitigation(name)
    assert module.MANIFEST.name == name
    assert module.MANIFEST.guarantee.value == "inference filter"
    assert "weights are released" in module.MANIFEST.limits


def test_default_settings_scale_with_the_schedule(target):
    capabilities = dataclasses.replace(target.capabilities, n_timesteps=100)
    assert delayed_guidance.default_config(capabilities).t == 50
    assert opposite_guidance.default_config(capabilities).t == 65
    assert amg.default_config(capabilities) == AntiMemorizationConfig()
