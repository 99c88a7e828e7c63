"""Labelled rows: tables, arrays and pictures with a class for each record."""

from auditor.records.rows.load import load_row_splits
from auditor.records.rows.model import RowRecord, RowSource, RowSplits, SavedPredictions
from auditor.records.rows.single import LabelledRows, load_rows
from auditor.records.rows.table import Column, Table

__all__ = [
    "Column",
    "LabelledRows",
    "RowRecord",
    "RowSource",
    "RowSplits",
    "SavedPredictions",
    "Table",
    "load_row_splits",
    "load_rows",
]
