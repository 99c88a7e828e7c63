"""Labelled data of real digits in every format, and models that are trained on what was planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from auditor.cli import app

runner = CliRunner()


def run(*words):
    return runner.invoke(app, [str(word) for word in words])


def digit_frame(n: int = 1797) -> pd.DataFrame:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    frame = pd.DataFrame(x[:n].astype(int), columns=[f"p{i}" for i in range(64)])
    frame.insert(3, "label", y[:n])
    return frame


def write(frame: pd.DataFrame, path: Path) -> Path:
    """A table as CSV, TSV, Parquet or NPZ, by the suffix of the path."""
    if path.suffix == ".npz":
        x = frame.drop(columns="label").to_numpy().reshape(len(frame), 8, -1)
        np.savez(path, x=x, y=frame["label"].to_numpy(), names=np.array(["a", "b", "c"]))
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def read(path: Path) -> pd.DataFrame:
    """What `write` wrote."""
    if path.suffix == ".npz":
        with np.load(path) as held:
            x, y = held["x"], held["y"]
        frame = pd.DataFrame(x.reshape(len(x), -1), columns=[f"p{i}" for i in range(64)])
        frame.insert(3, "label", y.astype(int))
        return frame
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")


def rows_of(frame: pd.DataFrame) -> list[tuple[int, ...]]:
    """Rows with the label last, to be counted and compared."""
    ordered = [*sorted(c for c in frame.columns if c != "label"), "label"]
    return [tuple(map(int, row)) for row in frame[ordered].to_numpy()]


def dump_tree(frame: pd.DataFrame, path: Path) -> Path:
    """A decision tree that knows its training rows by heart."""
    import joblib
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(random_state=0)
    joblib.dump(model.fit(frame.drop(columns="label"), frame["label"]), path)
    return path


def logistic():
    """64 numbers to 10 logits, as a user's factory would build it."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
