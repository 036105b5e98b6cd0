"""The gate: whether a new model replaces the one in use."""
