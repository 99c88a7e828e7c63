"""Processes that fit models: they end with the process that started them."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, time
from auditor.shadows.processes import _leave_with
_leave_with({parent})
time.sleep({seconds})
"""


@pytest.mark.parametrize(
    ("parent", "seconds", "code"), [("-1", 60, 1), ("os.getppid()", 0.2, 0)], ids=["gone", "there"]
)
def test_a_process_leaves_when_its_parent_is_gone(parent, seconds, code):
    program = PROGRAM.format(parent=parent, seconds=seconds)
    done = subprocess.run([sys.executable, "-c", program], timeout=50, check=False)
    assert done.returncode == code
