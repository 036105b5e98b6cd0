"""Which kind of source `--source` names, and several sources as one."""

from common.errors import InputError
from preprocess import catalogue
from preprocess.config import SYNTHETIC, PreprocessConfig, image_size
from preprocess.sources import idx_files, matlab, nist, pictures, synthetic, tfds
from preprocess.sources.base import Source, Wanted

KINDS = (synthetic, nist, tfds, matlab, idx_files, pictures)
"""The kinds of sources, in the order in which they are asked."""


def discover(config: PreprocessConfig) -> Source:
    """Looks at all sources that `config` names and combines them; what must be downloaded or drawn is so first.

    Raises `InputError` for anything that is no source of this dataset, and if the classes of two sources differ.
    """
    dataset = catalogue.find_or_own(config.dataset)
    parts = [_inspect(Wanted(source, dataset, config)) for source in config.source]
    for source, part in zip(config.source, parts, strict=True):
        if part.schema.vocabulary != parts[0].schema.vocabulary:
            raise InputError(f"--source {source}: its classes are not those of {config.source[0]}")
        if part.schema != parts[0].schema:
            height, width, _ = part.schema.image_shape
            raise InputError(f"--source {source}: its images of {height}×{width} are not those of {config.source[0]}")
        if config.image_size is not None and part.schema.image_shape[:2] != image_size(config):
            height, width, _ = part.schema.image_shape
            raise InputError(
                f"--image-size {config.image_size}: the images of --source {source} are {height}x{width} and stay so; "
                "only pictures are brought to a size"
            )
    combined = Source(
        schema=parts[0].schema,
        splits=tuple(split for part in parts for split in part.splits),
        files=tuple(file for part in parts for file in part.files),
    )
    namespaces = [part.splits[0].namespace for part in parts]
    if len(set(namespaces)) < len(namespaces):
        raise InputError("--source: two sources hold the same examples; of pictures, merge the folders")
    if config.require_official and not all(file.official for file in combined.files):
        others = ", ".join(file.name for file in combined.files if not file.official)
        raise InputError(f"--require-official: not among the published files, byte for byte: {others}")
    return combined


def _inspect(wanted: Wanted) -> Source:
    """What the first kind of source makes of it that holds it."""
    config = wanted.config
    if config.dataset.startswith("synthetic/") != synthetic.holds(wanted):
        raise InputError(
            f"--source {wanted.location} does not fit --dataset {config.dataset}: drawn characters are --dataset "
            f"synthetic/… with --source {SYNTHETIC}, so that real data never meets them in one folder"
        )
    for kind in KINDS:
        if kind.holds(wanted):
            return kind.inspect(wanted)
    if not wanted.dataset:
        raise InputError(
            f"--source {wanted.location}: holds neither folders of pictures nor IDX files (train-images-idx3-ubyte or "
            f"NAME-train-images-idx3-ubyte, …), which a dataset of one's own, like {config.dataset}, is made from; "
            f"known datasets: {', '.join(catalogue.names())}"
        )
    images = wanted.dataset.images_file("train")
    raise InputError(f"--source {wanted.location}: holds none of {images} etc., nor folders of pictures")
