"""The flags of `python -m preprocess`."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import UseAppendAction

from common import flags
from common.dataset.schema import EMNIST_SIZE, ImageSize
from common.errors import InputError
from common.marks import RARE, Count, CountFrom0, Formerly, Fraction, Share
from common.storage import CACHE_DIR
from preprocess import catalogue

SYNTHETIC = "synthetic"
SYNTHETIC_LINES = "synthetic/lines"
NIST = "nist"


@dataclass(frozen=True)
class PreprocessConfig:
    """Turn files of handwritten characters into a dataset folder of sharded TFRecords.

    Beam's own options stand after `--`, for example `-- --runner DaskRunner`.
    """

    dataset: str
    """The dataset: emnist/byclass, bymerge, balanced, letters, digits or mnist; mnist/original; synthetic/…; or a name
    of your own for your own files, such as mine/letters."""
    source: Annotated[tuple[str, ...], UseAppendAction]
    """Source files (local or gs://): a folder of IDX files under their published names, or of your own under such names
    (images of any size); NIST's gzip.zip; a MATLAB file or its folder; a folder of pictures, one sub-folder a class, or
    a zip or tar of it; Parquet files of pictures. Or `nist`, which downloads NIST's archive, `tfds:NAME`, a dataset
    that TFDS has prepared, or `synthetic`, drawn characters. Given several times, the sources are combined."""
    data_dir: str
    """The folder of datasets (local or gs://); this one becomes <data-dir>/<name>/<variant>/1.0.0."""
    image_size: str | None = None
    """Height and width that pictures are brought to, such as 64x48; by default 28x28. Images in IDX files keep their
    size."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of their labels from 0, for your own IDX files without a mapping file, and
    for Parquet files whose labels are numbers without names."""
    orientation: Literal["upright", "transposed"] | None = None
    """How IDX, NumPy, MATLAB and CSV files hold images: upright, or with height and width swapped, as EMNIST's do. By
    default as EMNIST's if the files are named like those."""
    line_height: Count = 48
    """The height of lines of text, in pixels; their aspect ratio stays."""
    max_width: Count = 1536
    """The widest line; wider ones are scaled down in both directions, and counted."""
    group_by: Literal["writer", "page", "line"] | None = None
    """What is never divided between two splits; by default the writer, or else the page, if all lines have one."""
    group_pattern: Annotated[str | None, RARE] = None
    """A regular expression that finds the writer in the names of lines' files, or groups named writer and page."""
    num_lines: Annotated[Count | None, RARE] = None
    """The training lines that are drawn or composed; by default 4000. Validation and test have an eighth as many."""
    texts: Annotated[str | None, RARE] = None
    """A file of texts, one in each line, for lines that are composed."""
    encoding: Annotated[str, RARE] = "utf-8"
    """The encoding of tables and texts."""
    local_workers: Count = 1
    """Worker processes of the in-process runner; 1 works in this process."""
    validation_fraction: Share = 0.1
    """The share of the training examples, chosen by a hash of the example's key, that becomes the validation split."""
    test_fraction: Annotated[Share, RARE] = 0.1
    """The share of pictures, chosen likewise, that becomes the test split if they are not divided already."""
    max_examples_per_split: Count | None = None
    """Take only the first N examples of each source file, or N pictures."""
    max_rejected: CountFrom0 = 0
    """The most pictures that may be left out because of a problem, of any kind; they are listed in rejected.jsonl."""
    strict: bool = False
    """Refuse sources in which anything is left out, such as hidden files, copies, or lines without text."""
    drop_leaked: bool = False
    """Leave out training and validation examples whose pixels are also in the test split. They are counted anyway."""
    exclude: Annotated[str | None, Formerly("drop_keys")] = None
    """A list of examples to leave out of the training split, such as the likely label errors that `python -m trainer
    evaluate --label-issues` writes. Validation and test examples stay, since figures are measured on them."""
    overwrite: bool = False
    """Replace a dataset that was made from another request, or whose manifest cannot be read."""
    num_shards: Annotated[Count | None, RARE] = None
    """Files of the training split; other splits in proportion, none with fewer than 64 examples on average. By default
    one for 50,000 examples, at least 16."""
    seed: Annotated[CountFrom0, RARE] = 0
    """Decides the order of examples, which of them are validation, and how the synthetic ones look."""
    require_official: Annotated[bool, RARE] = False
    """Refuse source files that are not, byte for byte, those that NIST publishes."""
    compare: Annotated[str | None, RARE] = None
    """Another dataset folder: drift.json says how this data differs from it."""
    max_drift: Annotated[Fraction | None, RARE] = None
    """Fail, before anything is replaced, if a figure of that comparison, 0 to 1, is larger."""
    cache_dir: Annotated[str, RARE] = CACHE_DIR
    """The folder for downloads."""
    url: Annotated[str | None, RARE] = None
    """A mirror of NIST's archive, for `--source nist`."""


_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")
_SMALLEST_SIDE, _LARGEST_SIDE = 8, 1024
_LEAST_WIDTH, _MOST_WIDTH = 32, 1 << 16  # of lines


def image_size(config: PreprocessConfig) -> ImageSize:
    """Height and width that pictures are brought to. Raises `InputError` if the flag is no size."""
    if config.image_size is None:
        return EMNIST_SIZE
    match = _SIZE.fullmatch(config.image_size)
    size = tuple(map(int, match.groups())) if match else (0, 0)
    if not _SMALLEST_SIDE <= min(size) <= max(size) <= _LARGEST_SIDE:
        sides = f"both from {_SMALLEST_SIDE} to {_LARGEST_SIDE}"
        raise InputError(f"--image-size {config.image_size}: must be height and width, {sides}, as in 28x28")
    return size


def find(config: PreprocessConfig) -> catalogue.KnownDataset | None:
    """The known dataset of characters that `config` names; None for one of your own, and for lines."""
    return None if config.dataset == SYNTHETIC_LINES else catalogue.find_or_own(config.dataset)


def check(config: PreprocessConfig) -> None:
    """Raises `InputError`, naming the flag, for faults that show before any file is read."""
    dataset = find(config)
    if not config.source:
        raise InputError("--source: name at least one")
    flags.check(config)
    image_size(config)
    if not _SMALLEST_SIDE <= config.line_height <= _LARGEST_SIDE:
        raise InputError(f"--line-height {config.line_height}: must be from {_SMALLEST_SIDE} to {_LARGEST_SIDE}")
    if not _LEAST_WIDTH <= config.max_width <= _MOST_WIDTH:
        raise InputError(f"--max-width {config.max_width}: must be from {_LEAST_WIDTH} to {_MOST_WIDTH}")
    if config.classes is not None:
        names = config.classes
        if len(names) < 1 or len(set(names)) < len(names) or not all(name and name.isprintable() for name in names):
            raise InputError(f"--classes {' '.join(names)}: must be different printable names")
        if dataset:
            raise InputError(f"--classes: {config.dataset} has its own; give a name of your own, as in mine/letters")
    if config.max_drift is not None and config.compare is None:
        raise InputError("--max-drift: needs --compare, the dataset folder to compare with")
