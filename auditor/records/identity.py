"""Ids of records: content hashes for us, keyed hashes for the world.

A content id is a BLAKE2b hash of the RGB pixels and the NFC caption, never of a file name. It
confirms a guess ("was this picture in the set?"), so it stays inside the project: what is published
is its HMAC under a random key that is kept beside the audit.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.errors import DataError
from auditor.records.sources import printable

if TYPE_CHECKING:
    from PIL import Image

    from auditor.records.model import Record
    from auditor.records.rows.model import RowRecord

PUBLISHED_HEX = 16
"""Length of a published id: 64 bits, a collision among a million records has odds of 3e-8."""


def nfc(text: str) -> str:
    """NFC form, with lone surrogates (legal in JSON, not in UTF-8) replaced by U+FFFD."""
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return unicodedata.normalize("NFC", text)


def pixel_hash(rgb: Image.Image) -> str:
    """32 hex digits of the size and RGB pixels of an upright picture."""
    digest = hashlib.blake2b(digest_size=16, person=b"auditor-pixels")
    digest.update(b"%d %d\n" % rgb.size)
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def content_id(pixels: str, caption: str | None) -> str:
    """32 hex digits of pixel hash and caption; no caption and an empty one differ."""
    digest = hashlib.blake2b(bytes.fromhex(pixels), digest_size=16, person=b"auditor-record")
    if caption is not None:
        digest.update(b"\n" + nfc(caption).encode())
    return digest.hexdigest()


def keyed_rank(purpose: str, seed: int, value: str | bytes) -> int:
    """A uniform 64-bit number that depends on purpose, seed and value alone."""
    material = value.encode() if isinstance(value, str) else value
    key = f"{purpose}:{seed}".encode()
    return int.from_bytes(hashlib.blake2b(material, digest_size=8, key=key).digest(), "big")


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """The secret under which the ids of one project are published."""

    secret: bytes = field(repr=False)
    """32 random bytes."""

    def publish(self, content: str) -> str:
        """Published id of a content id: PUBLISHED_HEX digits of HMAC-SHA256."""
        return hmac.new(self.secret, content.encode(), hashlib.sha256).hexdigest()[:PUBLISHED_HEX]


def load_project_key(path: Path) -> ProjectKey:
    """Read the key file. Raises DataError if it is missing, damaged or readable by others."""
    shown = printable(path)
    try:
        with open(path, "rb") as stream:
            if stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & 0o077:
                raise DataError(f"the project key {shown} is open to others; run: chmod 600 on it")
            text = stream.read(256)
    except OSError as error:
        raise DataError(
            f"the project key {shown} cannot be read ({error.strerror}); restore it, or remove "
            "it to start a project whose ids do not pair with earlier audits"
        ) from None
    try:
        secret = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise DataError(
            f"the project key {shown} is not 64 hex digits; restore it from a copy, or remove it "
            "to start a project whose ids do not pair with earlier audits"
        )
    return ProjectKey(secret)


def load_or_create_project_key(path: Path) -> ProjectKey:
    """The key of a project, created (mode 600) if absent; of two creators at once, one wins.

    Raises DataError as `load_project_key` does, or if the file cannot be created.
    """
    path = Path(path)
    if not os.path.lexists(path):
        _make_folder(path.parent)
        written = _write_private(path, [secrets.token_hex(32) + "\n"])
        try:
            os.link(written, path)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise DataError(
                    f"the project key {printable(path)} cannot be created ({error.strerror})"
                ) from None
            os.replace(written, path)  # a file system without hard links
        finally:
            written.unlink(missing_ok=True)
    return load_project_key(path)


def _make_folder(folder: Path) -> None:
    """Create a folder of mode 700 if it is absent. Raises DataError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder {printable(folder)} cannot be created ({error.strerror}); "
            "choose another place with --out"
        ) from None


def _write_private(beside: Path, lines: Iterable[str]) -> Path:
    """A synced temporary file (mode 600) beside a path. Raises DataError."""
    temporary = beside.with_name(f".{beside.name}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(lines)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"cannot write to {printable(beside)} ({error.strerror})") from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def write_private_map(path: Path, records: Iterable[Record | RowRecord], key: ProjectKey) -> None:
    """Write which published id is which file: JSON lines, sorted, mode 600, atomic.

    A line holds record_id (published), content_id, file and row (null for a picture in a file of
    its own). The folder is created with mode 700. Raises DataError if it exists and is open to
    others, or if two records would share a published id.
    """
    path = Path(path)
    folder = path.parent
    _make_folder(folder)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        raise DataError(
            f"the folder {printable(folder)} of the private map is open to others; "
            "choose one of its own, or run: chmod 700 on it"
        )
    entries: dict[str, dict[str, object]] = {}
    for record in records:
        published = key.publish(record.id)
        known = entries.get(published)
        if known is not None and known["content_id"] != record.id:
            raise DataError("two records share a published id; start a project with a new key")
        entries[published] = {
            "record_id": published,
            "content_id": record.id,
            "file": record.source.path,
            "row": record.source.row,
        }
    lines = (json.dumps(entries[published]) + "\n" for published in sorted(entries))
    os.replace(_write_private(path, lines), path)
