"""The shape of the house: arrows point down, nothing is hidden, listing is instant."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("attacks", "mitigations", "reports", "auditor")
ALLOWED = {
    "attacks": {"attacks"},
    "mitigations": {"attacks", "mitigations"},
    "reports": {"attacks", "reports"},
    "auditor": {"attacks", "mitigations", "reports", "auditor"},
}
"""Which of our packages each one may import."""
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
BANNED = {"random", "pickle", "dill", "cloudpickle", "imp"}
MACHINE_PATH = re.compile(r"""(?<![\w./:~}<])/(?:home|root|Users|work|tmp|mnt|opt|data|var)/\w""")


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(path):
    return str(path.relative_to(ROOT))


def imports(path):
    """(line, absolute dotted name) of every import, also those inside functions."""
    package = list(path.relative_to(ROOT).parent.parts)
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *filter(None, [node.module])])
            found += [(node.lineno, f"{prefix}.{alias.name}") for alias in node.names]
    return found


def upward(path):
    package = path.relative_to(ROOT).parts[0]
    return [
        f"{name_of(path)}:{line} imports {imported}"
        for line, imported in imports(path)
        if imported.split(".")[0] in set(PACKAGES) - ALLOWED[package]
    ]


def undocumented(path):
    """Public modules, classes and functions without a docstring, methods included."""
    tree = parsed(path)
    missing = [] if ast.get_docstring(tree) else [f"{name_of(path)}: module"]

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if child.name.startswith("_"):
                continue
            if not ast.get_docstring(child) and not is_overload(child):
                missing.append(f"{name_of(path)}:{child.lineno} {prefix}{child.name}")
            if isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")

    visit(tree, "")
    return missing


def is_overload(node):
    return any("overload" in ast.unparse(d) for d in node.decorator_list)


def machine_paths(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        f"{name_of(path)}:{number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        if MACHINE_PATH.search(line)
    ]


def collected(check, paths=MODULES):
    """All faults of all files, so that one run shows everything."""
    return [fault for path in paths for fault in check(path)]


def test_there_is_something_to_check():
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)
    assert len(MODULES) > 20


def test_imports_point_down():
    assert collected(upward) == []


def test_no_banned_module_is_imported():
    def banned(path):
        return [
            f"{name_of(path)}:{line} imports {imported}"
            for line, imported in imports(path)
            if imported.split(".")[0] in BANNED
        ]

    assert collected(banned) == []


def test_everything_public_has_a_docstring():
    assert collected(undocumented) == []


def test_no_path_of_one_machine_in_the_code():
    others = [
        path
        for pattern in ("docs/**/*.md", "benchmarks/**/*.py", "*.md", "*.toml", "Makefile")
        for path in ROOT.glob(pattern)
    ]
    assert collected(machine_paths, [*MODULES, *others]) == []


def test_every_package_folder_is_importable_and_shipped():
    folders = {path.parent for path in MODULES}
    assert [name_of(f) for f in folders if not (f / "__init__.py").exists()] == []
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = config["tool"]["setuptools"]["packages"]["find"]["include"]
    assert sorted(included) == sorted(f"{package}*" for package in PACKAGES)


@pytest.mark.skipif(importlib.util.find_spec("auditor.cli") is None, reason="no auditor.cli yet")
def test_the_command_line_does_not_import_torch():
    program = "import sys, auditor.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


# --- the checks themselves ------------------------------------------------------------------


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes a module into a house of its own and returns its path."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)

    def write(name, source):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "source", "is_upward"),
    [
        ("attacks/a.py", "import auditor.scan", True),
        ("attacks/a.py", "def f():\n    from reports import record", True),
        ("attacks/deep/a.py", "from ...auditor import scan", True),
        ("attacks/deep/a.py", "from ..errors import UsageError", False),
        ("mitigations/a.py", "import reports", True),
        ("reports/a.py", "from mitigations import prune", True),
        ("reports/a.py", "from attacks.results import Estimate", False),
        ("auditor/a.py", "import reports, mitigations, attacks", False),
        ("attacks/a.py", "import auditorium", False),
    ],
)
def test_the_import_check_sees_through_every_form(module, name, source, is_upward):
    assert bool(upward(module(name, source))) == is_upward


def test_the_docstring_check_finds_what_is_missing(module):
    source = (
        '"""Module."""\ndef a(): ...\nclass B:\n    """B."""\n    def c(self): ...\ndef _d(): ...'
    )
    assert undocumented(module("attacks/a.py", source)) == [
        "attacks/a.py:2 a",
        "attacks/a.py:5 B.c",
    ]


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("'/home/someone/x'", True),
        ("open('/tmp/shared/x')", True),
        ("https://example.org/home/x", False),
        ("a/tmp/b", False),
        ("'/healthz'", False),
    ],
)
def test_the_path_check_knows_a_machine_s_path(module, line, is_found):
    assert bool(machine_paths(module("attacks/a.py", line))) == is_found
