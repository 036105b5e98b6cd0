"""The training loop: steps, schedules, hooks, checkpoints."""
