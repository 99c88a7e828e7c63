"""Caption randomisation in training: a caption that is never twice the same is learned by heart less.

Idea: with probability p a record is shown with another caption than its own, drawn afresh every time
it is seen: four random tokens in its place, two random tokens inserted, or two of its own words
repeated.
Citation: Somepalli et al., arXiv:2305.20086 (`randrepl`, `randwordadd`, `wordrepeat` of its code).
Our reading: tokens are whole words of the tokenizer's vocabulary, so that any encoder takes them.
Needs: members with captions, to train on.
Not a guarantee: random captions cost alignment, and images can be memorized without their caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import Capabilities
from mitigations import _fine_tuning as common
from mitigations.manifest import Guarantee, Manifest, Need
from mitigations.material import Change, Examples, Material
from mitigations.training import Practice, Recipe

MANIFEST = Manifest(
    id="MIT022",
    name="caption_randomisation",
    title="Caption randomisation in training",
    guarantee=Guarantee.TRAINING,
    references=("arXiv:2305.20086",),
    needs=(Need.MEMBERS,),
    limits="It bounds no attack, and costs how well images follow their captions.",
)
REPLACED, INSERTED, REPEATED = 4, 2, 2
"""Tokens in place of a caption, tokens inserted, words repeated."""


@dataclass(frozen=True, slots=True)
class CaptionRandomisationConfig:
    """How captions are changed."""

    kind: Literal["insert", "replace", "repeat"] = "insert"
    """Insert random tokens, replace the caption by some, or repeat words of its own."""
    p: float = 0.4
    """Probability that a caption is changed, each time that it is shown."""
    steps: int = 1000
    """Gradient steps."""
    batch_size: int = 16
    learning_rate: float = 1e-5
    caption_dropout: float = 0.1
    """Share of records shown with the empty text."""

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise UsageError(f"p is a probability, got {self.p}")
        self.recipe  # noqa: B018 - checks what they share

    @property
    def recipe(self) -> Recipe:
        """How it trains."""
        return Recipe(
            self.steps,
            self.batch_size,
            self.learning_rate,
            caption_dropout=self.caption_dropout,
        )


class Randomised(Practice):
    """Shows some records with changed captions; every draw is a function of seed and step."""

    def __init__(self, config: CaptionRandomisationConfig, words: Sequence[str], seed: int):
        self.config, self.words, self.seed = config, tuple(words), seed
        self.n_changed = self.n_shown = 0

    def captions(self, examples: Examples, rows: NDArray[np.int64], step: int) -> list[str]:
        """The captions of a step, drawn afresh."""
        rng = np.random.default_rng([self.seed, 3, step])
        shown = []
        for row in rows:
            is_changed = rng.random() < self.config.p
            caption = examples.captions[row]
            shown.append(self.changed(caption, rng) if is_changed else caption)
            self.n_changed += is_changed
            self.n_shown += 1
        return shown

    def changed(self, caption: str, rng: np.random.Generator) -> str:
        """One caption, changed."""
        words = caption.split()
        if self.config.kind == "replace":
            return " ".join(rng.choice(self.words, REPLACED))
        n = REPEATED if self.config.kind == "repeat" else INSERTED
        for _ in range(n):
            own = self.config.kind == "repeat" and words
            new = str(rng.choice(words if own else self.words))
            words.insert(int(rng.integers(len(words) + 1)), new)
        return " ".join(words)


def vocabulary(pipeline: Any) -> tuple[str, ...]:
    """Whole words of a pipeline's tokenizer, in a fixed order.

    Raises UsageError for a tokenizer without any.
    """
    known = (pipeline.tokenizer or pipeline.tokenizer_2).get_vocab()
    plain = {word.removesuffix("</w>").lstrip("\u2581") for word in known if word.isascii()}
    words = tuple(sorted(word for word in plain if word.isalpha()))
    if not words:
        raise UsageError("the tokenizer of this model has no words to draw from")
    return words


def default_config(capabilities: Capabilities) -> CaptionRandomisationConfig:
    """The usual learning rate for the model's size."""
    return CaptionRandomisationConfig(learning_rate=common.usual_rate(capabilities))


applicable = common.needs_text


def apply(material: Material, config: CaptionRandomisationConfig) -> Change:
    """Fine-tune on the members with changed captions."""
    words = vocabulary(material.target.text_pipeline)
    practice = Randomised(config, words, material.seed)
    tuned, fitted = common.fine_tuned(
        material, config.recipe, practice, "training with changed captions"
    )
    return Change(
        weights=common.weights_of(material, tuned),
        facts={
            "steps": fitted.steps,
            "captions_shown": practice.n_shown,
            "captions_changed": practice.n_changed,
            "loss_last": round(fitted.losses[-1], 6),
        },
    )
