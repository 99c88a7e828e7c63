"""Scoring: what leaks is caught, what is private is not accused, what was changed is refused."""

from __future__ import annotations

import hashlib
import json
import shutil

import jsonschema
import numpy as np
import pytest
import yaml

from attacks.errors import DataError, PolicyError, UsageError
from attacks.statistics.one_run import audit_one_run
from auditor.canaries import Claim, load_claim, plant_canaries, score_canaries
from auditor.canaries.claim import judge
from auditor.canaries.folder import load_folder
from reports import canaries as schema
from tests.auditor.canaries.planting import digit_frame, dump_tree, read, run, write

WHOLE = {
    "epsilon": 2.0, "delta": 1e-5, "variant": "approximate", "unit": "record",
    "neighbouring": "add-remove", "accountant": "PRV", "sampling": "Poisson", "releases": 1,
    "trust_model": "central", "arithmetic": "float32, not secure",
}  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """700 canaries in digits, and a tree trained on the training file."""
    root = tmp_path_factory.mktemp("planted")
    plant_canaries(write(digit_frame(), root / "d.csv"), root / "p", n=700, seed=11)
    dump_tree(read(root / "p" / "train.csv"), root / "tree.joblib")
    return root


def score(root, out, *words, model="tree.joblib"):
    return run("canaries", "score", root / model, "--canaries", root / "p" / "canaries",
               "--out", out, "--allow-pickle", *words)  # fmt: skip


def test_a_model_that_knows_its_rows_contradicts_a_claim(planted, tmp_path):
    result = score(planted, tmp_path / "o", "--claimed-epsilon", 1, "--claimed-delta", 1e-5)
    assert result.exit_code == 1, result.output
    assert "contradicted:" in result.output
    assert "trade-off curve of the mechanism is assumed" in " ".join(result.output.split())
    record = schema.read(tmp_path / "o" / "canaries.json")
    assert record.verdict.outcome == "contradicted"
    assert 2 < record.one_run.lower < record.one_run.ceiling
    assert record.gaussian.lower > record.one_run.lower
    assert record.one_run.n_correct > 0.9 * record.one_run.n_guesses
    assert record.claim.missing == tuple(f for f in schema.FACTS if f not in ("epsilon", "delta"))
    page = (tmp_path / "o" / "canaries.md").read_text()
    assert "not evaluable by NIST SP 800-226" in page
    assert schema.bound(record.one_run.lower) in page
    edits = {"outcome": "not_contradicted", "exit_code": 0}
    for name, value in (("exit_code", 0), ("outcome", "reported"), (None, edits)):
        tree = json.loads((tmp_path / "o" / "canaries.json").read_text())
        tree["verdict"] |= value if name is None else {name: value}
        (tmp_path / "edited.json").write_text(json.dumps(tree))
        with pytest.raises(UsageError, match="edited.json contradicts itself"):
            schema.read(tmp_path / "edited.json")


def test_without_a_claim_the_bound_is_reported(planted, tmp_path):
    result = score(planted, tmp_path / "o")
    assert result.exit_code == 0
    assert result.output.startswith("reported:")
    assert schema.read(tmp_path / "o" / "canaries.json").claim is None


def test_a_model_of_other_data_shows_nothing_and_proves_nothing(planted, tmp_path):
    held = load_folder(planted / "p" / "canaries")
    train = read(planted / "p" / "train.csv")
    known = {tuple(row) for row in held.table.features.to_numpy()}
    is_canary = [tuple(row) in known for row in train.drop(columns="label").to_numpy()]
    model = dump_tree(train[~np.array(is_canary)], tmp_path / "other.joblib")
    shutil.copy(model, planted / "other.joblib")
    result = score(planted, tmp_path / "o", "--claimed-epsilon", 1, "--claimed-delta", 1e-5,
                   model="other.joblib")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "This is no proof of the claim" in " ".join(result.output.split())
    record = schema.read(tmp_path / "o" / "canaries.json")
    assert record.verdict.outcome == "not_contradicted"
    assert record.one_run.lower == record.gaussian.mu_lower == 0


def test_outputs_are_canonical_valid_hashed_and_say_nothing_private(planted, tmp_path):
    score(planted, tmp_path / "o")
    files = sorted(p.name for p in (tmp_path / "o").iterdir())
    assert files == ["SHA256SUMS", "canaries.json", "canaries.md"]
    for line in (tmp_path / "o" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "o" / name).read_bytes()).hexdigest() == digest
    text = (tmp_path / "o" / "canaries.json").read_text()
    assert text.isascii()
    published = json.loads(schema.SCHEMA_FILE.read_text())
    jsonschema.validate(json.loads(text), published)
    assert schema.schema_text() == schema.SCHEMA_FILE.read_text()
    secret = json.loads((planted / "p" / "canaries" / "plant.json").read_text())
    for output in (text, (tmp_path / "o" / "canaries.md").read_text()):
        for private in (secret["seed"], secret["coins"][:30], "d.csv", "p63", str(planted)):
            assert private not in output


def test_the_record_is_that_of_a_plain_computation(planted, tmp_path):
    import joblib

    record = score_canaries(
        planted / "tree.joblib", planted / "p" / "canaries", tmp_path / "o", allow_pickle=True
    ).record
    held = load_folder(planted / "p" / "canaries")
    tree = joblib.load(planted / "tree.joblib")
    found = tree.predict(held.table.features).astype(str) == held.table.labels
    expected = audit_one_run(found.astype(float), held.is_in, delta=1e-5)
    assert record.one_run.lower == expected.lower
    assert record.one_run.n_correct == expected.n_correct
    assert record.canaries.n_in == int(held.is_in.sum())


# --- tampering and wrong inputs -----------------------------------------------------------------


def flip_a_coin(folder):
    plant = json.loads((folder / "plant.json").read_text())
    plant["coins"] = ("0" if plant["coins"][0] == "1" else "1") + plant["coins"][1:]
    (folder / "plant.json").write_text(json.dumps(plant))


def flip_a_coin_and_hash(folder):
    flip_a_coin(folder)
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("plant.json", "canaries.parquet")
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


TAMPERING = {
    "a coin": (flip_a_coin, "hash has changed"),
    "a coin and its hash": (flip_a_coin_and_hash, "not those of its seed"),
    "the rows": (lambda f: (f / "canaries.parquet").write_bytes(b"x"), "hash has changed"),
    "rows gone": (lambda f: (f / "canaries.parquet").unlink(), "missing"),
    "no hashes": (lambda f: (f / "SHA256SUMS").unlink(), "holds no canaries"),
    "empty hashes": (lambda f: (f / "SHA256SUMS").write_text(""), "does not list"),
}


@pytest.mark.parametrize("case", TAMPERING)
def test_a_changed_folder_is_refused(planted, tmp_path, case):
    change, expected = TAMPERING[case]
    shutil.copytree(planted / "p" / "canaries", tmp_path / "canaries")
    change(tmp_path / "canaries")
    with pytest.raises(DataError, match=expected):
        score_canaries(
            planted / "tree.joblib", tmp_path / "canaries", tmp_path / "o", allow_pickle=True
        )
    assert not (tmp_path / "o").exists()


def test_wrong_models_and_options_exit_2(planted, tmp_path):
    narrow = dump_tree(digit_frame(200)[["p0", "p1", "label"]], planted / "narrow.joblib")
    few = digit_frame(400)
    dump_tree(few[few["label"] < 5], planted / "classes.joblib")
    out = tmp_path / "o"
    cases = {
        "columns that 'narrow.joblib' does not take": score(planted, out, model=narrow.name),
        "none of the model's": score(planted, out, model="classes.joblib"),
        "no model": score(planted, out, model="nothing.joblib"),
        "holds no canaries": run("canaries", "score", planted / "tree.joblib", "--canaries",
                                 planted, "--out", out, "--allow-pickle"),
        "differs from the claimed delta": score(planted, out, "--claimed-epsilon", 1,
                                                "--claimed-delta", 1e-5, "--delta", 1e-6),
        "delta must lie": score(planted, out, "--delta", 1),
        "'epsilon'": score(planted, out, "--claimed-epsilon", -1, "--claimed-delta", 1e-5),
        "pickle": run("canaries", "score", planted / "tree.joblib", "--canaries",
                      planted / "p" / "canaries", "--out", out),
    }  # fmt: skip
    for expected, result in cases.items():
        assert result.exit_code == 2, (expected, result.output)
        assert expected in " ".join(result.output.split()), result.output
        assert "Traceback" not in result.output
    assert not out.exists()


# --- claims -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audited(planted):
    """The verdict on a claim about the tree, or about a model that leaks nothing."""
    from attacks.statistics.f_dp import audit_one_run_gaussian

    held = load_folder(planted / "p" / "canaries")

    def verdict(claim, *, leaks, **changes):
        scores = held.is_in.astype(float) if leaks else np.zeros(700)
        at = 1e-5 if claim is None or claim.delta is None else claim.delta
        return judge(
            claim,
            audit_one_run(scores, held.is_in, delta=at),
            audit_one_run_gaussian(scores, held.is_in, delta=at),
            held.plant.model_copy(update=changes),
        )

    return verdict


@pytest.mark.parametrize(
    ("changes", "leaks", "outcome", "code"),
    [
        ({}, True, "contradicted", 1),
        ({}, False, "not_contradicted", 0),
        ({"accountant": None, "variant": None}, True, "contradicted", 1),
        ({"delta": None}, True, "not_evaluable", 3),
        ({"epsilon": None}, True, "not_evaluable", 3),
        ({"neighbouring": "replace"}, True, "not_evaluable", 3),
        ({"epsilon": 40.0}, True, "not_evaluable", 3),
        ({"unit": "user"}, True, "contradicted", 1),
    ],
)
def test_verdicts(audited, changes, leaks, outcome, code):
    found = audited(Claim(**(WHOLE | changes)), leaks=leaks)
    assert (found.outcome, found.exit_code) == (outcome, code)


def test_what_a_claim_lacks_is_named(audited):
    found = audited(Claim(epsilon=1), leaks=True)
    for words in ("delta", "variant", "unit of privacy", "accountant", "trust model"):
        assert words in found.sentence
    whole = audited(Claim(**WHOLE), leaks=False)
    assert not any("800-226" in note for note in whole.notes)
    assert any("at most" in n or "No outcome" in n for n in whole.notes)


def test_a_canary_is_no_user_where_users_have_several_records(audited):
    found = audited(Claim(**(WHOLE | {"unit": "user"})), leaks=True, has_subjects=True)
    assert found.outcome == "not_evaluable"
    assert audited(Claim(**WHOLE), leaks=True, has_subjects=True).outcome == "contradicted"


def test_a_claim_is_read_from_a_file_and_options(tmp_path):
    path = tmp_path / "claim.yaml"
    path.write_text(yaml.safe_dump(WHOLE))
    assert load_claim(path) == Claim(**WHOLE)
    assert load_claim(path).missing == ()
    assert load_claim(None) is None
    assert load_claim(None, epsilon=1.0).missing[0] == "delta"
    with pytest.raises(UsageError, match="differs"):
        load_claim(path, epsilon=3.0)
    path.write_text("epsilon: 1\nvariant: pure\n")
    assert load_claim(path).delta == 0
    for text, expected in (
        ("epsilon: 1\nacountant: x\n", "did you mean 'accountant'"),
        ("epsilon: .nan\n", "epsilon"),
        ("epsilon: 1\nvariant: strong\n", "variant"),
        ("variant: pure\nepsilon: 1\ndelta: 0.1\n", "pure claim"),
        ("[", "not valid YAML"),
        ("just words", "states no facts"),
    ):
        path.write_text(text)
        with pytest.raises((PolicyError, UsageError), match=expected):
            load_claim(path)


def test_a_hostile_claim_cannot_write_into_the_page(planted, tmp_path):
    claim = Claim(**(WHOLE | {"accountant": "x | y\n# <b>\x1b[31m `z`"}))
    audit = score_canaries(
        planted / "tree.joblib",
        planted / "p" / "canaries",
        tmp_path / "o",
        claim=claim,
        allow_pickle=True,
    )
    page = audit.paths["md"].read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("| accountant")]
    assert line.count(" | ") == 1
    assert "\x1b" not in page
    assert "<b>" not in page.replace(r"\<b\>", "")


# --- oracles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 2.0])
def test_randomised_response_is_accused_in_few_runs(epsilon):
    """The mechanism that publishes each coin truly with odds e^epsilon: exactly epsilon-DP."""
    from auditor.canaries.draw import flip_coins, new_seed

    rng = np.random.default_rng(5)
    n_above, runs = 0, 60
    for seed in range(runs):
        coins = flip_coins(new_seed(seed), 500)
        is_true = rng.random(500) < np.exp(epsilon) / (1 + np.exp(epsilon))
        answers = np.where(is_true, coins, ~coins) + rng.random(500) / 2
        n_above += audit_one_run(answers, coins, delta=0).lower > epsilon
    assert n_above <= 7  # 5 % of 60, plus three standard errors and a little


def private_weights(train, epsilon, path):
    """Logistic regression by DP-SGD; returns the epsilon that Opacus accounts."""
    import torch
    from opacus import PrivacyEngine
    from safetensors.torch import save_file

    from tests.auditor.canaries.planting import logistic

    torch.manual_seed(0)
    x = torch.tensor(train.drop(columns="label").to_numpy(), dtype=torch.float32)
    rows = torch.utils.data.TensorDataset(x, torch.tensor(train["label"].to_numpy()))
    module = logistic()
    engine = PrivacyEngine(accountant="prv")
    model, optimizer, loader = engine.make_private_with_epsilon(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.5),
        data_loader=torch.utils.data.DataLoader(rows, batch_size=128),
        target_epsilon=epsilon,
        target_delta=1e-5,
        epochs=10,
        max_grad_norm=1.0,
    )
    for _ in range(10):
        for features, labels in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(features), labels).backward()
            optimizer.step()
    save_file(module.state_dict(), path)
    with torch.no_grad():
        accuracy = (module(x).argmax(1) == rows.tensors[1]).float().mean()
    return engine.get_epsilon(1e-5), float(accuracy)


@pytest.mark.parametrize("kind", ["mislabelled", "random"])
@pytest.mark.filterwarnings("ignore")
def test_dp_sgd_is_not_contradicted(tmp_path, kind):
    pytest.importorskip("opacus")
    data = write(digit_frame(), tmp_path / "d.npz")
    done = plant_canaries(data, tmp_path / "p", n=400, kind=kind, seed=2)
    spent, accuracy = private_weights(read(done.train), 2.0, tmp_path / "m.safetensors")
    assert 1.5 < spent <= 2.0
    assert accuracy > 0.4  # it learnt: a model of noise alone would be right in a tenth
    result = run("canaries", "score", tmp_path / "m.safetensors", "--canaries", done.canaries,
                 "--out", tmp_path / "o", "--claimed-epsilon", spent, "--claimed-delta", 1e-5,
                 "--factory", "tests.auditor.canaries.planting:logistic")  # fmt: skip
    assert result.exit_code == 0, result.output
    record = schema.read(tmp_path / "o" / "canaries.json")
    assert record.verdict.outcome == "not_contradicted"
    assert record.one_run.lower <= spent < record.one_run.ceiling


def test_the_examples_of_the_help_name_real_options():
    for verb in ("plant", "score"):
        text = run("canaries", verb, "--help").output
        assert f"Example: auditor canaries {verb}" in " ".join(text.split())
