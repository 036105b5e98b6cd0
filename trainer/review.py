"""Writes the page on which people look at predictions and correct them; what it saves is a source of `preprocess`."""

import base64
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import flags
from common.errors import InputError
from common.formats.picture import PictureError
from common.storage import make_folder, to_path, write_atomically
from trainer.config.commands import ReviewConfig
from trainer.prediction import choosing, originals
from trainer.reporting import pages, thumbnails

MOST = 5000
"""Pictures on a page."""
_USUAL = 500
_PAGE_BYTES = 16_500_000  # of pictures, which base64 makes 22 million characters
_PICTURE_BYTES = 32_000

_log = logging.getLogger(__name__)


def run(config: ReviewConfig) -> str:
    """Writes the page, and returns its path. Raises `InputError` for bad input, or if no picture can be shown."""
    flags.check(config)
    _check(config)
    digest, confidence, classes, num_unread, is_lines = _overview(config.predictions)
    places, is_random, weights = choosing.choose(
        confidence, config.below, config.most or _USUAL, config.sample, config.seed
    )
    if len(places) > MOST:
        raise InputError(
            f"--predictions: {len(places):,} readings are chosen, and a page shows at most {MOST:,}; give --most {MOST}"
        )
    rank = {int(place): number for number, place in enumerate(places)}
    lines: list[dict[str, Any]] = [{}] * len(places)
    for place, line in enumerate(line for _, line in _read(config.predictions) if "confidence" in line):
        if place in rank:
            lines[rank[place]] = line
    shown, shapes, missing = {}, {}, []
    budget = min(_PICTURE_BYTES, _PAGE_BYTES // len(places))
    for number, item in originals.find(lines):
        try:
            if item.error:
                raise PictureError("", item.error)
            small = thumbnails.of(item, is_lines)
        except PictureError as error:
            missing.append((number, _name(lines[number]), str(error)))
            continue
        shown[number], shapes[number] = _data_uri(*thumbnails.encode(small, budget)), thumbnails.shape(small)
    missing.sort()
    for _, name, error in missing[:10]:
        _log.warning("not shown     %s: %s", name, error)
    if len(missing) > 10:
        _log.warning("not shown     %s more; the page lists them", f"{len(missing) - 10:,}")
    if not shown:
        raise InputError(
            f"--predictions: no picture can be shown; {missing[0][1]}: {missing[0][2]} "
            "(names are relative to the folder in which predict ran)"
        )
    folder = to_path(config.output).parent
    numbers = sorted(shown)
    first = choosing.duplicates(np.stack([shapes[number] for number in numbers]))
    items = [
        _item(lines[number], int(places[number]), folder)
        | {
            "picture": shown[number],
            "draw": choosing.RANDOM if is_random[number] else choosing.LEAST_SURE,
            "weight": round(float(weights[number]), 6),
        }
        for number in numbers
    ]
    order = sorted(range(len(items)), key=lambda at: (first[at], at))
    for at, of in enumerate(first):
        if at != of:
            items[at] |= {"draw": choosing.DUPLICATE, "like": items[of]["id"]}
    data = {
        "hash": digest,
        "task": "lines" if is_lines else "characters",
        "classes": sorted(classes),
        "items": [items[at] for at in order],
    }
    counts = Counter(item["draw"] for item in items)
    page = pages.render(
        "review.html.j2",
        title=f"{len(items):,} {'lines' if is_lines else 'characters'} to review",
        data=data,
        count=len(confidence),
        num_random=counts[choosing.RANDOM],
        num_unread=num_unread,
        missing=[(name, error) for _, name, error in missing],
    )
    make_folder(folder)
    write_atomically(to_path(config.output), page.encode())
    _log.info(
        "to review     %s of %s readings: %s",
        f"{len(items):,}",
        f"{len(confidence):,}",
        ", ".join(f"{draw} {number:,}" for draw, number in sorted(counts.items())),
    )
    if num_unread:
        _log.info("left out      %s inputs that predict could not read", f"{num_unread:,}")
    return config.output


def _check(config: ReviewConfig) -> None:
    choices = [name for name in ("below", "most", "sample") if getattr(config, name) is not None]
    if len(choices) > 1:
        raise InputError(f"--{choices[0]} and --{choices[1]}: are two ways to choose; give one of them")
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


def _overview(locations: Sequence[str]) -> tuple[str, np.ndarray, set[str], int, bool]:
    """The predictions' hash, the confidence of each reading, float32 [N], the classes that are named, how many lines
    have no reading, and whether lines of text were read."""
    digest, confidence, classes, num_unread, tasks = hashlib.sha256(), [], set[str](), 0, set[bool]()
    for raw, line in _read(locations):
        digest.update(raw)
        if "confidence" not in line:
            num_unread += 1
            continue
        confidence.append(line["confidence"])
        tasks.add("text" in line)
        if "text" not in line:
            classes.update((line["character"], *(name for name, _ in line.get("alternatives", ()))))
    if not confidence:
        raise InputError(f"--predictions {' '.join(locations)}: holds no reading")
    if len(tasks) > 1:
        raise InputError("--predictions: hold both characters and lines of text; give those of one model")
    return digest.hexdigest()[:32], np.array(confidence, np.float32), classes, num_unread, tasks.pop()


def _item(line: dict[str, Any], place: int, folder: Any) -> dict[str, Any]:
    """What the page and its table say of a reading."""
    return {
        "id": place,
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
