"""Inference over a split, metrics, significance tests, the gate's half of the test split, label errors."""
