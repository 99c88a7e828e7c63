"""How a model's tokenizer cuts prompts: tokens, the words that they belong to, and their end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from attacks.errors import TargetError
from auditor.targets.diffusion import DiffusionTarget

WORD_END = "</w>"
"""What CLIP's tokenizer puts at the end of a word."""


class PromptTokens(NamedTuple):
    """One prompt as the text encoder sees it."""

    tokens: tuple[str, ...]
    """Its own tokens; start, end and padding are left out."""
    positions: tuple[int, ...]
    """Position of each in the sequence of the encoder."""
    words: tuple[int, ...]
    """Number of the word that each belongs to, counted from 0."""
    end: int
    """Position of the end token, the last position where the prompt was cut."""
    n_cut: int
    """Tokens that did not fit and that the model never sees."""


def tokenize(target: DiffusionTarget, prompts: Sequence[str]) -> list[PromptTokens]:
    """Cut prompts as the pipeline does. Raises TargetError for a model without text."""
    pipeline = target.text_pipeline
    if pipeline is None:
        raise TargetError("the model takes no text, so that there is no prompt to detect")
    tokenizer = getattr(pipeline, "tokenizer", None) or pipeline.tokenizer_2
    return [_one(tokenizer, prompt) for prompt in prompts]


def _one(tokenizer: Any, prompt: str) -> PromptTokens:
    length = tokenizer.model_max_length
    whole = tokenizer(prompt, truncation=False, verbose=False).input_ids
    ids = tokenizer(prompt, truncation=True, max_length=length).input_ids
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    positions = tuple(i for i, token in enumerate(ids) if token not in special)
    tokens = tuple(tokenizer.convert_ids_to_tokens([ids[i] for i in positions]))
    return PromptTokens(tokens, positions, _words(tokens), len(ids) - 1, len(whole) - len(ids))


def _words(tokens: Sequence[str]) -> tuple[int, ...]:
    """Number of the word of each token: a word ends with the mark of the tokenizer."""
    numbers, word = [], 0
    for token in tokens:
        numbers.append(word)
        word += token.endswith(WORD_END)
    return tuple(numbers)


def spelled(prompt: PromptTokens) -> list[str]:
    """The words of a prompt, private, in their order."""
    words: list[str] = []
    for token, word in zip(prompt.tokens, prompt.words, strict=True):
        if word == len(words):
            words.append("")
        words[word] += token.removesuffix(WORD_END)
    return words
