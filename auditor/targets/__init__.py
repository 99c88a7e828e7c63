"""Targets: adapters to the models that people have."""
