"""Caption randomisation at drawing: noise on the embedding, or words the prompt did not have.

Idea: a memorized image hangs on its exact caption, so the caption is disturbed before every drawing.
Citation: Somepalli et al., "Understanding and Mitigating Copying in Diffusion Models",
    arXiv:2305.20086; their code adds 0.1 N(0, I) to the embedding, or inserts random words, random
    numbers, or 2 repeated words of the prompt.
Our reading: inserted words go to random places; random words come from the model's own vocabulary
    (whole words of letters); numbers lie below 1,000.
Cost: none.
Limits: whoever has the weights leaves it out; drawing often enough finds a disturbance that does
    not matter; the pictures follow their prompts less closely.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from attacks.errors import UsageError
from attacks.manifest import Capabilities
from mitigations._transition import needs_guidance
from mitigations.filters import Drawing, Filter
from mitigations.manifest import Guarantee, Manifest
from mitigations.material import Change, Material

MOST_WORDS = 500
"""Words of the vocabulary that a filter keeps."""
WORD_END = "</w>"
"""What CLIP's tokenizer puts at the end of a word."""
NUMBERS = 1000
"""Random numbers lie below it."""
MANIFEST = Manifest(
    id="MIT004",
    name="random_tokens",
    title="Caption randomisation",
    guarantee=Guarantee.FILTER,
    references=("arXiv:2305.20086",),
    limits="It protects nothing once the weights are released, and repeated drawing wears it out.",
)

Kind = Literal["noise", "words", "numbers", "repeat"]
"""Noise on the embedding; or random words, numbers, or words of the prompt inserted into it."""


@dataclass(frozen=True, slots=True)
class RandomTokensConfig:
    """What is disturbed, how much and how often."""

    kind: Kind = "words"
    """`noise`, `words`, `numbers` or `repeat`."""
    n: int = 2
    """Words or numbers that are inserted."""
    noise: float = 0.1
    """Standard deviation of the noise on the embedding."""
    p: float = 1.0
    """Probability that a drawing is disturbed at all."""

    def __post_init__(self) -> None:
        if self.n < 0 or self.noise < 0 or not 0 <= self.p <= 1:
            raise UsageError("n and noise must be at least 0, and p lie between 0 and 1")


def default_config(capabilities: Capabilities) -> RandomTokensConfig:
    """Two random words."""
    return RandomTokensConfig()


def applicable(capabilities: Capabilities) -> str | None:
    """None for models that take text, else the reason."""
    return needs_guidance(capabilities)


def apply(material: Material, config: RandomTokensConfig) -> Change:
    """The settings, with words of the model's vocabulary where they are needed."""
    settings = dataclasses.asdict(config) | {"seed": material.seed, "words": []}
    if config.kind == "words":
        settings["words"] = vocabulary(material.target.text_pipeline, material.seed)
    return Change(filter=settings)


def vocabulary(pipeline: Any, seed: int) -> list[str]:
    """At most MOST_WORDS whole words of letters that the tokenizer knows, drawn by seed."""
    tokenizer = getattr(pipeline, "tokenizer", None) or pipeline.tokenizer_2
    known = tokenizer.get_vocab()
    words = sorted(w for token in known if (w := token.removesuffix(WORD_END)).isalpha())
    if any(token.endswith(WORD_END) for token in known):
        words = [word for word in words if word + WORD_END in known and len(word) > 1]
    words = sorted(set(words))
    if not words:
        raise UsageError(
            "the model's vocabulary has no whole words; use --option kind=numbers, repeat or noise"
        )
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(words))[:MOST_WORDS]
    return sorted(words[i] for i in chosen)


class RandomTokens(Filter):
    """Disturbs a prompt by the seed of its image, so that a drawing can be repeated."""

    def __init__(self, kind: Kind, n: int, noise: float, p: float, seed: int, words: list[str]):
        self.kind, self.n, self.noise, self.p = kind, n, noise, p
        self.seed, self.words = seed, words

    def prompt(self, prompt: str, seed: int) -> str:
        """The prompt with words inserted; itself for noise."""
        rng = self._rng(prompt, seed)
        if self.kind == "noise" or rng.random() >= self.p:
            return prompt
        words = prompt.split()
        own = list(words)
        for _ in range(self.n):
            word = self._word(own, rng)
            if word is not None:
                words.insert(int(rng.integers(len(words) + 1)), word)
        return prompt if words == own else " ".join(words)

    def begins(self, drawing: Drawing) -> Any:
        """The embedding with noise; itself for inserted words."""
        import torch

        super().begins(drawing)
        if self.kind != "noise" or drawing.conditional is None or self.noise == 0:
            return drawing.conditional
        hidden = drawing.conditional.hidden.clone()
        for i, (prompt, seed) in enumerate(zip(drawing.prompts, drawing.seeds, strict=True)):
            rng = self._rng(prompt, seed)
            if rng.random() < self.p:
                drawn = torch.from_numpy(rng.standard_normal(tuple(hidden.shape[1:])))
                hidden[i] += self.noise * drawn.to(hidden.device, hidden.dtype)
        return dataclasses.replace(drawing.conditional, hidden=hidden)

    def _word(self, own: list[str], rng: np.random.Generator) -> str | None:
        if self.kind == "numbers":
            return str(int(rng.integers(NUMBERS)))
        source = own if self.kind == "repeat" else self.words
        return source[int(rng.integers(len(source)))] if source else None

    def _rng(self, prompt: str, seed: int) -> np.random.Generator:
        name = f"{self.seed}|{seed}|{prompt}".encode()
        digest = hashlib.blake2b(name, digest_size=8, person=b"random-tokens").digest()
        return np.random.default_rng(int.from_bytes(digest, "little"))


def open_filter(settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> RandomTokens:
    """The filter of stored settings."""
    names = ("kind", "n", "noise", "p", "seed", "words")
    return RandomTokens(*(settings[name] for name in names))
