"""Writing a file so that nobody ever sees half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from attacks.errors import UsageError


def write_atomic(path: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Write text (as UTF-8) or bytes beside `path`, then move it there in one step.

    mode: permissions, such as 0o600 for what is private; None follows the umask. Raises UsageError
    if the file cannot be written; then nothing is left of it.
    """
    encoded = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise UsageError(
            f"cannot write {path.name} in {path.parent}: {error.strerror}; choose another folder"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask() if mode is None else mode)
        os.replace(name, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise UsageError(
                f"cannot write {path.name} in {path.parent}: {error.strerror}; "
                "free some space or choose another folder. Finished work is kept"
            ) from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
