"""A scan of generated pictures against the training set that they may copy; no model is needed."""
