"""Code that all packages share: flags, errors, storage, configuration, formats, and the dataset folder."""
