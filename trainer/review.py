"""Writes the page on which people look at predictions and correct them; what it saves is a source of `preprocess`."""

import base64
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common import flags
from common.dataset import hashing
from common.errors import InputError
from common.formats.picture import PictureError
from common.storage import make_folder, to_path, write_atomically
from trainer.config.commands import ReviewConfig
from trainer.evaluation import label_issues
from trainer.prediction import choosing, originals
from trainer.reporting import pages, thumbnails

MOST = 5000
"""Pictures on a page."""
_USUAL = 500
_PAGE_BYTES = 16_500_000  # of pictures, which base64 makes 22 million characters
_PICTURE_BYTES = 32_000
_TOLD = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Overview:
    """What all predictions are; arrays are of the readings, in their order."""

    digest: str
    confidence: np.ndarray
    """float32 [N]."""
    is_disputed: np.ndarray
    """bool [N]: whether there is a label and another reading."""
    classes: set[str]
    """Those that are named; of lines none."""
    num_unread: int
    num_labelled: int
    is_lines: bool


def run(config: ReviewConfig) -> str:
    """Writes the page, and returns its path. Raises `InputError` for bad input, or if no picture can be shown."""
    flags.check(config)
    _check(config)
    overview = _overview(config.predictions)
    places, is_random, weights = _choose(config, overview)
    if len(places) > MOST:
        raise InputError(
            f"--predictions: {len(places):,} readings are chosen, and a page shows at most {MOST:,}; give --most {MOST}"
        )
    lines = _lines_at(places, config.predictions)
    folder = to_path(config.output).parent
    items, shapes, missing = _with_pictures(lines, overview, folder)
    for _, name, error in missing[:_TOLD]:
        _log.warning("not shown     %s: %s", name, error)
    if len(missing) > _TOLD:
        _log.warning("not shown     %s more; the page lists them", f"{len(missing) - _TOLD:,}")
    if not items:
        raise InputError(
            f"--predictions: no picture can be shown; {missing[0][1]}: {missing[0][2]} "
            "(names are relative to the folder in which predict ran)"
        )
    numbers = sorted(items)
    first = [numbers[at] for at in choosing.duplicates(np.stack([shapes[number] for number in numbers]))]
    for number, of in zip(numbers, first, strict=True):
        draw = choosing.RANDOM if is_random[number] else choosing.LEAST_SURE
        items[number] |= {"id": int(places[number]), "draw": draw, "weight": round(float(weights[number]), 6)}
        if of != number:
            items[number] |= {"draw": choosing.DUPLICATE, "like": int(places[of])}
    shown = [items[number] for _, number in sorted(zip(first, numbers, strict=True))]
    counts = Counter(item["draw"] for item in shown)
    page = pages.render(
        "review.html.j2",
        title=f"{len(shown):,} {'lines' if overview.is_lines else 'characters'} to review",
        data={
            "hash": overview.digest,
            "task": "lines" if overview.is_lines else "characters",
            "labels": config.label_issues,
            "classes": sorted(overview.classes),
            "items": shown,
        },
        labels=config.label_issues,
        count=len(overview.confidence),
        num_random=counts[choosing.RANDOM],
        is_all_random=bool(is_random.all()),
        num_unread=overview.num_unread,
        missing=[(name, error) for _, name, error in missing],
    )
    make_folder(folder)
    write_atomically(to_path(config.output), page.encode())
    _log.info(
        "to review     %s of %s readings: %s",
        f"{len(shown):,}",
        f"{len(overview.confidence):,}",
        "labels in doubt"
        if config.label_issues
        else ", ".join(f"{draw} {number:,}" for draw, number in sorted(counts.items())),
    )
    if overview.num_unread:
        _log.info("left out      %s inputs that predict could not read", f"{overview.num_unread:,}")
    return config.output


def _choose(config: ReviewConfig, overview: _Overview) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places of the readings to look at, whether each is a random one, its weight: see `choosing.choose`."""
    if not config.label_issues:
        return choosing.choose(overview.confidence, config.below, config.most or _USUAL, config.sample, config.seed)
    if not overview.num_labelled:
        raise InputError("--label-issues: the predictions have no labels; give those of a dataset folder")
    sure = np.flatnonzero(overview.is_disputed & (overview.confidence >= label_issues.MIN_CONFIDENCE))
    if not len(sure):
        raise InputError(
            f"--label-issues: no reading contradicts its label with a confidence of {label_issues.MIN_CONFIDENCE:g}"
        )
    places = sure[np.argsort(-overview.confidence[sure], kind="stable")][: config.most]
    return places, np.zeros(len(places), bool), np.ones(len(places))


def _with_pictures(
    lines: list[dict[str, Any]], overview: _Overview, folder: Any
) -> tuple[dict[int, dict[str, Any]], dict[int, np.ndarray], list[tuple[int, str, str]]]:
    """What the page has of each of these lines, and what its picture shows, by its number; the number and the name of
    those whose picture cannot be had, and why."""
    items, shapes, missing = {}, {}, []
    budget = min(_PICTURE_BYTES, _PAGE_BYTES // len(lines))
    for number, item in originals.find(lines):
        line = lines[number]
        try:
            if item.error:
                raise PictureError("", item.error)
            small = thumbnails.of(item, overview.is_lines)
        except PictureError as error:
            missing.append((number, _name(line), str(error)))
            continue
        items[number] = _item(line, folder) | {"picture": _data_uri(*thumbnails.encode(small, budget))}
        if "label" in line and isinstance(item.content, np.ndarray):
            columns_first = item.content.swapaxes(0, 1) if overview.is_lines else item.content
            items[number]["hash"] = f"{int(hashing.pixel_hashes(columns_first[None])[0]):016x}"
        shapes[number] = thumbnails.shape(small)
    return items, shapes, sorted(missing)


def _check(config: ReviewConfig) -> None:
    choices = [f"--{name}" for name in ("below", "most", "sample") if getattr(config, name) is not None]
    if config.label_issues and choices != ["--most"]:
        choices.append("--label-issues")
    if len(choices) > 1:
        raise InputError(f"{choices[0]} and {choices[1]}: are two ways to choose; give one of them")
    if not config.predictions:
        raise InputError("--predictions: name the file that predict wrote")
    for location in config.predictions:
        if not to_path(location).is_file():
            raise InputError(f"--predictions {location}: no such file; give what predict wrote")
        if os.path.realpath(location) == os.path.realpath(config.output):
            raise InputError(f"--output {config.output}: is the file of --predictions, too; give another name")


def _read(locations: Sequence[str]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line as it is, and what it says. Raises `InputError` for what predict has not written."""
    for location in locations:
        with to_path(location).open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    line = json.loads(raw)
                    if not isinstance(line, dict) or not isinstance(line["source"], str):
                        raise ValueError
                    if "confidence" in line and not (
                        isinstance(line["confidence"], int | float)
                        and isinstance(line.get("text", line.get("character")), str)
                    ):
                        raise ValueError
                except (ValueError, KeyError):
                    raise InputError(
                        f"--predictions {location}: line {number} is no prediction; give what predict wrote"
                    ) from None
                yield raw, line


def _overview(locations: Sequence[str]) -> _Overview:
    digest, confidence, is_disputed, classes = hashlib.sha256(), [], [], set[str]()
    num_unread, num_labelled, tasks = 0, 0, set[bool]()
    for raw, line in _read(locations):
        digest.update(raw)
        if "confidence" not in line:
            num_unread += 1
            continue
        reading = line.get("text", line.get("character"))
        confidence.append(line["confidence"])
        is_disputed.append(line.get("label", reading) != reading)
        num_labelled += "label" in line
        tasks.add("text" in line)
        if "text" not in line:
            named = (reading, line.get("label", reading), *(name for name, _ in line.get("alternatives", ())))
            classes.update(named)
    if not confidence:
        raise InputError(f"--predictions {' '.join(locations)}: holds no reading")
    if len(tasks) > 1:
        raise InputError("--predictions: hold both characters and lines of text; give those of one model")
    return _Overview(
        digest.hexdigest()[:32],
        np.array(confidence, np.float32),
        np.array(is_disputed, bool),
        classes,
        num_unread,
        num_labelled,
        tasks.pop(),
    )


def _lines_at(places: np.ndarray, locations: Sequence[str]) -> list[dict[str, Any]]:
    """The lines of the readings at these places, in their order."""
    wanted = set(places.tolist())
    readings = (line for _, line in _read(locations) if "confidence" in line)
    found = {place: line for place, line in enumerate(readings) if place in wanted}
    return [found[place] for place in places.tolist()]


def _item(line: dict[str, Any], folder: Any) -> dict[str, Any]:
    """What the page and its table say of a reading."""
    return {
        "file": _relative(line["source"], folder),
        "index": line.get("index", ""),
        "line": line.get("line", ""),
        "was": line.get("text", line.get("character")),
        "confidence": line["confidence"],
        "alternatives": line.get("alternatives", [])[1:],
        "model": line.get("model", ""),
    } | {name: line[name] for name in ("label", "message") if name in line}


def _relative(source: str, folder: Any) -> str:
    """The source relative to the page's folder, beside which its table is expected to lie; as it is if not below."""
    if not isinstance(folder, Path) or "://" in source:
        base = f"{folder}/"
        return source.removeprefix(base)
    relative = os.path.relpath(os.path.realpath(source), os.path.realpath(folder))
    return source if relative.startswith("..") else Path(relative).as_posix()


def _name(line: dict[str, Any]) -> str:
    parts = [line["source"], *(str(line[name]) for name in ("array", "index", "line") if name in line)]
    return ", ".join(parts)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
