"""Records: reading data sets, copies and near-duplicates, splits, and the ids that are published."""

from auditor.records.identity import (
    ProjectKey,
    load_or_create_project_key,
    load_project_key,
    write_private_map,
)
from auditor.records.load import load_splits
from auditor.records.model import ReadOptions, Record, Splits, open_pictures, reading_order
from auditor.records.rows import RowRecord, RowSplits, Table, load_row_splits
from auditor.records.split import HeldOut, split_dataset

__all__ = [
    "HeldOut",
    "ProjectKey",
    "ReadOptions",
    "Record",
    "RowRecord",
    "RowSplits",
    "Splits",
    "Table",
    "load_or_create_project_key",
    "load_project_key",
    "load_row_splits",
    "load_splits",
    "open_pictures",
    "reading_order",
    "split_dataset",
    "write_private_map",
]
