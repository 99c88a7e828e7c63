"""Mitigations: a target in, a changed target out, with a record of what changed."""
