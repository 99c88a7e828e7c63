"""The command line: `auditor VERB`, one module a verb."""

from auditor.cli.app import app, main

__all__ = ["app", "main"]
