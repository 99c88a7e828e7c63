"""The command line: `auditor VERB`, one module a verb."""

import os

# Threads that wait by spinning take the cores from each other: with one other busy process on two
# cores a scan took up to four times the processor time. To be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from auditor.cli.app import app, main  # noqa: E402

__all__ = ["app", "main"]
