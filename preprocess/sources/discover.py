"""Which kind of source `--source` names, and several sources as one."""

from pathlib import Path

from common.errors import InputError
from common.formats import archive
from common.storage import to_path
from preprocess import catalogue
from preprocess.catalogue import KnownDataset
from preprocess.config import NIST, SYNTHETIC, PreprocessConfig
from preprocess.sources import idx_files, matlab, pictures, tfds
from preprocess.sources.base import Source


def discover(config: PreprocessConfig) -> Source:
    """Looks at all sources that `config` names and combines them; what must be downloaded or drawn is so first.

    Raises `InputError` for anything that is no source of this dataset, and if the classes of two sources differ.
    """
    dataset = catalogue.find_or_own(config.dataset)
    found = [_inspect(source, dataset, config) for source in config.source]
    for source, part in zip(config.source, found, strict=True):
        if part.schema.vocabulary != found[0].schema.vocabulary:
            raise InputError(f"--source {source}: its classes are not those of {config.source[0]}")
        if part.schema != found[0].schema:
            height, width, _ = part.schema.image_shape
            raise InputError(f"--source {source}: its images of {height}×{width} are not those of {config.source[0]}")
    combined = Source(
        schema=found[0].schema,
        splits=tuple(split for part in found for split in part.splits),
        files=tuple(file for part in found for file in part.files),
    )
    namespaces = [part.splits[0].namespace for part in found]
    if len(set(namespaces)) < len(namespaces):
        raise InputError("--source: two sources hold the same examples; of pictures, merge the folders")
    if config.require_official and not all(file.official for file in combined.files):
        others = ", ".join(file.name for file in combined.files if not file.official)
        raise InputError(f"--require-official: not among the published files, byte for byte: {others}")
    return combined


def _inspect(source: str, dataset: KnownDataset | None, config: PreprocessConfig) -> Source:
    limit = config.max_examples_per_split
    is_synthetic = config.dataset.startswith("synthetic/")
    if is_synthetic != (source == SYNTHETIC):
        raise InputError(
            f"--source {source} does not fit --dataset {config.dataset}: drawn characters are --dataset synthetic/… "
            f"with --source {SYNTHETIC}, so that real data never meets them in one folder"
        )
    if dataset and is_synthetic:
        from preprocess.sources import synthetic

        folder = to_path(config.data_dir) / "sources" / f"{dataset.name.replace('/', '-')}-seed{config.seed}"
        synthetic.write_source(dataset, folder, config.seed)
        source = str(folder)
    elif source == NIST:
        if not dataset or not dataset.official_examples or not dataset.transposed:
            raise InputError(f"--source {NIST} does not hold --dataset {config.dataset}, only EMNIST's six")
        from preprocess.sources import nist

        source = str(nist.fetch(Path(config.cache_dir).expanduser(), config.url or nist.URL))
    elif source.startswith(tfds.PREFIX):
        if not dataset:
            raise InputError(f"--source {source}: is not --dataset {config.dataset}, but mnist/original")
        return tfds.inspect(dataset, source, Path(config.cache_dir).expanduser(), limit)
    if dataset:
        if to_path(source).suffix == ".mat":
            return matlab.inspect(dataset, source, limit)
        files = archive.list_files(source)
        if idx_files.holds(dataset, files) or not to_path(source).is_dir():
            return idx_files.inspect(dataset, source, files, limit)
        if matlab.file_name(dataset) in files:
            return matlab.inspect(dataset, files[matlab.file_name(dataset)], limit)
    if pictures.holds(source):
        return pictures.inspect(config.dataset, dataset, source, config.test_fraction, config.seed, limit)
    if not dataset:
        raise InputError(
            f"--source {source}: holds no folders of pictures, which a dataset of one's own, like {config.dataset}, "
            f"is made from; known datasets: {', '.join(catalogue.names())}"
        )
    raise InputError(f"--source {source}: holds none of {dataset.images_file('train')} etc., nor folders of pictures")
