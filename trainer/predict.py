"""Predicts characters and lines in pictures, pages, IDX files and dataset folders: a line of JSON for each."""

import logging
import math
import os
from collections import Counter
from contextlib import nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
from tqdm import tqdm

from common import flags
from common.errors import InputError
from common.formats import page_xml
from common.normalize import problems
from common.storage import read, to_path, write_atomically, writing
from trainer import tasks
from trainer.config.commands import PredictConfig
from trainer.evaluation import decoder as decoders
from trainer.prediction import inputs, json_lines
from trainer.prediction.json_lines import Prediction
from trainer.prediction.parts import Page, Part, name_of
from trainer.reporting import pages
from trainer.serving import loading

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_ON_THE_PAGE = 1000

_log = logging.getLogger(__name__)


def run(config: PredictConfig, beam_options: tuple[str, ...] | None = None) -> str:
    """Predicts the whole input and returns the path of the output file.

    With `beam_options` (which may be empty) Beam predicts, on the runner that they name. It writes the same lines to
    several files whose names begin with `output`; their pattern is returned. Raises `InputError` for bad input.
    """
    flags.check(config)
    for flag, value in (("--html", config.html), ("--write-xml", config.write_xml), ("--strict", config.strict)):
        if beam_options is not None and value:
            raise InputError(f"{flag}: is not available with Beam; leave out the options after --")
    if config.html and _place(config.html) == _place(config.output):
        raise InputError(f"--html {config.html}: is the file of --output, too; give another name")
    model, fingerprint = loading.load(config.model), loading.fingerprint(config.model)
    _warn_of_limits(model, config)
    parts, hidden = inputs.find(config, loading.image_size(model))
    if config.strict and hidden:
        raise InputError(f"--strict: {_left_out(hidden)}")
    decoder = None
    if config.language_model:
        decoder = decoders.load(to_path(config.language_model), loading.class_names(model))
    if beam_options is not None:
        try:
            from trainer.prediction import beam_pipeline
        except ImportError:
            raise InputError("the options after --: need Beam; install this package's extra preprocess") from None
        handler = beam_pipeline.Reader(config.model, fingerprint, config.max_error, decoder)
        return beam_pipeline.run(parts, handler, config.output, beam_options)
    _check_overwrites_no_input(config, parts)
    xml_files = _xml_files(config, parts)
    predict = tasks.of_model(model).make_predict(model, fingerprint, config.max_error, decoder)
    items = chain.from_iterable(part.read() for part in parts)
    shown: list[Prediction] = []
    counts, complaint = Counter[str](), ""
    texts: dict[str, dict[str, tuple[str, float]]] = {}
    with (
        writing(to_path(config.output)) as file,
        writing(to_path(config.html)) if config.html else nullcontext() as page,
        tqdm(unit=" items", desc="predicting", leave=False, disable=None, unit_scale=True) as bar,
    ):
        while batch := list(islice(items, json_lines.BATCH_SIZE)):
            for prediction in predict(batch):
                line = prediction.line
                file.write(json_lines.to_line(line) + b"\n")
                counts.update(json_lines.outcomes(line))
                if line["source"] in xml_files and "text" in line:
                    texts.setdefault(line["source"], {})[line["line"]] = line["text"], line["confidence"]
                if prediction.image is None:
                    complaint = complaint or f"{line['source']} {line['message']}"
                if config.html and len(shown) < _ON_THE_PAGE:
                    shown.append(prediction)
            bar.update(len(batch))
        if not counts[json_lines.PREDICTED]:
            raise InputError(f"--input: nothing could be read; {complaint or 'all files are empty'}")
        if config.strict and counts[json_lines.UNREADABLE]:
            raise InputError(
                f"--strict: {counts[json_lines.UNREADABLE]:,} of the inputs could not be read; {complaint}"
            )
        if page:
            page.write(_page(shown, counts, model, config.max_error).encode())
    for name, (source, copy) in xml_files.items():
        write_atomically(copy, page_xml.with_texts(read(source), texts.get(name, {})))
    if config.write_xml:
        _log.info("XML           %s: %d files", config.write_xml, len(xml_files))
    if config.html:
        _log.info("page          %s", config.html)
    json_lines.tell(counts, config.max_error)
    if hidden:
        _log.info("left out      %s", _left_out(hidden))
    return config.output


def _left_out(hidden: list[str]) -> str:
    return f"{len(hidden):,} hidden {'file' if len(hidden) == 1 else 'files'}; the first: {name_of(hidden[0])}"


def _check_overwrites_no_input(config: PredictConfig, parts: list[Part]) -> None:
    for flag, location in (("--output", config.output), ("--html", config.html)):
        if location and to_path(location).exists():
            place = _place(location)
            if any(_place(path) == place for path in inputs.paths_of(parts)):
                raise InputError(f"{flag} {location}: is one of the inputs, and would be replaced; give another name")


def _xml_files(config: PredictConfig, parts: list[Part]) -> "dict[str, tuple[AnyPath, AnyPath]]":
    """Each XML file of the input and its copy to write, by its name in the lines; none without `--write-xml`."""
    if not config.write_xml:
        return {}
    folder = to_path(config.write_xml)
    pages = [to_path(part.path) for part in parts if isinstance(part, Page)]
    if not pages:
        raise InputError(f"--write-xml {config.write_xml}: the input has no PAGE or ALTO file")
    copies: dict[str, AnyPath] = {}
    for page in pages:
        if copies.setdefault(page.name, page) != page:
            raise InputError(f"--write-xml {config.write_xml}: {page} and {copies[page.name]} would have one copy")
        if _place(str(folder / page.name)) == _place(str(page)):
            raise InputError(f"--write-xml {config.write_xml}: {page} would be replaced; give another folder")
    return {name_of(str(page)): (page, folder / page.name) for page in pages}


def _place(location: str) -> str:
    """The location without links, by which it is compared with others."""
    path = to_path(location)
    return os.path.realpath(path) if isinstance(path, Path) else str(path)


def _warn_of_limits(model: tf.Module, config: PredictConfig) -> None:
    """Says once if no reading can be accepted, and why."""
    for limit, kind in zip(json_lines.thresholds(model, config.max_error), ("pixels", "pictures"), strict=True):
        if limit is None:
            _log.warning("--model %s: was exported before models had thresholds; `accepted` is null", config.model)
            return
        if limit == math.inf:
            _log.warning("--max-error %g: the model cannot promise it of %s; none is accepted", config.max_error, kind)


def _page(predictions: list[Prediction], counts: Counter[str], model: tf.Module, max_error: float) -> str:
    shown = [
        (prediction.line, None if prediction.image is None else pages.picture(prediction.image))
        for prediction in predictions
    ]
    labelled = [line for line, picture in shown if picture and "label" in line]
    return pages.render(
        "predictions.html.j2",
        title=f"{counts[json_lines.PREDICTED]:,} {loading.task_name(model)} predicted",
        shown=shown,
        count=counts[json_lines.PREDICTED] + counts[json_lines.UNREADABLE],
        accepted=None if counts[json_lines.UNJUDGED] else counts[json_lines.ACCEPTED],
        max_error=max_error,
        problems={code: counts[code] for code in problems.MESSAGES if counts[code]},
        size="×".join(map(str, filter(None, loading.image_size(model)))),
        right=sum(line.get("character", line.get("text")) == line["label"] for line in labelled) if labelled else None,
        num_labelled=len(labelled),
    )
