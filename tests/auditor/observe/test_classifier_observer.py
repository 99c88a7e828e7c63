"""What is stored about records is found again only where the model would answer the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attacks.manifest import ClassifierCapabilities
from attacks.observations import Classes, Logits
from auditor.observe.cache import Cache
from auditor.observe.classifier import ClassifierObserver
from auditor.observe.usage import Usage
from auditor.records import load_row_splits
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
