"""Are records erased from an edited model, or only concealed? The concealment test, driven."""
