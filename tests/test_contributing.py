"""The worked example of CONTRIBUTING.md runs as printed, and the docs list what there is."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import attacks.membership
from attacks import registry
from attacks.manifest import ClassifierCapabilities
from attacks.observations import calls_per_record
from tests.attacks import test_registry as for_all
from tests.attacks.membership import test_every_attack as for_scores
from tests.attacks.membership.synthetic import LARGE_TEXT, PIXEL, SMALL_TEXT, TARGETS

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")


def blocks():
    """Path in the first line of a code block -> its source."""
    found = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", GUIDE, flags=re.DOTALL)
    return dict(found)


def imported(name, path, source, monkeypatch):
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The attack of the guide, registered as it says."""
    source = blocks()["attacks/membership/caption_gain.py"]
    name = "attacks.membership.caption_gain"
    module = imported(name, tmp_path / "caption_gain.py", source, monkeypatch)
    monkeypatch.setattr(attacks.membership, "caption_gain", module, raising=False)
    key, target = re.search(r'\n    "(\w+)": "([\w.]+)",\n```', GUIDE).groups()
    monkeypatch.setitem(registry.BUILT_IN, key, target)
    return module


def test_the_example_is_found_in_the_registry(example):
    assert registry.attack("caption_gain") is example
    assert example.applicable(LARGE_TEXT) is None
    assert "text-conditional" in example.applicable(PIXEL)
    config = registry.configure("caption_gain", LARGE_TEXT, {"t": 460})
    assert calls_per_record(example.requests(config)) == 2


def test_the_example_passes_what_every_attack_must(example):
    for_all.test_every_attack_is_labelled_and_documented("caption_gain")
    for_all.test_other_families_are_refused_by_name_before_anything_else("caption_gain")
    for_all.test_tiny_schedules_are_refused_with_a_reason("caption_gain")
    for_all.test_defaults_are_frozen_hashable_and_on_the_schedule("caption_gain", 50, SMALL_TEXT)
    for_all.test_every_option_is_documented("caption_gain")
    for_scores.test_planted_records_are_on_top(example)
    for_scores.test_without_memorisation_the_scores_say_nothing(example)
    for_scores.test_permuting_records_permutes_scores(example)
    for_scores.test_an_unfitted_attack_ignores_the_calibration_part(example)
    for_scores.test_few_records(example, 1)


def test_the_example_s_own_test_passes(example, tmp_path, monkeypatch):
    source = blocks()["tests/attacks/membership/test_caption_gain.py"]
    module = imported("test_caption_gain", tmp_path / "test_caption_gain.py", source, monkeypatch)
    tests = [value for key, value in vars(module).items() if key.startswith("test_")]
    assert len(tests) == 2
    for run in tests:
        run()
    monkeypatch.setattr(example, "score", lambda *arguments: np.zeros(1))
    with pytest.raises(AssertionError):
        tests[0]()


def test_the_docs_table_matches_the_manifests():
    rows = re.findall(
        r"^\| (MIA\d{3}) \| \[`(\w+)`\]\(#(\w+)\) \| (\S+) \| (\d+) \|(.*)", PAGE, re.M
    )
    assert [row[1] for row in rows] == list(registry.BUILT_IN)
    for rule_id, name, anchor, access, calls, rest in rows:
        module = registry.attack(name)
        assert (rule_id, anchor) == (module.MANIFEST.id, name)
        assert access == module.MANIFEST.access.value
        target = TARGETS[module.MANIFEST.family]
        if isinstance(target, ClassifierCapabilities):
            target = dataclasses.replace(target, n_queries=1)  # as every classifier has today
        config = module.default_config(target)
        own = calls_per_record(module.requests(config))
        assert int(calls) == own, name
        cited = re.findall(r"\[(arXiv:[\d.]+)\]\(https://arxiv\.org/abs/([\d.]+)\)", rest)
        assert tuple(text for text, _ in cited) == module.MANIFEST.references
        assert all(text == f"arXiv:{number}" for text, number in cited)
        assert f"\n### {name}\n" in PAGE


def test_the_docs_count_shared_calls_right():
    modules = [registry.attack(name) for name in registry.BUILT_IN]
    own = [
        m
        for m in modules
        if m.MANIFEST.tier.value == "default" and m.MANIFEST.family == "diffusion"
    ]
    requests = [m.requests(m.default_config(SMALL_TEXT)) for m in own]
    together = calls_per_record([r for group in requests for r in group])
    alone = sum(calls_per_record(group) for group in requests)
    assert f"need {together} together, not {alone}" in PAGE


def test_the_settings_in_the_docs_are_accepted():
    (source,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    options = yaml.safe_load(source)["attack_options"]
    configured = {name: registry.configure(name, PIXEL, options[name]) for name in options}
    assert configured["loss"].repetitions == 4
    assert (configured["pia"].t, configured["pia"].p) == (300, 2)


def test_fitted_attacks_are_named_in_the_docs():
    fitted = [n for n in registry.BUILT_IN if registry.attack(n).MANIFEST.fitted]
    *first, last = (f"`{name}`" for name in fitted)
    assert f"{', '.join(first)} and {last} are *fitted*" in PAGE
