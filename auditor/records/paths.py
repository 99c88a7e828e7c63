"""Paths that data files name may not leave the data folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from attacks.errors import DataError
from auditor.records.sources import printable


class DataFolder:
    """A folder that contains every file of a data set, links included."""

    def __init__(self, folder: Path) -> None:
        self.folder = os.path.abspath(folder)
        self._real = os.path.realpath(folder)
        self._real_parents: dict[str, str] = {}

    def name(self, path: str) -> str:
        """The path relative to the folder."""
        return os.path.relpath(path, self.folder)

    def locate(self, name: str, where: str) -> str:
        """The path of a file that a data file names; the file need not exist.

        where: the data file and row, for the error; the name itself is not printed.
        Raises DataError if the name is empty, absolute or leads out of the folder.
        """
        if not name.strip() or "\0" in name:
            raise DataError(f"{where} names no file; give a path relative to the data folder")
        for flavour in (PurePosixPath(name), PureWindowsPath(name)):
            if flavour.anchor or ".." in flavour.parts:
                raise DataError(
                    f"{where} names a file outside the data folder (an absolute path or '..'); "
                    "give a path relative to the folder of that file, below it"
                )
        path = os.path.join(self.folder, os.path.normpath(name))
        if "\\" in name and not os.path.lexists(path):
            path = os.path.join(self.folder, os.path.normpath(name.replace("\\", "/")))
        if not self.contains(path):
            raise DataError(
                f"{where} names a link that leads out of the data folder; "
                "copy the file into the folder"
            )
        return path

    def contains(self, path: str) -> bool:
        """Whether the file lies in the folder after every link is followed."""
        parent = os.path.dirname(path)
        if parent not in self._real_parents:
            self._real_parents[parent] = os.path.realpath(parent)
        real = self._real_parents[parent]
        if os.path.islink(path):
            real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real.rstrip(os.sep) + os.sep)

    def walk(self) -> tuple[list[str], int]:
        """All files below, sorted, hidden ones left out; and how many linked folders were not entered.

        Raises DataError for a link to a file outside, and for a folder that cannot be listed: what
        it holds would be missing from the audit.
        """
        files: list[str] = []
        n_linked = 0
        for parent, folders, names in os.walk(self.folder, onerror=_refuse):
            visible = [f for f in folders if not f.startswith((".", "__MACOSX"))]
            n_linked += sum(os.path.islink(os.path.join(parent, f)) for f in visible)
            folders[:] = visible
            files += [os.path.join(parent, n) for n in names if not n.startswith(".")]
        for path in files:
            if os.path.islink(path) and not self.contains(path):
                raise DataError(
                    f"{printable(self.name(path))} in {printable(self.folder)} is a link that "
                    "leads out of the folder; copy the file into it, or pass the real folder"
                )
        return sorted(files), n_linked


def _refuse(error: OSError) -> None:
    raise DataError(
        f"the folder {printable(error.filename)} cannot be listed ({error.strerror}); "
        "make it readable or move it out"
    )
