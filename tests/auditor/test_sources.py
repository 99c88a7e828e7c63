"""Which files of a user's code are hashed: those that a module is made of, and no others."""

import hashlib
import sys

import pytest

from auditor.sources import local_sources

FILES = {
    "house_of_test/__init__.py": "from house_of_test.common import ONE\n",
    "house_of_test/common.py": "ONE = 1\n",
    "house_of_test/model/__init__.py": "",
    "house_of_test/model/build.py": (
        "import numpy as np\n"
        "from . import layers\n"
        "from ..common import ONE\n"
        "def model():\n"
        "    import beside_of_test\n"
        "    import no_such_module_anywhere\n"
    ),
    "house_of_test/model/layers.py": "from house_of_test.model import build  # a circle\n",
    "house_of_test/model/unused.py": "raise RuntimeError('nobody imports me')\n",
    "beside_of_test.py": "def (\n",
    "site-packages/installed_of_test.py": "import beside_of_test\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if "of_test" in name.partition(".")[0]]:
        sys.modules.pop(name)


def test_imports_are_followed_inside_the_folder(folder):
    found = local_sources("house_of_test.model.build")
    assert set(found) == {
        "beside_of_test.py",
        "house_of_test/__init__.py",
        "house_of_test/common.py",
        "house_of_test/model/build.py",
        "house_of_test/model/layers.py",
    }
    for name, code in found.items():
        assert code == hashlib.sha256(FILES[name].encode()).hexdigest()


def test_a_change_of_what_is_imported_changes_the_hash(folder):
    before = local_sources("house_of_test.model.build")
    (folder / "house_of_test/common.py").write_text("ONE = 2\n")
    after = local_sources("house_of_test.model.build")
    assert {name for name in before if before[name] != after[name]} == {"house_of_test/common.py"}


def test_installed_and_missing_modules(folder):
    assert set(local_sources("installed_of_test")) == {"installed_of_test.py"}
    assert set(local_sources("numpy.linalg")) == {"__init__.py"}
    assert local_sources("no_such_module_anywhere") == {}
    assert local_sources("sys") == {}
