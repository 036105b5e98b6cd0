"""Prediction: from pictures, IDX files and dataset folders to a line of JSON for each character."""

import glob
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from preprocess import idx, records
from preprocess import manifest as manifests
from preprocess.errors import InputError
from preprocess.records import IMAGE_SIDE
from preprocess.sources import idx_files
from preprocess.storage import to_path, writing
from trainer import pages, saved_model
from trainer.config import PredictConfig

if TYPE_CHECKING:
    from preprocess.storage import AnyPath

BATCH_SIZE = 256
_TOP = 3
_READ_AT_ONCE = 16
_PICTURES_PER_PART = 1024
_ON_THE_PAGE = 1000
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_IDX_NAMES = ("*-images-idx3-ubyte", "*-images-idx3-ubyte.gz", "*.idx", "*.idx.gz", "*.idx3")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Something to predict that is read by one worker: some pictures, or a file of images."""

    paths: tuple[str, ...]
    kind: str
    """`pictures`, `idx`, or `records`."""
    is_transposed: bool = False
    """Whether an IDX file's images have height and width swapped."""
    class_names: tuple[str, ...] = ()
    """Of records: what their labels mean."""


@dataclass(frozen=True)
class Item:
    """One character to predict."""

    source: dict[str, Any]
    """What its line says of it: `source`, and in files of many `index` and, if known, `label`."""
    content: bytes | np.ndarray
    """An encoded picture, or an image, uint8 [28, 28], light on dark and upright."""


@dataclass(frozen=True)
class Prediction:
    """A line of the output, and the image, uint8 [28, 28], that it is about; None where there is none."""

    line: dict[str, Any]
    image: np.ndarray | None


def run(config: PredictConfig, beam_options: tuple[str, ...] | None = None) -> str:
    """Predicts all of the input and returns the path of the file that was written.

    With `beam_options` (which may be empty) it is done by Beam, on the runner that they name: the lines then are in no
    order, in several files, whose common beginning `--output` is. Raises `InputError` for bad input.
    """
    parts = find(config)
    if beam_options is not None:
        if config.html:
            raise InputError("--html: is made without Beam only; leave out the options after --")
        try:
            from trainer import predict_pipeline
        except ImportError:
            raise InputError("the options after --: install this package's extra preprocess, for Beam") from None
        return predict_pipeline.run(parts, config.model, config.output, beam_options)
    predict = make_predict(saved_model.load(config.model))
    shown: list[Prediction] = []
    count, bad = 0, 0
    with (
        writing(to_path(config.output)) as file,
        tqdm(unit=" characters", desc="predicting", leave=False, disable=None, unit_scale=True) as bar,
    ):
        for items in read_ahead(parts):
            for prediction in predict(items):
                file.write(to_line(prediction.line))
                count += 1
                bad += "error" in prediction.line
                if config.html and len(shown) < _ON_THE_PAGE:
                    shown.append(prediction)
            bar.update(len(items))
        if bad == count:
            raise InputError(f"--input {' '.join(config.input)}: holds no character that can be read")
    if config.html:
        with writing(to_path(config.html)) as file:
            file.write(_page(shown, count, bad).encode())
        _log.info("page          %s", config.html)
    _log.info("predicted     %s characters", f"{count - bad:,}")
    if bad:
        _log.warning("%d pictures could not be read; their lines have an `error`", bad)
    return config.output


def to_line(line: dict[str, Any]) -> bytes:
    return (json.dumps(line, ensure_ascii=False) + "\n").encode()


def find(config: PredictConfig) -> list[Part]:
    """What `--input` names, in its order. Raises `InputError` for what is not there or is nothing to predict."""
    if not config.input:
        raise InputError("--input: name at least one picture, folder, pattern, IDX file or dataset folder")
    parts: list[Part] = []
    for location in config.input:
        found = list(_find(location, config))
        if not found:
            raise InputError(f"--input {location}: nothing there to predict; pictures end in .png, .jpg or .jpeg")
        parts += found
    return parts


def _find(location: str, config: PredictConfig) -> Iterator[Part]:
    if glob.has_magic(location) and not to_path(location).exists():
        paths = _matching(location)
    elif (path := to_path(location)).is_dir():
        if (path / manifests.FILE_NAME).is_file():
            yield from _records_of(path, config.split)
            return
        paths = sorted(one for one in path.rglob("*") if one.suffix.lower() in _PICTURE_SUFFIXES and one.is_file())
        paths = [one for one in paths if not one.name.startswith(".")]
    elif path.is_file():
        paths = [path]
    else:
        raise InputError(f"--input {location}: no such file or folder")
    pictures = [str(one) for one in paths if not _is_idx(one)]
    for start in range(0, len(pictures), _PICTURES_PER_PART):
        yield Part(tuple(pictures[start : start + _PICTURES_PER_PART]), "pictures")
    for one in filter(_is_idx, paths):
        is_transposed = one.name.startswith("emnist-") if config.transposed is None else config.transposed
        yield Part((str(one),), "idx", is_transposed)


def _matching(pattern: str) -> "list[AnyPath]":
    parts = PurePosixPath(pattern.removeprefix("gs://")).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    base = to_path(("gs://" if pattern.startswith("gs://") else "") + str(PurePosixPath(*parts[:fixed])))
    return sorted(path for path in base.glob("/".join(parts[fixed:])) if path.is_file())


def _is_idx(path: "AnyPath") -> bool:
    return any(PurePosixPath(path.name).match(name) for name in _IDX_NAMES)


def _records_of(folder: "AnyPath", split: str) -> Iterator[Part]:
    manifest = manifests.read(folder)
    if split not in manifest.splits:
        raise InputError(f"--split {split}: {folder} has only {', '.join(manifest.splits)}")
    manifests.check_shards(folder, manifest, (split,))
    for shard in manifest.splits[split].shards:
        yield Part((str(folder / shard.name),), "records", class_names=manifest.class_names)


def read(part: Part) -> Iterator[Callable[[], list[Item]]]:
    """Functions that each read some of a part's items: what is slow about it can be done by several threads."""
    if part.kind == "pictures":
        for start in range(0, len(part.paths), _READ_AT_ONCE):
            yield lambda paths=part.paths[start : start + _READ_AT_ONCE]: [
                Item({"source": path}, to_path(path).read_bytes()) for path in paths
            ]
        return
    (path,) = part.paths
    blocks = _idx_blocks(path, part.is_transposed) if part.kind == "idx" else _record_blocks(path, part.class_names)
    start = 0
    for images, labels in blocks:
        items = []
        for place, image in enumerate(images):
            label = {} if labels is None else {"label": part.class_names[labels[place]]}
            items.append(Item({"source": path, "index": start + place, **label}, image))
        start += len(images)
        yield lambda items=items: items


def _idx_blocks(path: str, is_transposed: bool) -> Iterator[tuple[np.ndarray, None]]:
    with idx_files.open_idx(path) as (stream, header):
        if header.dtype != np.uint8 or header.shape[1:] != (IMAGE_SIDE, IMAGE_SIDE):
            raise InputError(f"{path}: holds {header.dtype} of shape {header.shape}; images are uint8 [N, 28, 28]")
        for images in idx.read_blocks(stream, header, BATCH_SIZE, path):
            yield (images.transpose(0, 2, 1) if is_transposed else images), None


def _record_blocks(path: str, class_names: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    length = records.record_bytes(len(class_names))
    with to_path(path).open("rb") as file:
        while data := file.read(BATCH_SIZE * length):
            yield records.decode(data, len(class_names))


def read_ahead(parts: Iterable[Part]) -> Iterator[list[Item]]:
    """The items of all parts in their order, in batches; files are read while earlier ones are predicted."""
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        waiting: deque = deque()
        batch: list[Item] = []
        for part in parts:
            for some in read(part):
                waiting.append(pool.submit(some))
                if len(waiting) > 2 * BATCH_SIZE // _READ_AT_ONCE:
                    batch += waiting.popleft().result()
                if len(batch) >= BATCH_SIZE:
                    yield batch[:BATCH_SIZE]
                    batch = batch[BATCH_SIZE:]
        for some in waiting:
            batch += some.result()
        for start in range(0, len(batch), BATCH_SIZE):
            yield batch[start : start + BATCH_SIZE]


def make_predict(model: tf.Module) -> Callable[[list[Item]], list[Prediction]]:
    """A function from items to their predictions, in their order. The line of a picture that is bad has an `error`."""
    names = saved_model.class_names(model)
    signature = model.signatures["image_tensor"]

    def predict(items: list[Item]) -> list[Prediction]:
        images = np.zeros((len(items), IMAGE_SIDE, IMAGE_SIDE, 1), np.uint8)
        errors = [""] * len(items)
        pictures = [number for number, item in enumerate(items) if isinstance(item.content, bytes)]
        if pictures:
            converted, complaints = model.convert(tf.constant([items[number].content for number in pictures]))
            images[pictures] = converted.numpy()
            for number, complaint in zip(pictures, complaints.numpy(), strict=True):
                errors[number] = complaint.decode()
        for number, item in enumerate(items):
            if isinstance(item.content, np.ndarray):
                images[number, ..., 0] = item.content
        probabilities = signature(image=tf.constant(images))["probabilities"].numpy()
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :_TOP]
        predictions = []
        for number, item in enumerate(items):
            if errors[number]:
                predictions.append(Prediction(item.source | {"error": errors[number]}, None))
                continue
            top = [[names[place], round(float(probabilities[number, place]), 6)] for place in order[number]]
            line = item.source | {"character": top[0][0], "probability": top[0][1], "top": top}
            predictions.append(Prediction(line, images[number, ..., 0]))
        return predictions

    return predict


def _page(predictions: list[Prediction], count: int, bad: int) -> str:
    shown = [(one.line, None if one.image is None else pages.picture(one.image)) for one in predictions]
    labelled = [line for line, _ in shown if "label" in line]
    return pages.render(
        "predictions.html.j2",
        title=f"{count:,} characters predicted",
        shown=shown,
        count=count,
        bad=bad,
        right=sum(line["character"] == line["label"] for line in labelled) if labelled else None,
        num_labelled=len(labelled),
    )
