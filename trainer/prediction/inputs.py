"""Finds the inputs of a prediction: what each file is, its content says, and every file gets an answer."""

import glob
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from common.dataset import manifest as manifests
from common.errors import InputError
from common.formats import archive, arrays, kind, page_xml
from common.formats.arrays import Array
from common.formats.picture import SUFFIXES
from common.normalize.page import find_picture
from common.storage import is_hidden, read, to_path, walk
from trainer.config.commands import PredictConfig
from trainer.prediction.parts import Archive, Images, Page, Parquet, Part, Pictures, Shard, Unreadable

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_PICTURES_PER_PART = 1024
_PAGE_SUFFIX = ".xml"
_PROBLEMS = {
    "no-file": "is no file, but a pipe or a device",
    "locked": "is a folder that may not be read",
    "loop": "is a link to a folder that holds it",
}


def find(config: PredictConfig, image_size: tuple[int, int | None]) -> tuple[list[Part], list[str]]:
    """The parts of the input, in the order of `--input`, for a model that takes images of `image_size`; hidden files.

    Raises `InputError` if an input is missing, holds nothing to predict, or is a dataset folder of another size.
    """
    if not config.input:
        raise InputError("--input: name at least one picture, folder, pattern, file of arrays or dataset folder")
    if "" in config.input:
        raise InputError("--input '': is empty, as a shell variable that is not set; name a picture, folder or pattern")
    parts: list[Part] = []
    hidden: list[str] = []
    for location in config.input:
        location_parts = list(_find(location, config, image_size, hidden))
        if not location_parts:
            raise InputError(f"--input {location}: holds nothing to predict, no file at all")
        parts += location_parts
    return parts, hidden


def paths_of(parts: list[Part]) -> Iterator[str]:
    """The files that `parts` are read from."""
    for part in parts:
        yield from part.paths if isinstance(part, Pictures) else (part.path,)


def _find(
    location: str, config: PredictConfig, image_size: tuple[int, int | None], hidden: list[str]
) -> Iterator[Part]:
    """The parts of one input. Adds hidden files, which have none, to `hidden`."""
    path = to_path(location)
    if (path / manifests.FILE_NAME).is_file():
        yield from _shards(path, config.split, image_size)
        return
    if path.is_file():
        paths = [(path, "")]
    elif path.is_dir():
        below = sorted((one, problem) for one, problem in walk(path) if problem != "empty-folder")
        paths = [(one, problem) for one, problem in below if not is_hidden(one.relative_to(path))]
        hidden += [str(one) for one, _ in below if is_hidden(one.relative_to(path))]
    elif glob.has_magic(location):
        paths = [(path, "") for path in _matching(location)]
    else:
        raise InputError(f"--input {location}: no such file or folder")
    pages, pictures, others = [], [], []
    for path, problem in paths:
        if problem:
            others.append(Unreadable(str(path), _PROBLEMS[problem]))
        elif path.suffix.lower() == _PAGE_SUFFIX:
            pages.append(path)
        elif some := _files_of_many(path, config, image_size):
            others += some
        else:
            pictures.append(str(path))
    if image_size[1] is not None:
        others += [
            Unreadable(str(page), "is XML; the model recognises characters, and reads no pages") for page in pages
        ]
    else:
        yield from (Page(str(page)) for page in pages)
        pictures = _without_those_of(pages, pictures) if pictures else []
    for start in range(0, len(pictures), _PICTURES_PER_PART):
        yield Pictures(tuple(pictures[start : start + _PICTURES_PER_PART]))
    yield from others


def _files_of_many(path: "AnyPath", config: PredictConfig, image_size: tuple[int, int | None]) -> list[Part]:
    """The parts of a file of many items: its arrays of images, or the pictures that it packs.

    None if it is no such file, and so a picture or nothing that can be read.
    """
    location = str(path)
    if _is_named_as_picture(location) or not path.is_file():
        return []
    try:
        if kind.of_file(location) == "parquet":
            return [Parquet(location)]
        is_archive = archive.is_archive(location)
        members = _with_arrays(location) if is_archive else [location]
        found = [array for member in members for array in arrays.find(member)]
    except (InputError, OSError) as error:
        return [Unreadable(location, str(error))]
    if images := [_images(array, config, image_size) for array in found if array.image_size]:
        return images
    if is_archive and members != [location]:
        return [Archive(location)]
    if not found:
        return []
    likest = max(found, key=lambda array: len(array.shape))
    return [Unreadable(location, f"holds {likest.dtype} of shape {likest.shape}, and no images")]


def _with_arrays(location: str) -> list[str]:
    """The members of an archive that may hold arrays, or NumPy's archive itself.

    One pass tells, since each member that is opened by itself would have the others before it read again.
    """
    files = archive.list_files(location)
    if [*files.values()] == [location]:
        return [location]
    return [
        files[member.name]
        for member, load in archive.scan(location)
        if not member.problem
        and member.name in files
        and not _is_named_as_picture(member.name)
        and arrays.may_hold(member.name, load(kind.HEAD_BYTES))
    ]


def _is_named_as_picture(location: str) -> bool:
    return location.lower().endswith(SUFFIXES)


def _images(array: Array, config: PredictConfig, image_size: tuple[int, int | None]) -> Images | Unreadable:
    name = f"{array.name}: " if array.name else ""
    if image_size[1] is None:
        return Unreadable(array.location, f"{name}holds images of characters; the model reads lines")
    is_transposed = array.is_named_emnist if config.transposed is None else config.transposed
    expected = image_size[::-1] if is_transposed else image_size
    if array.dtype != "uint8" or array.image_size != expected:
        wanted = f"uint8 [N, {expected[0]}, {expected[1]}]"
        return Unreadable(array.location, f"{name}holds {array.dtype} of shape {array.shape}; images are {wanted}")
    return Images(array, array.image_size, is_transposed)


def _matching(pattern: str) -> "list[AnyPath]":
    scheme = "gs://" if pattern.startswith("gs://") else ""
    parts = PurePosixPath(pattern.removeprefix(scheme)).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    base = to_path(scheme + str(PurePosixPath(*parts[:fixed])))
    try:
        return sorted(path for path in base.glob("/".join(parts[fixed:])) if path.is_file())
    except ValueError:
        example = "as in 'scans/**/*.png'"
        raise InputError(f"--input {pattern}: is no pattern; ** stands alone between slashes, {example}") from None


def _without_those_of(pages: "list[AnyPath]", pictures: list[str]) -> list[str]:
    """The pictures that may show a line each: not those of pages, nor any that is called like a page with a fault."""
    shown, names = set(), set()
    for page in pages:
        try:
            shown.add(str(find_picture(page, page_xml.read(read(page), str(page)))))
        except (InputError, OSError):
            names.add(page.stem)
    return [path for path in pictures if path not in shown and PurePosixPath(path).stem not in names]


def _shards(folder: "AnyPath", split: str, image_size: tuple[int, int | None]) -> Iterator[Shard]:
    manifest = manifests.read(folder)
    if split not in manifest.splits:
        raise InputError(f"--split {split}: {folder} has only {', '.join(manifest.splits)}")
    height, width, _ = manifest.schema.image_shape
    if image_size != (height, None if manifest.schema.has_width else width):
        sizes = ["×".join(map(str, filter(None, size))) for size in ((height, width), image_size)]
        raise InputError(f"--input {folder}: its images are {sizes[0]}, this model takes {sizes[1]}")
    manifests.check_shards(folder, manifest, (split,))
    for shard in manifest.splits[split].shards:
        yield Shard(str(folder / shard.name), manifest.schema)
