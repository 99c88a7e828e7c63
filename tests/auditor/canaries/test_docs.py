"""The figures and settings of docs/dp.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from auditor.canaries import Claim, ceilings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "dp.md").read_text(encoding="utf-8")


def test_the_table_of_ceilings():
    rows = re.findall(r"^\| ([\d,]+) \| (\d+\.\d+) \| (\d+\.\d+) \|$", PAGE, re.M)
    assert len(rows) == 5
    for n, one_run, classical in rows:
        found = ceilings(int(n.replace(",", "")))
        assert 0 <= found.one_run - float(one_run) < 0.01
        assert 0 <= found.classical - float(classical) < 0.01


def test_the_example_of_a_claim_lacks_nothing():
    (source,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert Claim(**yaml.safe_load(source)).missing == ()
