"""TESLA: a data set distilled into a few pictures by matching training trajectories."""
