"""The catalogue: every entry is complete, foreign entries cannot break it, overrides are checked."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
import textwrap

import pytest

from attacks import registry
from attacks.configuration import configured
from attacks.errors import UsageError
from attacks.manifest import Access, Tier
from attacks.observations import calls_per_record
from tests.attacks.membership.synthetic import (
    CLASSIFIER,
    LARGE_TEXT,
    PIXEL,
    SMALL_TEXT,
    TARGETS,
    UNCAPTIONED,
)

NAMES = list(registry.BUILT_IN)
DIFFUSION, CLASSIFIERS = (
    [name for name in NAMES if registry.attack(name).MANIFEST.family == family]
    for family in ("diffusion", "classifier")
)
TAG = re.compile(r"edpb:\d+(\([ivx]+\))?|atlas:AML\.T\d{4}(\.\d{3})?|owasp:(ML|LLM)\d{2}")
REFERENCE = re.compile(r"arXiv:\d{4}\.\d{5}")
CALLS = {
    "loss": 10,
    "pia": 2,
    "pian": 2,
    "sima": 1,
    "secmi": 12,
    "secmi_nns": 12,
    "clid": 15,
    "clid_vec": 15,
    "pfami": 20,
    "rediffuse": 20,
    "yeom": 1,
    "gap": 1,
    "entropy": 1,
    "mentr": 1,
    "attack_p": 1,
    "calibrated_loss": 1,
    "attack_r": 1,
    "lira": 2,
    "lira_offline": 2,
    "rmia": 2,
    "shokri": 1,
    "quantile": 1,
    "label_only": 17,
    "trajectory": 1,
    "risk_score": 1,
    "boundary": 325,
    "wu_quality": 300,
    "wu_recon_pixel": 300,
    "wu_recon_semantic": 300,
    "wu_faithful": 300,
    "wu_combined": 300,
    "pang_i": 180,
    "pang_ii": 180,
    "pang_iii": 180,
    "pang_iv": 180,
    "gsa1": 10,
    "gsa2": 10,
    "cdi": 28,
}
WU = ["wu_quality", "wu_recon_pixel", "wu_recon_semantic", "wu_faithful", "wu_combined"]
GSA = ["gsa1", "gsa2"]
PANG = ["pang_i", "pang_ii", "pang_iii", "pang_iv"]
DRAWN = WU + PANG
GUESSING = ["pang_ii", "pang_iv"]
NEED_ENCODER = ["wu_recon_semantic", "wu_faithful", *PANG]
LABELS_ONLY = ["gap", "label_only", "boundary"]
NO_SHADOWS = ["yeom", "gap", "entropy", "mentr", "attack_p", "quantile", "label_only", "boundary"]


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_is_labelled_and_documented(name):
    module = registry.attack(name)
    m, text = module.MANIFEST, module.__doc__ or ""
    faults = []
    if m.name != name:
        faults.append(f"manifest says {m.name}")
    if not re.fullmatch(r"MIA\d{3}", m.id):
        faults.append(f"id {m.id}")
    faults += [f"tag {tag}" for tag in m.tags if not TAG.fullmatch(tag)]
    faults += [f"reference {r}" for r in m.references if not REFERENCE.fullmatch(r)]
    faults += [f"docstring does not cite {r}" for r in m.references if r not in text]
    faults += [f"no {p} in docstring" for p in ("Idea:", "Cost:", "Invalid when:") if p not in text]
    if "higher" not in text.lower() or "higher" not in (module.score.__doc__ or ""):
        faults.append("docstring does not say what higher means")
    if not (m.title and m.goal and m.tags and m.references and m.higher_is_member):
        faults.append("an empty field")
    assert not faults


def test_ids_are_unique_and_in_order():
    ids = [registry.attack(name).MANIFEST.id for name in NAMES]
    assert ids == [f"MIA{i:03d}" for i in range(1, len(NAMES) + 1)]


def test_tiers_access_and_fitted_flags():
    manifests = [found.MANIFEST for found in registry.all_attacks()]
    built_in = [m for m in manifests if m.name in registry.BUILT_IN]
    defaults = [m.name for m in built_in if m.tier is Tier.DEFAULT]
    on_diffusion = ["loss", "pia", "pian", "sima", "secmi"]
    on_classifiers = ["yeom", "mentr", "lira", "lira_offline", "rmia"]
    assert defaults == on_diffusion + on_classifiers
    assert on_diffusion == [a.MANIFEST.name for a in registry.default_attacks("diffusion")][:5]
    assert on_classifiers == [a.MANIFEST.name for a in registry.default_attacks("classifier")][:5]
    fitted = [m.name for m in built_in if m.fitted]
    assert fitted == ["secmi_nns", "clid", "clid_vec", "attack_p", "quantile", *DRAWN, *GSA, "cdi"]
    assert [m.name for m in built_in if m.access is Access.WHITE_BOX] == GSA
    black_box = [m.name for m in built_in if m.access is Access.BLACK_BOX]
    assert black_box == ["rediffuse", *LABELS_ONLY, *DRAWN]


@pytest.mark.parametrize("name", DIFFUSION)
@pytest.mark.parametrize("capabilities", [PIXEL, SMALL_TEXT, LARGE_TEXT, UNCAPTIONED])
def test_applicable_gives_none_or_a_reason(name, capabilities):
    reason = registry.attack(name).applicable(capabilities)
    needs_caption = name in ("clid", "clid_vec", *DRAWN)
    if needs_caption and not (capabilities.is_text_conditional and capabilities.has_captions):
        assert reason.startswith("needs ")
        assert "caption" in reason
    elif name in NEED_ENCODER and not capabilities.encoder:
        lacks = "caption_guess" if name in GUESSING else "needs an image-text encoder"
        assert lacks in reason
    else:
        assert reason is None


@pytest.mark.parametrize("name", NAMES)
def test_other_families_are_refused_by_name_before_anything_else(name):
    module = registry.attack(name)
    for family, capabilities in TARGETS.items():
        reason = module.applicable(capabilities)
        if family == module.MANIFEST.family:
            assert reason is None
        else:
            assert reason.endswith(f"this target is of the family '{family}'")


@pytest.mark.parametrize("name", DIFFUSION)
def test_tiny_schedules_are_refused_with_a_reason(name):
    reason = registry.attack(name).applicable(dataclasses.replace(LARGE_TEXT, n_timesteps=4))
    assert "got 4" in reason


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_that_lacks_something_is_refused_with_a_reason(name):
    applicable = registry.attack(name).applicable

    def reason(**lacking):
        return applicable(dataclasses.replace(CLASSIFIER, **lacking))

    # what a model gives comes first: shadow models would not help
    labels_alone = reason(gives="labels", n_shadows=0)
    assert labels_alone is None if name in LABELS_ONLY else "labels alone" in labels_alone
    assert reason(gives="probabilities") is None
    without_shadows = reason(n_shadows=0)
    if name in NO_SHADOWS:
        assert without_shadows is None
        assert reason(n_shadows=1) is None
    else:
        assert without_shadows == "needs shadow models; name a recipe with --train"
        assert "pair of shadow models" in reason(n_shadows=1)
    saved = reason(can_be_queried=False, n_queries=1)
    assert "saved predictions" in saved if name in ("label_only", "boundary") else saved is None
    no_student = reason(has_trajectory=False)
    assert "distilled" in no_student if name == "trajectory" else no_student is None


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("n_queries", [1, 2, 18])
def test_defaults_on_classifiers_are_frozen_hashable_and_within_what_can_be_asked(name, n_queries):
    capabilities = dataclasses.replace(CLASSIFIER, n_queries=n_queries)
    config = registry.configure(name, capabilities, {})
    assert hash(config) == hash(registry.configure(name, capabilities, {}))
    for field in dataclasses.fields(config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, 0)
    requests = registry.attack(name).requests(config)
    assert len(set(requests)) == len(requests) > 0
    assert max(getattr(request, "queries", 1) for request in requests) <= n_queries


def test_attacks_on_classifiers_share_their_calls():
    names = ("yeom", "entropy", "mentr", "attack_p", "calibrated_loss", "attack_r", "shokri")
    requests = [
        request
        for name in names
        for request in registry.attack(name).requests(
            registry.attack(name).default_config(CLASSIFIER)
        )
    ]
    assert calls_per_record(requests) == 1


@pytest.mark.parametrize("name", DIFFUSION)
@pytest.mark.parametrize("n_timesteps", [10, 50, 999, 1000, 4000])
@pytest.mark.parametrize("capabilities", [PIXEL, LARGE_TEXT, UNCAPTIONED])
def test_defaults_are_frozen_hashable_and_on_the_schedule(name, n_timesteps, capabilities):
    capabilities = dataclasses.replace(capabilities, n_timesteps=n_timesteps)
    config = registry.configure(name, capabilities, {})
    assert hash(config) == hash(registry.configure(name, capabilities, {}))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 0)
    requests = registry.attack(name).requests(config)
    assert len(set(requests)) == len(requests) > 0
    if not capabilities.has_captions and capabilities.is_text_conditional:
        assert getattr(config, "condition", "null") == "null"


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_documented(name):
    module = registry.attack(name)
    config = type(module.default_config(TARGETS[module.MANIFEST.family]))
    source = "".join(inspect.getsource(c) for c in config.__mro__ if c is not object)
    for field in dataclasses.fields(config):
        assert re.search(rf'\n    {field.name}: [^\n]*\n    """[A-Z]', source), field.name


@pytest.mark.parametrize(("name", "calls"), CALLS.items())
def test_calls_alone_are_those_of_the_card(name, calls):
    module = registry.attack(name)
    config = module.default_config(TARGETS[module.MANIFEST.family])
    assert calls_per_record(module.requests(config)) == calls


@pytest.mark.parametrize("capabilities", [PIXEL, SMALL_TEXT, LARGE_TEXT])
def test_the_default_bundle_makes_24_calls(capabilities):
    requests = [
        request
        for name in ("loss", "pia", "pian", "sima", "secmi")
        for request in registry.attack(name).requests(
            registry.attack(name).default_config(capabilities)
        )
    ]
    assert calls_per_record(requests) == 24


def test_listing_imports_no_heavy_library():
    program = """
        import sys
        from attacks import registry
        registry.names()
        heavy = {"torch", "sklearn", "scipy", "pandas", "diffusers", "attacks.membership"}
        assert not heavy & set(sys.modules), "the table alone imported something"
        registry.all_attacks()
        heavy.discard("attacks.membership")
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UsageError, match="unknown attack 'secmi_nn'; did you mean 'secmi_nns'"):
        registry.attack("secmi_nn")


# --- attacks of other packages -------------------------------------------------------------

GOOD = """
import numpy as np
from attacks.manifest import Access, Manifest
from attacks.membership.pia import applicable, default_config, requests, score
MANIFEST = Manifest(
    id="EXT001", name="{name}", title="Foreign", goal="g", access=Access.GREY_BOX, tags=(),
    references=(),
)
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A function that installs a package with one attack: (entry-point name, module source)."""

    def clear():
        registry._entry_points.cache_clear()
        registry._load.cache_clear()

    def install(name, source, module):
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{name} = {module}\n")
        clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield install
    monkeypatch.undo()
    clear()


def test_another_package_can_add_an_attack(foreign):
    foreign("shiny", GOOD.format(name="shiny"), "foreign_shiny")
    assert registry.attack("shiny").MANIFEST.id == "EXT001"
    assert registry.names()[-1] == "shiny"
    assert "shiny" in [found.MANIFEST.name for found in registry.default_attacks("diffusion")]
    assert registry.broken_attacks() == {}
    assert registry.configure("shiny", PIXEL, {"t": 50}).t == 50


@pytest.mark.parametrize(
    ("case", "source", "message"),
    [
        ("unimportable", "import no_such_library", r"ModuleNotFoundError.*no_such_library"),
        ("syntax", "def", "SyntaxError"),
        ("raising", "1 / 0", "ZeroDivisionError"),
        ("incomplete", "MANIFEST = 1", "lacks default_config, applicable, requests, score"),
        ("misnamed", GOOD.format(name="other"), "calls itself 'other'"),
        ("unlabelled", GOOD + "\nMANIFEST = None", "MANIFEST that is no"),
    ],
)
def test_a_broken_attack_raises_only_when_asked_for(foreign, case, source, message):
    foreign("broken", source, f"foreign_{case}")
    assert "broken" in registry.names()
    listed = [found.MANIFEST.name for found in registry.all_attacks()]
    assert [name for name in listed if name in registry.BUILT_IN] == NAMES
    assert "broken" not in listed
    reason = registry.broken_attacks()["broken"]
    assert re.search(message, reason)
    assert f"foreign_{case}" in reason
    with pytest.raises(UsageError, match=message):
        registry.attack("broken")


def test_a_built_in_name_cannot_be_taken_over(foreign):
    foreign("loss", GOOD.format(name="loss"), "foreign_loss")
    assert registry.attack("loss").MANIFEST.id == "MIA001"
    assert registry.names().count("loss") == 1
    assert "built-in" in registry.broken_attacks()["loss (package foreign_loss)"]


# --- a user's values ---------------------------------------------------------------------------


def test_overrides_replace_defaults_for_this_target():
    config = registry.configure("pia", LARGE_TEXT, {"p": 2})
    assert (config.t, config.p) == (500, 2)
    config = registry.configure("clid", LARGE_TEXT, {"alpha": 1, "conditions": ["null"]})
    assert config.alpha == 1.0
    assert isinstance(config.alpha, float)
    assert config.conditions == ("null",)
    assert registry.configure("clid", LARGE_TEXT, {"alpha": None}).alpha is None


@pytest.mark.parametrize(
    ("name", "overrides", "messages"),
    [
        ("pia", {"tt": 1}, ["attack 'pia': unknown option 'tt'"]),
        ("pian", {"normalization": "unit"}, ["did you mean 'normalisation'"]),
        ("pia", {"q": 1, "p": "4"}, ["'q'", "'p' must be a whole number, got '4'"]),
        ("pia", {"t": True}, ["whole number, got True"]),
        ("pia", {"p": 3}, ["p must be one of 1, 2, 4, 5, got 3"]),
        ("pia", {"t": 1000}, ["timestep 1000", "ends at 999"]),
        ("secmi", {"t": 990, "k": 10}, ["timestep 1000", "ends at 999"]),
        ("gsa1", {"timesteps": [5, 1000]}, ["timestep 1000", "ends at 999"]),
        ("wu_quality", {"steps": 1001}, ["1001 steps", "schedule has 1000"]),
        ("wu_quality", {"guidance": 0.5}, ["guidance must be at least 1, got 0.5"]),
        ("wu_recon_pixel", {"r": 0}, ["r must be above 0"]),
        ("wu_combined", {"parts": ["pixel"]}, ["unknown part 'pixel'", "'pixels'"]),
        ("loss", {"timesteps": 100}, ["a list, each item a whole number, got 100"]),
        ("loss", {"timesteps": [100, "200"]}, ["a list, each item a whole number"]),
        ("pfami", {"floor": "1e-6"}, ["a number, got '1e-6'", "1.0e-6"]),
        ("clid", {"alpha": "auto"}, ["a number or null, got 'auto'"]),
        ("clid", {"center": "mode"}, ["one of median, mean, got 'mode'"]),
        ("pia", {1: 2}, ["unknown option '1'"]),
    ],
)
def test_wrong_overrides_give_one_clear_error(name, overrides, messages):
    with pytest.raises(UsageError) as caught:
        registry.configure(name, LARGE_TEXT, overrides)
    for message in messages:
        assert message in str(caught.value)


def test_values_of_every_plain_type():
    @dataclasses.dataclass(frozen=True)
    class Config:
        flag: bool = False
        text: str = ""
        share: float = 0.5

    config = configured(Config(), {"flag": True, "text": "x", "share": 1})
    assert config == Config(True, "x", 1.0)
    with pytest.raises(UsageError, match="true or false, got 1"):
        configured(Config(), {"flag": 1})


def test_attribute_inference_is_listed_but_gives_no_score():
    manifest = {m.name: m for m in registry.manifests()}["attribute"]
    assert (manifest.id, manifest.name, manifest.kind) == ("ATT001", "attribute", "attribute")
    text = registry.other_attack("attribute").__doc__
    assert all(reference in text for reference in manifest.references)
    assert all(part in text for part in ("Idea:", "Cost:", "Invalid when:"))
    assert "attribute" not in registry.names("classifier")
    with pytest.raises(UsageError, match="name the column to guess with --sensitive"):
        registry.attack("attribute")


def test_what_gives_no_score_is_listed_with_its_kind():
    kinds = {m.name: m.kind for m in registry.manifests()}
    assert kinds["extraction"] == "extraction"
    assert kinds["text_magnitude"] == "detection"
    assert kinds["cdi"] == "dataset inference"
    with pytest.raises(UsageError, match="diffusion"):
        registry.attack("extraction")
    with pytest.raises(UsageError, match="did you mean 'extraction'"):
        registry.attack("extractoin")
    ids = [m.id for m in registry.manifests()]
    assert len(set(ids)) == len(ids)
