"""The settings of the commands; each component's settings are in its folder's `settings` module."""
