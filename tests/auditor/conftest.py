"""Scans of the bundled models, made once and looked at by many tests."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditor.demo.assets import materialise
from auditor.demo.data import DemoPaths, write_records
from auditor.progress import Progress
from auditor.scan import ScanOptions, ScanResult, plan_scan, run_scan


@dataclass(frozen=True)
class Demo:
    """The bundled models and their records on disk."""

    models: dict[str, Path]
    records: DemoPaths


@dataclass(frozen=True)
class Scanned:
    """A finished scan and what was counted from outside."""

    result: ScanResult
    options: ScanOptions
    out: Path
    unet_rows: int
    """Rows that went through the target's own U-Net."""


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    root = tmp_path_factory.mktemp("demo")
    models = {name: materialise(name, root / name) for name in ("memorized", "clean")}
    return Demo(models, write_records(root / "records"))


@pytest.fixture(scope="session")
def scan_demo(demo: Demo, tmp_path_factory: pytest.TempPathFactory):
    """Scan a bundled model as the demo does, counting forward calls at its U-Net."""
    root = tmp_path_factory.mktemp("scans")
    numbers = itertools.count()

    def scan(name: str, **changes) -> Scanned:
        options = ScanOptions(
            model=str(demo.models[name]),
            members=demo.records.members,
            nonmembers=demo.records.nonmembers,
            out=root / f"{name}-{next(numbers)}",
            cache=root / "cache",
            device="cpu",
            **changes,
        )
        prepared = plan_scan(options, Progress())
        rows: list[int] = []
        own = prepared.target.unet

        def count(module, args) -> None:
            if module is own:  # copies inherit the hook
                rows.append(len(args[0]))

        hook = own.register_forward_pre_hook(count)
        result = run_scan(prepared, Progress())
        hook.remove()
        return Scanned(result, options, options.out, sum(rows))

    return scan


@pytest.fixture(scope="session")
def memorized_scan(scan_demo) -> Scanned:
    return scan_demo("memorized")


@pytest.fixture(scope="session")
def clean_scan(scan_demo) -> Scanned:
    return scan_demo("clean")
