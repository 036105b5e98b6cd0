"""Retrains on this machine or in a cloud, once or on a schedule, and serves the models that pass the gate."""
