"""Normalizes a picture to the image of an example, in NumPy and Pillow."""
