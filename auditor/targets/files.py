"""Files of models: their hashes, and what other libraries say of them."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def first_line(error: BaseException) -> str:
    """The first line of an error of another library, cut to a readable length."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
