"""Answers requests about the images that a text-to-image target draws from the captions.

The images themselves are drawn by `GenerationExecutor`, stored in the private cache and resumed
from there; an observation keeps figures of them alone.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attacks.errors import UsageError
from attacks.observations import (
    GenerationAgreement,
    GenerationDistance,
    GenerationQuality,
    RecordMeaning,
    RecordQuality,
    Request,
)
from attacks.observations.generations import Generation, Held
from attacks.protocols import PairEncoder
from auditor.observe.generation import GenerationExecutor
from auditor.observe.pictures import distances, qualities
from auditor.targets.sampling import Draw, Sampling

SMALLEST_NORM = 1e-12


def seed_of(seed: int, record_id: str, repetition: int) -> int:
    """The seed of one image of one record: a pure function, so that batches do not matter."""
    name = f"{seed}|{record_id}|draw|{repetition}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") >> 1


@dataclass
class DrawnObserver:
    """One shard of records in front of one target that draws images.

    guesses: what a captioner says about each picture, for requests on the condition `guess`.
    """

    executor: GenerationExecutor
    images: Sequence[Image.Image]
    captions: Sequence[str]
    guesses: Sequence[str]
    ids: Sequence[str]
    seed: int
    encoder: PairEncoder | None = None
    _embeddings: dict[str, NDArray[np.float32]] = field(default_factory=dict, init=False)

    def observe(self, requests: Sequence[Request]) -> dict[Request, NDArray[np.floating]]:
        """Answers to requests (with their requirements), arrays with axis 0 over the shard."""
        answers: dict[Request, NDArray[np.floating]] = {}
        for held in (r for r in requests if isinstance(r, Held)):
            answers[held] = self._held(held)
        for anchor in (r for r in requests if isinstance(r, GenerationQuality)):
            wanted = [r for r in requests if isinstance(r, Generation) and _anchor(r) == anchor]
            answers |= self._drawn(anchor, wanted)
        return answers

    @functools.cached_property
    def _pictures(self) -> NDArray[np.uint8]:
        """The records as the model is given them: cut and resized to what it draws."""
        return self.executor.target.pictures(self.images)

    def _held(self, request: Held) -> NDArray[np.floating]:
        """What the records alone answer."""
        if isinstance(request, RecordQuality):
            return np.stack([qualities(picture) for picture in self._pictures])
        own, texts = self._own(request.encoder), self._embedded_texts(request)
        return np.column_stack([_cosines(own, texts), own])

    def _drawn(
        self, anchor: GenerationQuality, requests: Sequence[Generation]
    ) -> dict[Request, NDArray[np.floating]]:
        """Figures of all images of one kind of drawing, read shard by shard."""
        parts: dict[Request, list[NDArray[np.floating]]] = {r: [] for r in requests}
        position = 0
        for images in self._images(anchor):
            rows = np.arange(position, position + len(images)) // anchor.r
            for request in requests:
                parts[request].append(self._figures(request, images, rows))
            position += len(images)
        shape = (len(self.ids), anchor.r, -1)
        return {r: np.concatenate(found).reshape(shape) for r, found in parts.items()}

    def _images(self, anchor: GenerationQuality) -> Iterator[NDArray[np.uint8]]:
        """Images of all records, `r` in a row for each, three channels each."""
        texts = self._texts(anchor.condition)
        draws = [
            Draw(text, seed_of(self.seed, record_id, j))
            for text, record_id in zip(texts, self.ids, strict=True)
            for j in range(anchor.r)
        ]
        for _, images in self.executor.shards(draws, Sampling(anchor.steps, anchor.guidance)):
            yield np.broadcast_to(images, (*images.shape[:3], 3))  # grey ones too

    def _figures(
        self, request: Generation, images: NDArray[np.uint8], rows: NDArray[np.intp]
    ) -> NDArray[np.floating]:
        """(k, d) figures of k drawn images, whose records are `rows`."""
        if isinstance(request, GenerationQuality):
            return np.stack([qualities(image) for image in images])
        if isinstance(request, GenerationDistance):
            return distances(self._pictures[rows], images)
        drawn = self._encoder(request.encoder).images(_opened(images))
        own = self._own(request.encoder)[rows]
        texts = self._embedded_texts(request)[rows]
        apart = np.linalg.norm(own - drawn, axis=1)
        return np.stack([apart, _cosines(own, drawn), _cosines(texts, drawn)], axis=1)

    def _texts(self, condition: str) -> Sequence[str]:
        return {"caption": self.captions, "guess": self.guesses}[condition]

    def _own(self, encoder: str) -> NDArray[np.float32]:
        """(n, d) embeddings of the records' images."""
        if "images" not in self._embeddings:
            self._embeddings["images"] = self._encoder(encoder).images(_opened(self._pictures))
        return self._embeddings["images"]

    def _embedded_texts(self, request: GenerationAgreement | RecordMeaning) -> NDArray[np.float32]:
        """(n, d) embeddings of the texts that images are drawn from."""
        condition = request.condition
        if condition not in self._embeddings:
            texts = self._texts(condition)
            self._embeddings[condition] = self._encoder(request.encoder).texts(texts)
        return self._embeddings[condition]

    def _encoder(self, key: str) -> PairEncoder:
        if self.encoder is None or self.encoder.key != key:
            raise UsageError(
                f"the settings of an attack name the encoder '{key}', which is not open; name it "
                "under `encoder` in the configuration file, and not in attack_options"
            )
        return self.encoder


def _anchor(request: Generation) -> GenerationQuality:
    """The request for the images that another one is about."""
    return GenerationQuality(request.r, request.steps, request.guidance, request.condition)


def _opened(pictures: NDArray[np.uint8]) -> list[Image.Image]:
    return [Image.fromarray(np.ascontiguousarray(picture)) for picture in pictures]


def _cosines(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n,) cosine of each pair of rows; 0 where one is zero."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    dots: NDArray[np.floating] = (first * second).sum(axis=1) / np.maximum(norms, SMALLEST_NORM)
    return dots
