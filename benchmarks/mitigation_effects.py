"""What each mitigation does to the bundled model: copies, ordinary images, and what they cost.

    OMP_NUM_THREADS=1 python benchmarks/mitigation_effects.py [NAME ...]

Prints the rows of the table in docs/mitigations.md. Copies: images of the 12 memorized captions
that lie within LIMIT of their record. Digit: ordinary images in which a classifier of real images
sees what the caption asked for.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from attacks.statistics.rates import share_estimate
from auditor.demo.assets import materialise
from auditor.demo.data import write_records
from auditor.demo.digits import N_PLANTED, demo_splits
from auditor.mitigate import MitigateOptions, mitigate
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw, Sampling, generate

LIMIT = 0.06
"""Pixel RMS of a copy, chosen after seeing copies at most .051 and the clean twin at least .115."""
SEEDS, N_ORDINARY, N_REFERENCE = 4, 48, 64
SAMPLING = Sampling(50, 7.5)
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PRUNE = ("prompts", "reference")
ROWS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("none", (), ()),
    ("prompt_adjust", (), ("reference",)),
    ("random_tokens", (), ()),
    ("random_tokens", ("kind=noise",), ()),
    ("attention_rescale", (), ()),
    ("anti_memorization_guidance", (), ("members",)),
    ("anti_memorization_guidance", ("c3=200.0", "threshold=-0.4"), ("members",)),
    ("delayed_guidance", (), ()),
    ("delayed_guidance", ("when=dynamic", "scale_before=1.0"), ()),
    ("opposite_guidance", (), ()),
    ("prune", (), PRUNE),
    ("prune", ("control=random",), PRUNE),
    ("prune", ("sparsity=0.05", "first_steps=20"), PRUNE),
    ("prune", ("sparsity=0.05", "first_steps=20", "control=random"), PRUNE),
    ("prune", ("sparsity=0.2", "first_steps=20"), PRUNE),
    ("prune", ("sparsity=0.2", "first_steps=20", "control=random"), PRUNE),
)
"""Mitigation, settings, and what it is given."""


def rms(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    difference = (a.astype(float) - b.astype(float)) / 255
    return np.sqrt(np.square(difference).reshape(len(a), -1).mean(axis=1))


def digit_of(caption: str) -> int:
    words = {word.strip(",") for word in caption.split()}
    return next(i for i, name in enumerate(DIGITS) if name in words)


def shapes(images: NDArray) -> NDArray[np.float64]:
    """(n, 256) contrast to the corner at 16 x 16 pixels: a digit whatever its colours."""
    values = images.astype(float) / 255
    contrast = np.abs(values - values[:, :1, :1]).mean(axis=-1)
    contrast /= contrast.max(axis=(1, 2), keepdims=True) + 1e-6
    return contrast.reshape(len(images), 16, 2, 16, 2).mean(axis=(2, 4)).reshape(len(images), -1)


def in_words(hits: NDArray[np.bool_]) -> str:
    share = share_estimate(hits)
    return f"{int(hits.sum())}/{len(hits)} [{share.low:.2f}, {share.high:.2f}]"


def main(names: list[str]) -> None:
    splits = demo_splits()
    planted, captions = splits.members.images[:N_PLANTED], splits.members.captions[:N_PLANTED]
    ordinary = [c for c in splits.others.captions if c not in set(captions)]
    asked, references = ordinary[:N_ORDINARY], ordinary[N_ORDINARY : N_ORDINARY + N_REFERENCE]
    real = np.concatenate([splits.members.images, splits.others.images])
    labels = [digit_of(c) for c in (*splits.members.captions, *splits.others.captions)]
    classifier = LogisticRegression(max_iter=2000, C=0.1).fit(shapes(real), labels)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        model = materialise("memorized", root / "model")
        given = {"members": write_records(root / "records").members}
        for name, texts in (("prompts", captions), ("reference", references)):
            given[name] = root / f"{name}.txt"
            given[name].write_text("\n".join(texts) + "\n", encoding="utf-8")
        for i, (name, options, needs) in enumerate(ROWS):
            if names and name not in names:
                continue
            path = model
            if name != "none":
                path = root / f"{i}"
                inputs = {need: given[need] for need in needs}
                mitigate(MitigateOptions(name, str(model), path, option=options, **inputs))
            target = open_target(str(path))
            draws = [Draw(caption, seed) for caption in captions for seed in range(SEEDS)]
            images = generate(target, draws, SAMPLING, batch_size=64)
            copies = rms(images, np.repeat(planted, SEEDS, axis=0)) <= LIMIT
            others = generate(
                target, [Draw(c, 100 + k) for k, c in enumerate(asked)], SAMPLING, batch_size=64
            )
            near = np.stack([rms(np.repeat(p[None], len(others), 0), others) for p in planted])
            right = classifier.predict(shapes(others)) == [digit_of(c) for c in asked]
            print(
                f"| {' '.join((name, *options))} | {in_words(copies)} "
                f"| {int((near.min(axis=0) <= LIMIT).sum())}/{len(others)} | {in_words(right)} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
