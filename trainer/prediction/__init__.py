"""The inputs of `predict`, and their predictions as lines of JSON, with Beam or without."""
