"""Planting: canaries by fair coins, and the file to train on; before the model is trained."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attacks.errors import DataError, UsageError, did_you_mean
from attacks.statistics.epsilon import Confusion, epsilon_lower_bound
from attacks.statistics.one_run import guess_grid, one_run_epsilon
from auditor import __version__
from auditor.canaries.data import LabelledData, TrainingRows, read_labelled
from auditor.canaries.draw import (
    KINDS,
    Draw,
    Kind,
    draw_mislabelled,
    draw_random,
    flip_coins,
    generator,
    new_seed,
)
from auditor.canaries.folder import SCHEMA, Plant, folder_files
from auditor.records.model import ReadOptions
from auditor.records.sources import printable

DELTA = 1e-5
"""Delta of a bound where nobody claims another."""
ALPHA = 0.05
"""Error probability of every bound."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The largest epsilon that m canaries can prove, without a single wrong guess."""

    one_run: float
    """From one training with m canaries."""
    classical: float
    """From m trainings with one canary each, half of them in: for comparison."""
    delta: float
    alpha: float


@dataclass(frozen=True, slots=True)
class Planting:
    """What was planted, without the secrets."""

    train: Path
    """The file to train on."""
    canaries: Path
    """The secret folder, mode 700."""
    kind: Kind
    n_canaries: int
    n_in: int
    """Canaries in the training file."""
    n_train: int
    """Rows of the training file, canaries included."""
    n_taken_out: int
    """Rows of the data that are not in the training file."""
    ceilings: Ceilings
    commitment: str
    """Hash to publish before training: it shows later that the coins were fixed, not which."""


def ceilings(n: int, *, delta: float = DELTA, alpha: float = ALPHA) -> Ceilings:
    """What n canaries could prove at best, at confidence 1 - alpha."""
    pairs = guess_grid(n)
    level = alpha / len(pairs)
    one_run = max(one_run_epsilon(n, sum(p), sum(p), delta=delta, alpha=level) for p in pairs)
    half = max(n // 2, 1)
    independent = epsilon_lower_bound(Confusion(half, 0, 0, half), delta=delta, alpha=alpha)
    return Ceilings(one_run, independent.ceiling, delta, alpha)


def plant_canaries(
    data: Path,
    out: Path,
    *,
    n: int = 1000,
    kind: str = "mislabelled",
    seed: int | None = None,
    options: ReadOptions | None = None,
) -> Planting:
    """Write train.* to train on and canaries/ to keep secret into a new folder (mode 700).

    kind: "mislabelled" (copies of rows that leave the data, with a wrong class) or "random" (every
        cell drawn from its own column, with a random class).
    seed: secret; None draws it from the operating system.
    Raises DataError or UsageError if `out` holds anything, the data are unreadable, or n is too
    large for them.
    """
    data, out = Path(data), Path(out)
    if kind not in KINDS:
        raise UsageError(f"unknown kind of canaries '{kind}'; {did_you_mean(kind, KINDS)}")
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{printable(out)} exists and is never overwritten; name a new folder")
    secret = new_seed(seed)
    rows = read_labelled(data, options or ReadOptions())
    drawn = _draw(rows, kind, n, secret)
    coins = flip_coins(secret, n)
    order = _order(len(rows.labels), drawn, coins, generator(secret, "order"))
    train = rows.training_file(drawn, order)
    canaries = rows.canaries(drawn)
    plant = Plant(
        schema=SCHEMA,
        version=__version__,
        kind="random" if kind == "random" else "mislabelled",
        n=n,
        seed=secret.hex(),
        seed_source="operating system" if seed is None else "given",
        coins="".join("1" if coin else "0" for coin in coins),
        data_sha256=rows.sha256,
        n_rows=len(rows.labels),
        train_sha256=hashlib.sha256(train).hexdigest(),
        n_train=len(order.rows),
        rows_taken_out=tuple(drawn.taken_out.tolist()),
        canaries_file="canaries.npz" if rows.format == ".npz" else "canaries.parquet",
        features=rows.feature_names,
        label=rows.label,
        has_subjects=rows.has_subjects,
    )
    files, commitment = folder_files(plant, canaries)
    name = f"train{rows.format}"
    _write(out, {name: train}, files)
    return Planting(
        train=out / name,
        canaries=out / "canaries",
        kind=plant.kind,
        n_canaries=n,
        n_in=int(coins.sum()),
        n_train=plant.n_train,
        n_taken_out=len(plant.rows_taken_out),
        ceilings=ceilings(n),
        commitment=commitment,
    )


def _draw(rows: LabelledData, kind: str, n: int, secret: bytes) -> Draw:
    rng = generator(secret, "canaries")
    if kind == "mislabelled":
        return draw_mislabelled(rows.contents, rows.classes, rows.n_features, n, rng)
    return draw_random(rows.contents, rows.classes, rows.n_features, n, rng, rows.contents_of)


def _order(n_rows: int, draw: Draw, coins: np.ndarray, rng: np.random.Generator) -> TrainingRows:
    """Rows that stay and canaries that are in, shuffled."""
    kept = np.delete(np.arange(n_rows), draw.taken_out)
    inside = np.flatnonzero(coins)
    rows = np.concatenate([kept, draw.rest[inside]])
    canary = np.concatenate([np.full(len(kept), -1), inside])
    shuffled = rng.permutation(len(rows))
    return TrainingRows(rows[shuffled], canary[shuffled])


def _write(out: Path, public: dict[str, bytes], private: dict[str, bytes]) -> None:
    """Write everything beside the final folder, then move it there in one step."""
    staging = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    files = public | {f"canaries/{name}": content for name, content in private.items()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir(mode=0o700)
        (staging / "canaries").mkdir(mode=0o700)
        for name, content in files.items():
            handle = os.open(staging / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
        os.rename(staging, out)
    except OSError as error:
        raise DataError(f"cannot write to {printable(out)} ({error.strerror})") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
