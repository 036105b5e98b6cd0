"""Trains a network on a dataset folder and leaves a run folder."""
