"""The targets: where a retraining runs, on this machine or in a cloud."""
