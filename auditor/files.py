"""Directories that only their owner can enter, and files that show damage."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attacks.errors import UsageError
from reports.files import write_atomic

_DIGEST = 32


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


def store_checksummed(path: Path, body: bytes) -> None:
    """Write bytes behind their SHA-256, whole or not at all, for the owner alone."""
    write_atomic(path, hashlib.sha256(body).digest() + body, mode=0o600)


def load_checksummed(path: Path) -> bytes | None:
    """What `store_checksummed` wrote; None if there is no file or it is damaged (then removed)."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    digest, body = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        path.unlink(missing_ok=True)
        return None
    return body
