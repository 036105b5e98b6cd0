"""The pictures that earlier predictions were made of, found again by what their lines say."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from common.dataset import manifest as manifests
from common.errors import InputError
from common.formats import archive, arrays, kind
from common.storage import to_path
from trainer.prediction.parts import Archive, Images, Item, Page, Parquet, Part, Pictures, Shard, name_of

_MEMBER = archive.member_of("", "")
_GONE = "is no longer in it"


def find(lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Item]]:
    """The item of each line, with the line's number; the item has an `error` if the picture is no longer there.

    Each file, or array of it, is read once, and few items are in memory at a time.
    """
    by_file: dict[tuple[str, str | None], dict[tuple, list[int]]] = defaultdict(lambda: defaultdict(list))
    alone: list[int] = []
    for number, line in enumerate(lines):
        source = line["source"]
        if "index" in line or "line" in line:
            by_file[source, line.get("array")][_key(line)].append(number)
        elif _MEMBER in source:
            by_file[source.partition(_MEMBER)[0], None][_key(line)].append(number)
        else:
            alone.append(number)
    yield from zip(alone, Pictures(tuple(lines[number]["source"] for number in alone)).read(), strict=True)
    for (file, _), wanted in by_file.items():
        error = _GONE
        try:
            for item in chain.from_iterable(part.read() for part in _parts(file, next(iter(wanted)))):
                if item.error and _key(item.source) not in wanted:
                    error = item.error
                for number in wanted.pop(_key(item.source), ()):
                    yield number, item
                if not wanted:
                    break
        except (InputError, OSError) as problem:
            error = name_of(str(getattr(problem, "strerror", None) or problem))
        for numbers in wanted.values():
            yield from ((number, Item(dict(lines[number]), None, error)) for number in numbers)


def _key(source: Mapping[str, Any]) -> tuple:
    return tuple(source.get(name) for name in ("source", "array", "index", "line"))


def _parts(file: str, key: tuple) -> list[Part]:
    """What to read a file by whose items have keys such as this one. Raises `InputError` or `OSError` if it is gone."""
    _, array, index, line = key
    path = to_path(file)
    if line is not None:
        return [Page(file)]
    if index is None:
        return [Archive(file)]
    if (path.parent / manifests.FILE_NAME).is_file():
        return [Shard(file, manifests.read(path.parent).schema)]
    if _MEMBER not in file and kind.of_file(file) == "parquet":
        return [Parquet(file)]
    found = [one for one in arrays.find(file) if one.image_size and one.dtype == "uint8"]
    if array is not None:
        found = [one for one in found if one.name == array]
    if len(found) > 1:
        raise InputError(f"{file}: holds {len(found)} arrays of images, and the line does not name one")
    return [Images(one, one.image_size, one.is_named_emnist) for one in found]
