"""Finds the kind of each `--source`, and combines several sources into one."""

from collections.abc import Iterable
from types import ModuleType

from common.errors import InputError
from common.formats import archive, pixel_table
from common.formats import kind as file_kinds
from common.formats.picture import is_picture
from common.storage import to_path
from preprocess import catalogue
from preprocess.config import SYNTHETIC, PreprocessConfig, find, image_size
from preprocess.sources import (
    arrays,
    composed_lines,
    drawn_lines,
    iam,
    lines,
    nist,
    pages,
    pairs,
    parquet_files,
    picture_archives,
    pictures,
    synthetic,
    tfds,
)
from preprocess.sources.base import Source, Wanted, in_words

KINDS = (synthetic, nist, tfds, picture_archives, parquet_files, arrays, pictures)
"""The kinds of sources of characters, in the order in which they are tried."""
KINDS_OF_LINES = (drawn_lines, composed_lines, pairs, iam, pages)
"""The kinds of sources of lines, which are asked first."""
_WITHOUT_FILES = (drawn_lines, composed_lines)
_CHARACTERS_READ = (
    "a folder of pictures with a sub-folder for each class or with labels.csv, a zip or tar of it, Parquet files of "
    "pictures, IDX, NumPy's and MATLAB's files, tables of pixels (CSV), and tfds:NAME"
)
_LINES_READ = "a NAME.gt.txt beside each NAME.png, a lines.tsv, PAGE or ALTO XML, or IAM's lines.txt"
_KINDS_READ = ("zip", "tar", "gzip", "bzip2", "xz", "npy", "matlab", "idx")
_FOR_LINES = ("group_by", "group_pattern", "num_lines", "texts")
_FOR_CHARACTERS = ("image_size", "classes", "orientation")


def discover(config: PreprocessConfig) -> Source:
    """Inspects all sources of `config`, which may download or draw them, and combines them.

    Raises `InputError` for a location that is no source of this dataset, and if the sources' classes or sizes differ.
    """
    dataset = find(config)
    wanted = [Wanted(source, dataset, config) for source in config.source]
    if any(kinds := list(map(_kind_of_lines, wanted))):
        return _combine_lines(wanted, kinds)
    _refuse(config, _FOR_LINES, "is for lines of text; the sources hold characters")
    parts = [_inspect(one) for one in wanted]
    for source, part in zip(config.source, parts, strict=True):
        if part.schema.vocabulary != parts[0].schema.vocabulary:
            raise InputError(f"--source {source}: its classes differ from those of {config.source[0]}")
        if part.schema != parts[0].schema:
            height, width, _ = part.schema.image_shape
            raise InputError(f"--source {source}: its images are {height}×{width}, unlike those of {config.source[0]}")
        if config.image_size is not None and part.schema.image_shape[:2] != image_size(config):
            height, width, _ = part.schema.image_shape
            raise InputError(
                f"--image-size {config.image_size}: the images of --source {source} stay {height}x{width}; "
                "only pictures are scaled"
            )
    if all(part.conversion for part in parts):
        _refuse(config, ("orientation",), "is for arrays of images; the sources hold pictures")
    combined = Source(
        schema=parts[0].schema,
        splits=tuple(split for part in parts for split in part.splits),
        files=tuple(file for part in parts for file in part.files),
        conversion=next((part.conversion for part in parts if part.conversion), None),
        rejected=tuple(one for part in parts for one in part.rejected),
        left_out=tuple(one for part in parts for one in part.left_out),
        warnings=tuple(warning for part in parts for warning in part.warnings),
    )
    namespaces = [part.splits[0].namespace for part in parts]
    if len(set(namespaces)) < len(namespaces):
        raise InputError("--source: two sources hold the same examples; remove one, or merge the folders of pictures")
    return _as_required(combined, config)


def _as_required(source: Source, config: PreprocessConfig) -> Source:
    """The source. Raises `InputError` for `--strict` if anything is left out, for `--require-official` if a file is
    not the published one.
    """
    if config.strict and source.left_out:
        raise InputError(f"--strict: left out: {in_words(source.left_out)}")
    if config.require_official and not all(file.official for file in source.files):
        others = ", ".join(file.name for file in source.files if not file.official)
        raise InputError(f"--require-official: not identical to a published file: {others}")
    return source


def _kind_of_lines(wanted: Wanted) -> ModuleType | None:
    return next((kind for kind in KINDS_OF_LINES if kind.holds(wanted)), None)


def _combine_lines(wanted: list[Wanted], kinds: list[ModuleType | None]) -> Source:
    """The sources as one; `kinds` has None for what holds no lines."""
    config = wanted[0].config
    if wanted[0].dataset:
        raise InputError(f"--dataset {config.dataset}: is of characters; lines have a name of your own, as mine/lines")
    _refuse(config, _FOR_CHARACTERS, "is for characters; the sources hold lines")
    if composed_lines not in kinds:
        _refuse(config, ("texts",), "is for lines that are composed; no --source compose:… is given")
        if drawn_lines not in kinds:
            _refuse(
                config, ("num_lines",), "is for lines that are drawn or composed; --max-examples-per-split takes fewer"
            )
    for one, kind in zip(wanted, kinds, strict=True):
        if not kind:
            raise InputError(f"--source {one.location}: holds no lines, as --source {config.source[0]} does")
        if kind not in _WITHOUT_FILES and (to_path(one.location) / pictures.LABELS_FILE).is_file():
            raise InputError(f"--source {one.location}: holds both lines and {pictures.LABELS_FILE}; remove one")
    listings = [kind.list_lines(one) for one, kind in zip(wanted, kinds, strict=True)]
    return _as_required(lines.combine(listings, config), config)


def _refuse(config: PreprocessConfig, names: Iterable[str], reason: str) -> None:
    """Raises `InputError` if one of these flags is given."""
    for name in names:
        if getattr(config, name) is not None:
            raise InputError(f"--{name.replace('_', '-')}: {reason}")


def _inspect(wanted: Wanted) -> Source:
    """Inspects the source as the first kind that holds it."""
    config = wanted.config
    if config.dataset.startswith("synthetic/") != synthetic.holds(wanted):
        raise InputError(
            f"--source {wanted.location}: does not fit --dataset {config.dataset}; drawn characters are --dataset "
            f"synthetic/… with --source {SYNTHETIC}, so that they never mix with real data"
        )
    for kind in KINDS:
        if kind.holds(wanted):
            return kind.inspect(wanted)
    others = "" if wanted.dataset else f"; lines: {_LINES_READ}; known datasets: {', '.join(catalogue.names())}"
    raise InputError(f"--source {wanted.location}: {_cause(wanted)}; what is read: {_CHARACTERS_READ}{others}")


def _cause(wanted: Wanted) -> str:
    """Why no kind of source holds this one."""
    if not to_path(wanted.location).is_file():
        files = f", such as {wanted.dataset.images_file('train')}" if wanted.dataset else ""
        causes = (f"; {path} {cause}" for path, location in wanted.files.items() if (cause := _cause_of_file(location)))
        return f"holds no images of characters{files}{next(causes, '')}"
    with to_path(wanted.location).open("rb") as file:
        head = file.read(file_kinds.HEAD_BYTES)
    if is_picture(head):
        return "is one picture, which has no class; name the folder of the folders of the classes"
    name = file_kinds.of(head)
    is_read = name in _KINDS_READ
    cause = "" if is_read and archive.is_archive(wanted.location) else _cause_of_file(wanted.location)
    return cause or ("holds no images with their classes" if is_read else file_kinds.cause(name))


def _cause_of_file(location: str) -> str:
    """Why a file, gzipped or not, is no source, if there is more to say than that it is of no kind that is read."""
    with archive.open_file(location) as raw, archive.unpacked(raw, location) as file:
        head = file.read(file_kinds.HEAD_BYTES)
    name = file_kinds.of(head)
    if not name and pixel_table.may_begin(head):
        return "is a table, but not of a column `label` and the pixels of square images"
    return file_kinds.cause(name) if file_kinds.is_refused(name) else ""
