"""Real handwritten digits as pictures, and the ways in which people store them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

Pictures = list[Image.Image]


@pytest.fixture(scope="session")
def digits() -> Pictures:
    """1,797 pictures of 8 x 8 RGB pixels, no two alike."""
    images = (load_digits().images * 15).astype(np.uint8)
    return [Image.fromarray(image).convert("RGB") for image in images]


@pytest.fixture
def encode() -> Callable[..., bytes]:
    def as_bytes(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        return stream.getvalue()

    return as_bytes


@pytest.fixture
def write_folder() -> Callable[..., Path]:
    """Pictures as files, with captions in metadata.jsonl, metadata.csv, .txt files or nowhere."""

    def write(
        folder: Path,
        pictures: Sequence[Image.Image],
        captions: Sequence[str | None] | None = None,
        style: str = "none",
        prefix: str = "p",
        **columns: Sequence[object],
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{prefix}{i:04d}.png" for i in range(len(pictures))]
        for name, picture in zip(names, pictures, strict=True):
            picture.save(folder / name)
        rows = [{"file_name": name} for name in names]
        for i, row in enumerate(rows):
            if captions is not None:
                row["text"] = captions[i]
            row.update({key: values[i] for key, values in columns.items()})
        if style == "jsonl":
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / "metadata.jsonl").write_text(lines)
        elif style == "csv":
            with open(folder / "metadata.csv", "w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        elif style == "txt":
            for row in rows:
                sidecar = (folder / row["file_name"]).with_suffix(".txt")
                sidecar.write_text(f"{row['text']}\n", newline="\r\n")
        return folder

    return write


@pytest.fixture
def write_parquet(encode: Callable[..., bytes]) -> Callable[..., Path]:
    """Pictures as a Parquet file of structs, or of raw bytes."""

    def write(
        path: Path,
        pictures: Sequence[Image.Image],
        captions: Sequence[str | None] | None = None,
        raw: bool = False,
        image_column: str = "image",
        text_column: str = "text",
        rows_per_group: int = 16,
        **columns: Sequence[object],
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = [encode(picture) for picture in pictures]
        cells = encoded if raw else [{"bytes": e, "path": "x.png"} for e in encoded]
        table = {image_column: cells, **columns}
        if captions is not None:
            table[text_column] = list(captions)
        pq.write_table(pa.table(table), path, row_group_size=rows_per_group)
        return path

    return write
