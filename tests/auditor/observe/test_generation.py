"""Shards of generated images: stored, resumed, halved when memory runs out."""

from __future__ import annotations

import numpy as np
import pytest

import auditor.observe.generation as module
from attacks.errors import TargetError
from auditor.observe.cache import Cache
from auditor.observe.generation import GenerationExecutor
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw, Sampling

SAMPLING = Sampling(2, 1.0)
DRAWS = [Draw("", seed) for seed in range(5)]


@pytest.fixture
def target(pixel_pipeline):
    return open_target(str(pixel_pipeline), device="cpu")


def test_finished_shards_come_from_the_cache(target, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_DRAWS", 2)
    cache = Cache(tmp_path / "cache", target.key, 0)
    first = GenerationExecutor(target, 4, cache)
    shards = first.shards(DRAWS, SAMPLING)
    next(shards), next(shards)  # interrupted after two of three shards
    again = GenerationExecutor(target, 4, cache)
    images = again.images(DRAWS, SAMPLING)
    assert again.usage.n_calls == SAMPLING.calls * 1
    assert again.usage.n_calls_cached == SAMPLING.calls * 4
    assert np.array_equal(images, GenerationExecutor(target, 4).images(DRAWS, SAMPLING))


def test_other_settings_are_drawn_anew(target, tmp_path):
    cache = Cache(tmp_path / "cache", target.key, 0)
    GenerationExecutor(target, 4, cache).images(DRAWS, SAMPLING)
    other = GenerationExecutor(target, 4, cache)
    other.images(DRAWS, Sampling(3, 1.0))
    assert other.usage.n_calls == 3 * len(DRAWS)


def test_the_batch_halves_when_memory_runs_out(target, monkeypatch):
    real = module.generate

    def scarce(*args, batch_size, **kwargs):
        if batch_size > 2:
            raise RuntimeError("out of memory")
        return real(*args, batch_size=batch_size, **kwargs)

    monkeypatch.setattr(module, "generate", scarce)
    executor = GenerationExecutor(target, 8)
    assert len(executor.images(DRAWS, SAMPLING)) == len(DRAWS)
    assert executor.batch_size == 2


def test_a_single_image_that_does_not_fit_is_an_error(target, monkeypatch):
    def scarce(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(module, "generate", scarce)
    with pytest.raises(TargetError, match="single image"):
        GenerationExecutor(target, 2).images(DRAWS, SAMPLING)
