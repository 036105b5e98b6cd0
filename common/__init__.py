"""The common ground of all rooms: flags, errors, storage, configuration, formats, and the dataset folder."""
