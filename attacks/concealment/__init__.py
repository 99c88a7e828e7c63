"""Is a record erased from a model, or only concealed? The embedding attack and its verdict."""
