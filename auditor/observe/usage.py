"""What a run has used so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Usage:
    """Forward calls, counted in records asked."""

    n_calls: int = 0
    """Forward calls made."""
    n_calls_cached: int = 0
    """Forward calls answered from the cache."""
