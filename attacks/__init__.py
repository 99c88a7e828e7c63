"""Attacks: from observations of a model to one score per record, and the statistics on them."""
