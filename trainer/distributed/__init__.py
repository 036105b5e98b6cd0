"""Devices, workers and the random numbers that do not depend on them."""
