"""Directories that only their owner can enter."""

from __future__ import annotations

from pathlib import Path

from attacks.errors import UsageError


def private_directory(path: Path, *, is_ours: bool = True) -> Path:
    """Create a directory of mode 700.

    is_ours: an existing directory is closed to others too; False leaves it as it is.
    """
    try:
        existed = path.is_dir()
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (is_ours or not existed) and path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise UsageError(f"cannot create {path}: {error.strerror or error}") from error
    return path
