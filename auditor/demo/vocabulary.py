"""A small CLIP tokenizer: all bytes, and every word of the demo's captions as one token."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from auditor.demo.digits import DIGIT_NAMES, INKS, STROKES

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 16
WORDS = ("a", "handwritten", "ink", *DIGIT_NAMES, *STROKES, *INKS)


def byte_symbols() -> list[str]:
    """The 256 printable stand-ins for bytes of byte-level BPE, in GPT-2's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(hidden))]


def merge(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The word's symbols with every occurrence of the pair joined, left to right."""
    joined: list[str] = []
    i = 0
    while i < len(symbols):
        step = 2 if symbols[i : i + 2] == pair else 1
        joined.append("".join(symbols[i : i + step]))
        i += step
    return tuple(joined)


def learn_merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent first (ties by name), until each word is one token."""
    spelled = [(*word[:-1], word[-1] + "</w>") for word in sorted(set(words))]
    merges: list[tuple[str, str]] = []
    while counts := Counter(pair for symbols in spelled for pair in pairwise(symbols)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        spelled = [merge(symbols, best) for symbols in spelled]
    return merges


def write_tokenizer(directory: Path) -> int:
    """Write the files that `CLIPTokenizer.from_pretrained` reads; returns the vocabulary size."""
    directory.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(WORDS)
    symbols = byte_symbols()
    tokens = [*symbols, *(s + "</w>" for s in symbols), *("".join(m) for m in merges), BOS, EOS]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": EOS,
        "unk_token": EOS,
        "do_lower_case": True,
    }
    special = {name: config[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (directory / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    (directory / "special_tokens_map.json").write_text(
        json.dumps(special, indent=2), encoding="utf-8"
    )
    return len(vocabulary)
