"""What is stored about records is found again only where the model would answer the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attacks.manifest import ClassifierCapabilities
from attacks.membership import _classifier
from attacks.observations import (
    Classes,
    Floor,
    Logits,
    NoisyCorrectness,
    ShadowConfidence,
    ShadowKeep,
)
from auditor.observe.cache import Cache
from auditor.observe.classifier import ClassifierObserver
from auditor.observe.usage import Usage
from auditor.records import load_row_splits
from auditor.shadows import ShadowSet
from auditor.targets.classifier import open_predictions


class FirstColumn:
    """A model of plain numbers, which goes by the order of the columns."""

    capabilities = ClassifierCapabilities("classifier", "FirstColumn", 2)

    def logits(self, features):
        first = np.asarray(features, dtype=float)[:, 0]
        return np.stack([np.zeros_like(first), first], axis=1)


def splits_of(folder: Path, columns: list[str]):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(20, 2)), columns=["a", "b"]).assign(label=[0, 1] * 10)
    for name, rows in (("m", frame[:10]), ("n", frame[10:])):
        rows[[*columns, "label"]].to_csv(folder / f"{name}.csv", index=False)
    return load_row_splits(folder / "m.csv", folder / "n.csv")


def test_another_order_of_the_columns_is_asked_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", "0" * 64, 0)
    usages = []
    for columns in (["a", "b"], ["b", "a"], ["a", "b"]):
        splits = splits_of(tmp_path, columns)
        usages.append(Usage())
        observer = ClassifierObserver(
            target=FirstColumn(),
            table=splits.table,
            classes=splits.table.labels.astype(int),
            shadows=None,
            seed=0,
            cache=cache,
            usage=usages[-1],
        )
        found = observer.observe(splits.members, [Classes()])[Logits()][:, 0, 1]
        rows = splits.table.features.iloc[[r.position for r in splits.members]]
        assert found == pytest.approx(rows[columns[0]].to_numpy())
    assert [usage.n_calls for usage in usages] == [10, 10, 0]


def test_noisy_copies_are_asked_again_where_the_rest_of_the_table_differs(tmp_path: Path) -> None:
    """Noise is measured in the spread of a column over the whole table."""
    rng = np.random.default_rng(0)
    own = pd.DataFrame(rng.normal(size=(10, 2)), columns=["a", "b"]).assign(label=[0, 1] * 5)
    own.to_csv(tmp_path / "m.csv", index=False)
    cache, found, calls = Cache(tmp_path / "cache", "0" * 64, 0), [], []
    for spread in (1.0, 50.0, 1.0):
        other = pd.DataFrame(spread * np.arange(20.0).reshape(10, 2), columns=["a", "b"])
        other.assign(label=[0, 1] * 5).to_csv(tmp_path / "n.csv", index=False)
        splits = load_row_splits(tmp_path / "m.csv", tmp_path / "n.csv")
        usage = Usage()
        observer = ClassifierObserver(
            target=FirstColumn(),
            table=splits.table,
            classes=splits.table.labels.astype(int),
            shadows=None,
            seed=0,
            cache=cache,
            usage=usage,
        )
        request = NoisyCorrectness(repetitions=8, sigma=1.0)
        found.append(observer.observe(splits.members, [request])[request])
        calls.append(usage.n_calls)
    assert (found[0] != found[1]).any()
    assert (found[0] == found[2]).all()
    assert calls == [10 + 90, 90, 0]


def test_predictions_in_two_files_of_one_name_both_count(tmp_path: Path) -> None:
    keys = set()
    for value in (0.2, 0.3):
        for side in ("members", "nonmembers"):
            (tmp_path / side).mkdir(exist_ok=True)
            p = np.full(20, value if side == "members" else 0.4)
            label = [0, 1] * 10
            answers = pd.DataFrame({"p_0": p, "p_1": 1 - p, "label": label})
            answers.to_csv(tmp_path / side / "p.csv", index=False)
        splits = load_row_splits(
            tmp_path / "members/p.csv", tmp_path / "nonmembers/p.csv", predictions="columns"
        )
        keys.add(open_predictions(splits.table).key)
    assert len(keys) == 2


def test_target_and_shadow_models_are_clipped_by_one_measure(tmp_path: Path) -> None:
    """A model without a vote for the class, and one with all votes, of three classes."""
    splits = splits_of(tmp_path, ["a", "b"])
    votes = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    ids = tuple(record.id for record in (*splits.members, *splits.nonmembers))
    logits = np.log(np.maximum(votes, 1e-30))

    class Forest:
        capabilities = ClassifierCapabilities("classifier", "Forest", 3, gives="probabilities")

        def logits(self, features):
            return np.repeat(logits[:1], len(features), axis=0)

    shadows = ShadowSet(
        keep=np.repeat([[True], [False]], len(ids), axis=1),
        logits=np.repeat(logits[:, None].astype(np.float32), len(ids), axis=1),
        record_ids=ids,
        seeds=(0, 1),
        seconds=0.0,
        n_reused=0,
        clipped=1.0,
        notes=(),
    )
    observer = ClassifierObserver(
        target=Forest(),
        table=splits.table,
        classes=np.zeros(len(ids), dtype=np.int64),
        shadows=shadows,
        seed=0,
        cache=Cache(tmp_path / "cache", "0" * 64, 0),
        usage=Usage(),
        eps=0.05,
    )
    found = observer.observe(splits.members, [Floor(), ShadowConfidence(), ShadowKeep()])
    limit = np.log(0.95 / 0.05)
    assert _classifier.phi(found) == pytest.approx(-limit)
    shadow_phi = _classifier.shadow_phi(found).values
    assert shadow_phi[:, 0] == pytest.approx(-limit)
    assert shadow_phi[:, 1] == pytest.approx(limit)
    # what is stored is the answer itself
    assert found[Logits()][:, 0] == pytest.approx(np.tile(logits[0], (10, 1)))
