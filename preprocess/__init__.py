"""Preprocessing: from source files to a dataset folder."""
