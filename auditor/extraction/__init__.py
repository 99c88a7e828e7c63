"""Extraction: what a diffusion model draws again, and how it is proved."""

from auditor.extraction.attack import Extraction
from auditor.extraction.reveal import write_pairs

__all__ = ["Extraction", "write_pairs"]
