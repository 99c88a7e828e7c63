"""Attacks without shadow models on Location-30 and Adult: real tables, real leaks.

    python benchmarks/location.py DATA

DATA holds `location/dataset_location.tgz` (privacytrustlab/datasets) and `adult/adult-train.csv`;
what is absent is skipped. A perceptron and a forest are trained on 1,000 distinct records of each,
and asked about these and 1,000 others.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from attacks.membership import entropy, gap, mentr, yeom
from attacks.observations import Classes, Logits, NoisyCorrectness, Observations
from attacks.statistics import auc, tpr_at_fpr

N = 1000
"""Members, and nonmembers."""


def scores_of(logits: NDArray[np.float64], classes: NDArray[np.integer]) -> dict[str, NDArray]:
    """(n,) scores of every attack that needs nothing but the answers."""
    right = (logits.argmax(axis=1) == classes)[:, None]
    found: Observations = {
        Classes(): classes,
        Logits(): logits[:, None],
        NoisyCorrectness(repetitions=0): right,
    }
    return {
        "gap": gap.score(found, gap.GapConfig()),
        "yeom": yeom.score(found, yeom.YeomConfig()),
        "entropy": entropy.score(found, entropy.EntropyConfig()),
        "mentr": mentr.score(found, mentr.MentrConfig()),
    }


def figures(scores: NDArray, is_member: NDArray[np.bool_]) -> tuple[float, float]:
    """AUC, and TPR at 1 % FPR."""
    members, nonmembers = scores[is_member], scores[~is_member]
    return auc(members, nonmembers).value, tpr_at_fpr(members, nonmembers, 0.01).value or 0.0


def location(folder: Path) -> tuple[pd.DataFrame, NDArray]:
    """446 binary columns, and 30 classes."""
    with tarfile.open(folder / "location" / "dataset_location.tgz") as archive:
        member = next(m for m in archive.getmembers() if m.isfile() and m.size > 1000)
        content = archive.extractfile(member)
        assert content is not None
        table = pd.read_csv(io.BytesIO(content.read()), header=None)
    return table.drop(columns=0), table[0].astype(int).to_numpy() - 1


def adult(folder: Path) -> tuple[pd.DataFrame, NDArray]:
    """Fourteen columns, and whether the income is above 50,000 dollars."""
    path = folder / "adult" / "adult-train.csv"
    table = pd.read_csv(path, header=None, skipinitialspace=True, na_values="?").fillna("missing")
    return table.drop(columns=14), (table[14] == ">50K").astype(int).to_numpy()


def measure(name: str, features: pd.DataFrame, classes: NDArray) -> None:
    """Train on 1,000 distinct records and print what each attack finds."""
    is_first = ~features.duplicated(keep=False).to_numpy()
    rows = np.random.default_rng(0).permutation(np.flatnonzero(is_first))[: 2 * N]
    x, y, is_member = features.iloc[rows], classes[rows], np.arange(2 * N) < N
    texts = [c for c in x.columns if not pd.api.types.is_numeric_dtype(x[c])]
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        remainder=StandardScaler(),
    )
    for model in (
        MLPClassifier((128,), alpha=0, max_iter=300, random_state=0),
        RandomForestClassifier(200, random_state=0),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = make_pipeline(encode, model).fit(x[:N], y[:N])
        p = np.full((2 * N, int(classes.max()) + 1), 0.0)
        p[:, fitted.classes_] = fitted.predict_proba(x)
        logits = np.log(np.clip(p, 1e-6, 1))
        right = logits.argmax(axis=1) == y
        print(
            f"\n{name}, {type(model).__name__}: accuracy {right[:N].mean():.3f} on members, "
            f"{right[N:].mean():.3f} on nonmembers"
        )
        for attack, scores in scores_of(logits, y).items():
            found = figures(scores, is_member)
            print(f"  {attack:8} AUC {found[0]:.3f}  TPR at 1 % FPR {found[1]:.3f}")


def main() -> None:
    """Measure what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    for name, read in (("location", location), ("adult", adult)):
        try:
            table = read(given.data)
        except FileNotFoundError:
            print(f"{name}: skipped, there is no such data in {given.data}")
            continue
        measure(name, *table)


if __name__ == "__main__":
    main()
