"""Turns files of handwritten characters into a dataset folder; also what all rooms share (errors, storage, flags)."""
