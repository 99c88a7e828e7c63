"""What the blind control sees of labelled rows: their columns, their classes, and outlyingness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.controls.features import (
    COMPONENTS,
    BlindFeatures,
    Floats,
    one_hot,
    principal_components,
    records_per_subject,
    with_squares,
)
from auditor.records.rows import RowRecord, Table

MOST_COLUMNS = 2048
"""Columns beyond which neighbours are averaged: components of pictures would exhaust memory."""
MAX_COLUMNS = 256
"""Encoded columns up to which each one enters by itself, beside the principal components."""


def row_features(records: Sequence[RowRecord], table: Table) -> BlindFeatures:
    """Label-free (of membership) features of rows: encoded columns, classes, complexity scores.

    Without columns (saved predictions alone) the classes are all that there is to compare.
    """
    encoded = coarse(table.encoded([record.position for record in records]))
    blocks: dict[str, Floats] = {"classes": one_hot([record.label for record in records])}
    scores: dict[str, Floats] = {}
    if encoded.shape[1]:
        components = principal_components(encoded, COMPONENTS)
        blocks["components"] = with_squares(components)
        if encoded.shape[1] <= MAX_COLUMNS:
            blocks["columns"] = with_squares(encoded)
        scores["distance to mean"] = np.linalg.norm(encoded - encoded.mean(axis=0), axis=1)
        scores["outlier distance"] = np.linalg.norm(components, axis=1)
        scores["largest value"] = np.abs(encoded).max(axis=1)
        scores["mean value"] = encoded.mean(axis=1)
        scores["distinct values"] = np.array([float(len(np.unique(row))) for row in encoded])
    per_subject = records_per_subject(records)
    if per_subject is not None:
        scores["records of the subject"] = per_subject
    blocks = {name: block for name, block in blocks.items() if block.shape[1]}
    return BlindFeatures(blocks, {k: v for k, v in scores.items() if np.ptp(v) > 0})


def coarse(columns: Floats, most: int = MOST_COLUMNS) -> Floats:
    """(n, at most `most`) means of runs of neighbouring columns; as they are if they are few."""
    d = columns.shape[1]
    if d <= most:
        return columns
    starts = np.arange(most) * d // most
    return np.add.reduceat(columns, starts, axis=1) / np.diff(np.append(starts, d))
