"""Whether a new model replaces the one in use."""
