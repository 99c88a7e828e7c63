"""The bundled demo: a tiny text-to-image pipeline with planted repeats, and its twin."""

from auditor.demo.assets import TARGETS, materialise
from auditor.demo.data import DemoPaths, write_records

__all__ = ["TARGETS", "DemoPaths", "materialise", "write_records"]
