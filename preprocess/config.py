"""The flags of `python -m preprocess`."""

from dataclasses import dataclass

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class PreprocessConfig:
    """Turn files of handwritten characters into a dataset folder of sharded TFRecords.

    Beam's own options stand after `--`, for example `-- --runner DaskRunner`.
    """

    dataset: str
    """What the files are: emnist/byclass, bymerge, balanced, letters, digits or mnist; mnist/original; synthetic/…"""
    source: str
    """A folder (local or gs://) of IDX files under their published names, or `synthetic`: drawn characters."""
    data_dir: str
    """Where datasets lie (local or gs://); this one becomes <data-dir>/<name>/<variant>/1.0.0."""
    num_shards: int | None = None
    """Files of the train split; other splits in proportion. By default one for 50,000 examples, at least 16."""
    local_workers: int = 1
    """Worker processes of the in-process runner; 1 works in this process."""
    validation_fraction: float = 0.1
    """The share of the training files, chosen by a hash of the example's key, that becomes the validation split."""
    seed: int = 0
    """Decides the order of examples, which of them are validation, and how the synthetic ones look."""
    max_examples_per_split: int | None = None
    """Take only the first so many examples of each source file."""
    overwrite: bool = False
    """Replace a dataset that was made from another request."""
