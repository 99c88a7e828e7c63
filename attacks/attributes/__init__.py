"""Attribute inference: what a model gives away about one column of its training records."""
