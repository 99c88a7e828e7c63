"""`python -m auditor.cli`."""

from auditor.cli.app import main

main()
