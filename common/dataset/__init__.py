"""The dataset folder: what `preprocess` writes and `trainer` reads."""
