"""Matching: which training record a picture is a copy of, at scale and verified by pixels."""

from auditor.matching.encoders import Encoder, PixelEncoder, open_encoder
from auditor.matching.index import Neighbours, SimilarityIndex, nearest
from auditor.matching.matcher import Matcher, Matches
from auditor.matching.store import EmbeddingStore
from auditor.matching.verify import CONVENTION, Prepared, Verified, best_match

__all__ = [
    "CONVENTION",
    "EmbeddingStore",
    "Encoder",
    "Matcher",
    "Matches",
    "Neighbours",
    "PixelEncoder",
    "Prepared",
    "SimilarityIndex",
    "Verified",
    "best_match",
    "nearest",
    "open_encoder",
]
