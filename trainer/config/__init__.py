"""The settings of the commands; those of a component stand beside it, in its folder's `settings`."""
