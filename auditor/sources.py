"""The files of a user's own code that a module is made of, for keys of what the code decides.

Followed are the import statements of a module, wherever they stand in it, and of what they import,
as long as the files lie in the folder from which the module itself was imported. Installed packages
are not followed, nor imports by computed names, nor data files that the code reads.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec, resolve_name
from pathlib import Path

_INSTALLED = ("site-packages", "dist-packages")


def local_sources(module: str) -> dict[str, str]:
    """SHA-256 of the files behind an imported module, by their path below its folder.

    Packages count with what their `__init__.py` imports; empty files are left out. Only its own
    file for an installed module, and nothing for one without a file.
    """
    own, top = _file(module), _file(_top(module))
    if own is None or top is None:
        return {}
    root = (top.parent if top.name == "__init__.py" else top).parent
    if set(root.parts) & set(_INSTALLED):
        return {own.name: _hash(own)}
    files: dict[str, Path] = {}
    left = [module]
    while left:
        name = left.pop()
        # looking for a submodule runs the packages above it: none but the user's own
        path = _file(name) if name not in files and _is_local(_file(_top(name)), root) else None
        if path is not None and _is_local(path, root):
            files[name] = path
            left += [name.rpartition(".")[0], *_imports(name, path)]
    return {
        path.relative_to(root).as_posix(): _hash(path)
        for path in sorted(set(files.values()))
        if path.read_bytes().strip()
    }


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_local(path: Path | None, root: Path) -> bool:
    if path is None or not path.is_relative_to(root):
        return False
    return not set(path.relative_to(root).parts) & set(_INSTALLED)


def _file(name: str) -> Path | None:
    """Where the source of a module lies; None if there is no such module or no such source."""
    if not name:
        return None
    origin = getattr(sys.modules.get(name), "__file__", None)
    if origin is None and name not in sys.modules:
        try:
            spec = find_spec(name)
        except Exception:  # a parent that is no package, or that is the user's and fails
            return None
        origin = spec.origin if spec and spec.has_location else None
    path = Path(origin).resolve() if origin else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


def _imports(name: str, path: Path) -> Iterator[str]:
    """Names that a module may import: `from a import b` may mean the module a.b."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:  # of a file that nothing has imported yet
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                source = resolve_name("." * node.level + (node.module or ""), package or None)
            except (ImportError, ValueError):  # beyond the outermost package
                continue
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)
