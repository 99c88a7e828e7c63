"""Directories that only their owner can enter."""

from __future__ import annotations

from pathlib import Path

from attacks.errors import UsageError


def private_directory(path: Path) -> Path:
    """Create a directory that only its owner can enter (mode 700)."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise UsageError(f"cannot create {path}: {error.strerror or error}") from error
    return path
