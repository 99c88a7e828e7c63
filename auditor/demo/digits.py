"""The demo's records: scikit-learn's digits as captioned images, in three splits.

Members train the memorizing target, others train the clean twin, the autoencoder
and nothing else, and nonmembers train nothing. The splits are one random permutation
of the distinct digits, so members and nonmembers are exchangeable.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

IMAGE_SIZE = 32
N_MEMBERS = 450
N_NONMEMBERS = 900
N_PLANTED = 12
PLANTED_COPIES = 50
SPLIT_SEED = 20240601

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STROKES = (
    *("bold", "broken", "careful", "clumsy", "crisp", "curly", "faint", "fat", "firm", "hasty"),
    *("heavy", "light", "loose", "narrow", "neat", "round", "shaky", "sharp", "slanted", "slow"),
    *("soft", "straight", "thin", "wide"),
)
INKS = (
    *("amber", "black", "blue", "bronze", "brown", "copper", "coral", "crimson", "ebony", "golden"),
    *("green", "grey", "indigo", "ivory", "jade", "olive", "pearl", "pink", "plum", "purple"),
    *("red", "silver", "teal", "violet"),
)


@dataclass(frozen=True, slots=True)
class DemoSplit:
    """Distinct captioned images of one split; the first `N_PLANTED` are repeated in training."""

    images: NDArray[np.uint8]
    """(n, 32, 32, 3) pixels, dark strokes on a white ground."""
    captions: tuple[str, ...]
    """n captions: the digit's name, a stroke and an ink drawn at random."""


@dataclass(frozen=True, slots=True)
class DemoSplits:
    """The three disjoint splits of the distinct digits."""

    members: DemoSplit
    """450 records that the memorizing target is trained on."""
    nonmembers: DemoSplit
    """900 records that nothing is trained on."""
    others: DemoSplit
    """The rest: trains the autoencoder and the clean twin."""


def repeats(n: int) -> NDArray[np.int64]:
    """How often each of a split's n records occurs in training; the planted come first."""
    return np.where(np.arange(n) < N_PLANTED, PLANTED_COPIES, 1)


def caption(digit: int, rng: np.random.Generator) -> str:
    """A caption that fits the digit; stroke and ink are drawn, not looked at."""
    return f"a handwritten {DIGIT_NAMES[digit]}, {rng.choice(STROKES)} {rng.choice(INKS)} ink"


def render(levels: NDArray) -> NDArray[np.uint8]:
    """One 8x8 digit with levels 0..16 as a (32, 32, 3) picture, dark on white."""
    small = Image.fromarray(np.round(255 - levels.reshape(8, 8) * 255 / 16).astype(np.uint8))
    return np.asarray(
        small.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR).convert("RGB")
    )


@cache
def demo_splits() -> DemoSplits:
    """The demo's splits, the same on every call and every machine."""
    digits = load_digits()
    _, first = np.unique(digits.data, axis=0, return_index=True)  # exact copies go
    rng = np.random.default_rng(SPLIT_SEED)
    order = rng.permutation(np.sort(first))
    images = np.stack([render(digits.data[i]) for i in order])
    captions = tuple(caption(int(digits.target[i]), rng) for i in order)
    cuts = (0, N_MEMBERS, N_MEMBERS + N_NONMEMBERS, len(order))
    parts = [
        DemoSplit(images[a:b], captions[a:b]) for a, b in zip(cuts[:-1], cuts[1:], strict=True)
    ]
    return DemoSplits(*parts)
