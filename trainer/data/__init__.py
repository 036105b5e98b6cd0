"""Datasets for training and evaluation: opening, local cache, order, feeds to devices, augmentation."""
