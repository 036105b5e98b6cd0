"""Converts the model of a finished run for LiteRT and ONNX Runtime, and measures it there."""

import importlib
import logging
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from common import provenance
from common.dataset.schema import WIDTH, Batch, Schema
from common.errors import FailedError, InputError
from common.storage import remove, to_path, write_atomically
from trainer import tasks
from trainer.config.commands import ExportConfig
from trainer.data import datasets
from trainer.data.examples import Examples
from trainer.evaluation import inference
from trainer.runs import run_folder
from trainer.runs.run_folder import Results
from trainer.serving import loading, runtimes
from trainer.serving.runtimes import FORMATS, THREADS, Arrays, Format, Portable, Recognise

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

FIGURES = "formats.json"
"""Written last: if it is missing, the export was interrupted."""

_MOST_ACCURACY_LOST = 0.1  # a larger loss is a fault, not the price of quantisation
_CALIBRATION_EXAMPLES = 500
_BATCH_BYTES, _SMALLEST_BATCH = 256 * 784, 16
_SECONDS_OF_TIMING = 1.0

_SAVED_MODEL = "saved_model"

Splits = dict[str, Examples]
Predictions = dict[str, dict[str, Arrays]]
"""By model and split."""

_log = logging.getLogger(__name__)


def use_one_thread() -> None:
    """Limits TensorFlow to one CPU thread, like the other runtimes. Call it before any other use of TensorFlow."""
    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)


def run(config: ExportConfig) -> str:
    """Writes a file for each format, and `formats.json` with the measurements; returns the path of their folder.

    Before anything is written, each file is loaded by its own runtime and predicts the whole validation and test
    splits. Raises `InputError` for bad input, and `FailedError` if a file is no faithful copy of the SavedModel.
    """
    formats = {name: FORMATS[name] for name in config.formats}
    if not formats:
        raise InputError(f"--formats: name at least one of {', '.join(FORMATS)}")
    for name, fmt in formats.items():
        _check_modules(name, fmt)
    run_dir = to_path(config.model)
    output = to_path(config.output_dir) if config.output_dir else run_dir / run_folder.FORMATS
    results = run_folder.read_results(run_dir)
    portable = tasks.of(results.schema).portable
    if portable is None:
        raise InputError(
            f"--model {config.model}: is of the task {results.schema.task}, for which there are no formats"
        )
    is_calibrated = not all(fmt.is_exact for fmt in formats.values())
    splits, training = _open_data(config, results, is_calibrated)

    model = loading.load(config.model)
    for name, fmt in formats.items():
        if not fmt.has_recurrence and runtimes.is_recurrent(model, portable):
            raise InputError(
                f"--formats {name}: LiteRT has recurrent layers (LSTM), as {results.config.model} has, only for a "
                "fixed number of lines; give --formats onnx, or train --model lines"
            )
    samples = None if training is None else [portable.inputs(_one(training, row)) for row in range(_length(training))]
    contents = {fmt.file: fmt.convert(model, portable, samples) for fmt in formats.values()}
    loaded = {_SAVED_MODEL: runtimes.load_saved_model(model, portable)}
    loaded |= {name: fmt.load(contents[fmt.file]) for name, fmt in formats.items()}
    predictions, differences = _predict_all(loaded, splits, portable, results.schema)
    saved = [path for path in (run_dir / run_folder.SAVED_MODEL).rglob("*") if path.is_file()]
    figures = {
        _SAVED_MODEL: {
            "size_bytes": sum(path.stat().st_size for path in saved),
            "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
        }
    }
    for name, fmt in formats.items():
        figures[name] = {
            "file": fmt.file,
            "size_bytes": len(contents[fmt.file]),
            "threads": THREADS,
            "largest_difference": differences[name],
            "different_readings": _count_different(predictions, name, portable, results.schema),
        }
    for name, recognise in loaded.items():
        figures[name] |= _measure(recognise, splits, predictions[name], portable, results.schema)
    for name, fmt in formats.items():
        _check(fmt, figures[name], figures[_SAVED_MODEL], portable)
        told = fmt.file, portable.compared, differences[name], figures[name]["different_readings"]
        _log.info("%s, loaded again, gives %s within %.1e of the SavedModel's; %d readings are others", *told)
    _leave(output, contents, results, figures)
    return str(output)


def _leave(output: "AnyPath", contents: dict[str, bytes], results: Results, figures: dict[str, Any]) -> None:
    """Replaces the files of an earlier export; `formats.json` is written last."""
    for file in (FIGURES, *(fmt.file for fmt in FORMATS.values())):
        remove(output / file)
    for file, content in contents.items():
        write_atomically(output / file, content)
    facts = {
        "run": str(results.folder),
        "data_fingerprint": results.run_info["data_fingerprint"],
        "vocabulary": results.schema.vocabulary,
        "versions": provenance.tool_versions(
            "tensorflow", "tensorflow-cpu", "ai-edge-litert", "tf2onnx", "onnx", "onnxruntime"
        ),
    }
    run_folder.write_json(output / FIGURES, facts | {"formats": figures})
    for line in _table(figures):
        _log.info("%s", line)


def _check_modules(name: str, fmt: Format) -> None:
    """Raises `InputError` if a module that the format needs is not installed."""
    for module in fmt.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError(
                f"--formats {name}: cannot import {module} ({error}); install this package's extra formats"
            ) from None


def _open_data(config: ExportConfig, results: Results, is_calibrated: bool) -> tuple[Splits, Batch | None]:
    """The splits to measure on, and, if a format is calibrated, a sample of training examples by the run's seed.

    Raises `InputError` if the run was trained on other data.
    """
    dataset = datasets.open(config.data or results.config.data.folder, config.cache_dir, config.cache_limit_gb)
    manifest = dataset.manifest
    if manifest.data_fingerprint != results.run_info.get("data_fingerprint"):
        raise InputError(f"--data {dataset.folder}: is not the dataset that {results.folder} was trained on")
    opened = {
        split: dataset.examples(split).without(results.left_out(split))
        for split in ("validation", "test")
        if split in manifest.splits
    }
    return opened, _sample(dataset.examples("train"), results.config.seed) if is_calibrated else None


def _sample(examples: Examples, seed: int) -> Batch:
    """A random sample of examples, determined by the seed."""
    count = min(_CALIBRATION_EXAMPLES, examples.num_examples)
    return examples.take(np.random.default_rng(seed).choice(examples.num_examples, count, replace=False))


def _one(batch: Batch, row: int) -> Batch:
    return {name: values[row : row + 1] for name, values in batch.items()}


def _length(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _batch_sizes(schema: Schema) -> tuple[int, int]:
    """Those for which the speed is measured; the splits are predicted with the larger one."""
    return 1, schema.examples_in(_BATCH_BYTES, _SMALLEST_BATCH)


def _batches(examples: Examples) -> Iterator[Batch]:
    """All examples in batches, similar widths together."""
    order, size = np.arange(examples.num_examples), _batch_sizes(examples.schema)[-1]
    if examples.schema.has_width:
        order = np.argsort(-examples.values(WIDTH), kind="stable")
    return (examples.take(order[start : start + size]) for start in range(0, len(order), size))


def _predict_all(
    loaded: dict[str, Recognise], splits: Splits, portable: Portable, schema: Schema
) -> tuple[Predictions, dict[str, float]]:
    """The predictions of all models, and the largest difference of each from the SavedModel.

    Raises `FailedError` if a file contradicts itself. A batch is done by all models before the next, since what they
    are compared by may be too large to be kept for a split.
    """
    parts: dict[str, dict[str, list[Arrays]]] = {name: {split: [] for split in splits} for name in loaded}
    differences: dict[str, list[np.ndarray]] = {name: [] for name in loaded}
    for split, examples in splits.items():
        for batch in _batches(examples):
            inputs = portable.inputs(batch)
            answers = {name: recognise(**inputs) for name, recognise in loaded.items()}
            expected = answers[_SAVED_MODEL][portable.compared]
            for name, results in answers.items():
                differences[name].append(np.abs(results[portable.compared] - expected).max())
                try:
                    parts[name][split].append(portable.predictions(batch, results, schema.vocabulary))
                except FailedError as error:
                    file = run_folder.SAVED_MODEL if name == _SAVED_MODEL else FORMATS[name].file
                    raise FailedError(f"{file}: {error}") from None
    predictions = {name: {split: _joined(some) for split, some in of_model.items()} for name, of_model in parts.items()}
    return predictions, {name: float(np.max(values)) for name, values in differences.items()}


def _joined(parts: list[Arrays]) -> Arrays:
    return {name: inference.concatenated([part[name] for part in parts]) for name in parts[0]}


def _count_different(predictions: Predictions, name: str, portable: Portable, schema: Schema) -> int:
    """The examples that a file reads as something else than the SavedModel does."""
    read = (
        [portable.read(predictions[model][split], schema.vocabulary) for split in predictions[model]]
        for model in (name, _SAVED_MODEL)
    )
    return sum(one != other for pair in zip(*read, strict=True) for one, other in zip(*pair, strict=True))


def _measure(
    recognise: Recognise, splits: Splits, predictions: dict[str, Arrays], portable: Portable, schema: Schema
) -> dict[str, Any]:
    """The speed, and the metrics on each split."""
    speeds = {}
    for size in _batch_sizes(schema):
        test = splits["test"]
        inputs = portable.inputs(test.take(np.arange(min(size, test.num_examples))))
        speeds[str(size)] = _examples_per_second(recognise, inputs)
    return {
        "examples_per_second": speeds,
        **{split: portable.figures(predictions[split], schema) for split in splits},
    }


def _examples_per_second(recognise: Recognise, inputs: Arrays) -> float:
    """The speed on one batch: the median of repeated calls, which other load hardly affects."""
    recognise(**inputs)
    seconds = []
    end = time.perf_counter() + _SECONDS_OF_TIMING
    while time.perf_counter() < end:
        began = time.perf_counter()
        recognise(**inputs)
        seconds.append(time.perf_counter() - began)
    return _length(inputs) / float(np.median(seconds))


def _check(fmt: Format, measured: dict[str, Any], expected: dict[str, Any], portable: Portable) -> None:
    """Raises `FailedError` if a file's figures are not those of a faithful copy; NaN never passes.

    Results within the tolerance read the same but for ties, so readings are counted, not checked.
    """
    if fmt.is_exact and not measured["largest_difference"] <= portable.tolerance:
        difference = f"{measured['largest_difference']:.1e}, more than {portable.tolerance:.0e}"
        raise FailedError(f"{fmt.file}: its {portable.compared} differ from the SavedModel's by up to {difference}")
    lost = expected["test"]["accuracy"] - measured["test"]["accuracy"]
    if not lost <= _MOST_ACCURACY_LOST:
        raise FailedError(f"{fmt.file}: its accuracy is {100 * lost:.1f} points below the SavedModel's")


def _table(figures: dict[str, Any]) -> list[str]:
    sizes = "".join(f"{f'examples/s, {size} at once':>25}" for size in figures[_SAVED_MODEL]["examples_per_second"])
    lines = [f"{'':13}{'bytes':>11}{'test accuracy':>15}{'loss':>9}{sizes}"]
    for name, measured in figures.items():
        test, speeds = measured["test"], measured["examples_per_second"].values()
        line = f"{name:13}{measured['size_bytes']:>11,}{100 * test['accuracy']:>13.2f} %{test['loss']:>9.4f}"
        lines.append(line + "".join(f"{speed:>25,.0f}" for speed in speeds))
    return lines
