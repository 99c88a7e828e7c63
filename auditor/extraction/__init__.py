"""Extraction: what a diffusion model draws again, and how it is proved."""

from auditor.extraction.attack import extract

__all__ = ["extract"]
