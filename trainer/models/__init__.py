"""The networks and their settings."""
