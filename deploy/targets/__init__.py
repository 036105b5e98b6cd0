"""Where a retraining runs: this machine, or others."""
