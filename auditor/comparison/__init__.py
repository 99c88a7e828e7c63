"""A method beside its baseline: the design of the trials, the figures, and their controls."""
