"""Readers of file formats: from bytes to arrays."""
