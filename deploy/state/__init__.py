"""What a retraining leaves for others to see while it runs: how far it is, and that it is at work."""
