"""What the blind control sees of images: pixels, captions, file properties, complexity."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from attacks.statistics.blind import unit_block
from auditor.controls.features import (
    COMPONENTS,
    BlindFeatures,
    Floats,
    one_hot,
    principal_components,
    records_per_subject,
    with_squares,
)
from auditor.records import Record, reading_order

TERMS = 256
"""Most frequent words and pairs of words that are counted."""

_SMALL, _MEDIUM, _CROP = 16, 32, 64  # pixels a side


def image_features(
    records: Sequence[Record], *, on_progress: Callable[[int, int], None] | None = None
) -> BlindFeatures:
    """Features of records without their labels; each image is opened once."""
    pixels = np.empty((len(records), 3 * _SMALL**2))
    found: dict[int, dict[str, float]] = {}
    for i in reading_order(records):
        with records[i].open() as image:
            pixels[i], found[i] = _look(image)
        if on_progress is not None:
            on_progress(len(found), len(records))
    textures = [found[i] for i in range(len(records))]
    components = principal_components(pixels, COMPONENTS)
    metadata, sizes = _metadata(records)
    blocks = {"pixels": with_squares(components), "metadata": metadata}
    scores = {name: np.array([t[name] for t in textures]) for name in textures[0]} | sizes
    scores["distance to mean"] = np.linalg.norm(pixels - pixels.mean(axis=0), axis=1)
    scores["outlier distance"] = np.linalg.norm(components, axis=1)
    per_subject = records_per_subject(records)
    if per_subject is not None:
        scores["records of the subject"] = per_subject
    captions = [r.caption or "" for r in records]
    if any(captions):
        blocks["captions"] = caption_features(captions)
        scores["caption length"] = np.array([float(len(c)) for c in captions])
    return BlindFeatures(blocks, {k: v for k, v in scores.items() if np.ptp(v) > 0})


def caption_features(captions: Sequence[str]) -> Floats:
    """(n, d) tf-idf of words and pairs of words, and the style: length, capitals, digits, marks."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = [(len(c), len(c.split()), *_shares(c)) for c in captions]
    style = unit_block(with_squares(np.array(counts, dtype=float)))
    words = TfidfVectorizer(
        ngram_range=(1, 2), max_features=TERMS, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"
    )
    try:
        terms = words.fit_transform(captions).toarray()
    except ValueError:  # no word in any caption: scikit-learn refuses an empty vocabulary
        return style
    return np.hstack([unit_block(terms), style])


def _look(image: Image.Image) -> tuple[Floats, dict[str, float]]:
    """(768,) small pixels in [0, 1] and the complexity of one RGB image."""
    small = np.asarray(image.resize((_SMALL, _SMALL), Image.Resampling.BOX), dtype=float) / 255
    medium = image.resize((_MEDIUM, _MEDIUM), Image.Resampling.BOX)
    left, top = max(0, (image.width - _CROP) // 2), max(0, (image.height - _CROP) // 2)
    crop = image.crop((left, top, min(left + _CROP, image.width), min(top + _CROP, image.height)))
    grey = np.asarray(medium.convert("L"), dtype=float) / 255
    detail = np.asarray(crop.convert("L"), dtype=float) / 255
    return small.ravel(), {
        "compressed size": float(len(zlib.compress(medium.tobytes()))),
        "compressed detail": len(zlib.compress(crop.tobytes())) / detail.size,
        "mean": float(grey.mean()),
        "contrast": float(grey.std()),
        "colourfulness": float(np.mean(small.max(axis=2) - small.min(axis=2))),
        "total variation": _total_variation(grey),
        "sharpness": _total_variation(detail),
    }


def _total_variation(grey: Floats) -> float:
    """Mean absolute difference of neighbouring pixels of a (height, width) image."""
    pairs = max(1, grey[1:].size + grey[:, 1:].size)
    steps = np.abs(np.diff(grey, axis=0)).sum() + np.abs(np.diff(grey, axis=1)).sum()
    return float(steps) / pairs


def _metadata(records: Sequence[Record]) -> tuple[Floats, dict[str, Floats]]:
    """(n, d) block of file properties, and two of them as (n,) scores."""
    shape = np.array([(r.width, r.height) for r in records], dtype=float)
    n_bytes = np.array([r.n_bytes or 0 for r in records], dtype=float)
    area = shape.prod(axis=1)
    numbers = np.log1p(np.column_stack([shape, area, n_bytes, n_bytes / np.maximum(area, 1)]))
    aspect = np.log(np.maximum(shape[:, :1], 1) / np.maximum(shape[:, 1:], 1))
    kinds = [one_hot([r.mode for r in records]), one_hot([r.format for r in records])]
    block = np.hstack([with_squares(np.hstack([numbers, aspect])), *kinds])
    return block, {"pixels": area, "file size": n_bytes}


def _shares(text: str) -> tuple[float, float, float]:
    """Shares of capitals, digits and punctuation among the characters of a caption."""
    n = max(1, len(text))
    marks = sum(not (c.isalnum() or c.isspace()) for c in text)
    return sum(map(str.isupper, text)) / n, sum(map(str.isdigit, text)) / n, marks / n
