"""The settings of the data that a training reads, and of its augmentation."""

from dataclasses import dataclass
from typing import Annotated

from common.marks import OPERATIONAL, RARE, Count, CountFrom0, Positive, flat
from common.storage import CACHE_DIR


@dataclass(frozen=True)
class DataConfig:
    """Where the training examples come from, and how they reach the devices."""

    folder: Annotated[str, *flat("data"), OPERATIONAL]
    """The dataset folder (local or gs://), as `python -m preprocess` printed it."""
    in_memory_limit_mb: CountFrom0 = 2000
    """Keep the training split in memory (GPU memory, if any) if it is at most this large; otherwise stream it."""
    shuffle_buffer_examples: Annotated[Count, RARE] = 100_000
    """The shuffle window of streamed examples. The order of the shards is shuffled too."""
    cache_dir: Annotated[str, OPERATIONAL, RARE] = CACHE_DIR
    """Local copies of what lies in a bucket: datasets, and the run folder while it is written."""
    cache_limit_gb: Annotated[Positive, OPERATIONAL, RARE] = 50.0
    """The most that datasets may take there; of a larger one that is streamed, a part is held at a time."""


@dataclass(frozen=True)
class AugmentationConfig:
    """How training images are varied."""

    steps: Annotated[tuple[str, ...], *flat("augmentation")] = ()
    """Steps applied to each training image, in order, such as rotate(10) shift(2) elastic(1.5) erase(6)."""
