"""Retrains, here or elsewhere, once or on a schedule, and serves the models that pass the gate."""
