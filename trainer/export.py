"""Converts the model of a finished run for LiteRT and ONNX Runtime, and measures it there."""

import importlib
import logging
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from common import provenance
from common.dataset.schema import IMAGE, LABEL
from common.errors import FailedError, InputError
from common.storage import remove, to_path, write_atomically
from trainer.config.commands import ExportConfig
from trainer.data import datasets
from trainer.data.examples import Examples
from trainer.evaluation import metrics
from trainer.runs import run_folder
from trainer.runs.run_folder import Results
from trainer.serving import loading, runtimes
from trainer.serving.runtimes import FORMATS, THREADS, Format, Recognise

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

FIGURES = "formats.json"
"""Written last: if it is missing, the export was interrupted."""

_TOLERANCE = 1e-4  # in a probability: other runtimes sum float32 in another order
_MOST_ACCURACY_LOST = 0.1  # a larger loss is a fault, not the price of quantisation
_CALIBRATION_EXAMPLES = 500
_BATCH_SIZES = (1, 256)
_SECONDS_OF_TIMING = 1.0

Splits = dict[str, tuple[np.ndarray, np.ndarray]]
"""Each split's images uint8 [N, H, W, 1] and labels int64 [N], by its name."""

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
    is_calibrated = not all(fmt.is_exact for fmt in formats.values())
    splits, training_images = _open_data(config, results, is_calibrated)

    model = loading.load(config.model)
    class_names = loading.class_names(model)
    served = runtimes.load_saved_model(model)
    expected = _predict(served, splits, class_names, run_folder.SAVED_MODEL)
    files = [path for path in (run_dir / run_folder.SAVED_MODEL).rglob("*") if path.is_file()]
    figures = {
        "saved_model": {
            "size_bytes": sum(path.stat().st_size for path in files),
            "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
            **_measure(served, splits, expected),
        }
    }
    contents = {}
    for name, fmt in formats.items():
        contents[fmt.file] = content = fmt.convert(model, training_images)
        recognise = fmt.load(content)
        predictions = _predict(recognise, splits, class_names, fmt.file)
        difference = max(float(np.abs(predictions[split] - expected[split]).max()) for split in splits)
        figures[name] = {
            "file": fmt.file,
            "size_bytes": len(content),
            "threads": THREADS,
            "largest_difference": difference,
            **_measure(recognise, splits, predictions),
        }
        _check(fmt, figures[name], figures["saved_model"])
        _log.info("%s, loaded again, gives probabilities within %.1e of the SavedModel's", fmt.file, difference)
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


def _open_data(config: ExportConfig, results: Results, is_calibrated: bool) -> tuple[Splits, np.ndarray | None]:
    """The splits to measure on, and, if a format is calibrated, a sample of training images by the run's seed.

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
    splits = {split: _take(examples, np.arange(examples.num_examples)) for split, examples in opened.items()}
    return splits, _sample(dataset.examples("train"), results.config.seed) if is_calibrated else None


def _take(examples: Examples, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, 1] and labels int64 [N] of the examples at these indices."""
    batch = examples.take(numbers)
    return batch[IMAGE], batch[LABEL]


def _sample(examples: Examples, seed: int) -> np.ndarray:
    """A random sample of images, determined by the seed."""
    count = min(_CALIBRATION_EXAMPLES, examples.num_examples)
    return _take(examples, np.random.default_rng(seed).choice(examples.num_examples, count, replace=False))[0]


def _predict(recognise: Recognise, splits: Splits, class_names: tuple[str, ...], file: str) -> dict[str, np.ndarray]:
    """Probabilities float32 [N, C] by split. Raises `FailedError` if the file's class names do not match."""
    predictions = {}
    for split, (images, _) in splits.items():
        starts = range(0, len(images), _BATCH_SIZES[-1])
        answers = [recognise(images[start : start + _BATCH_SIZES[-1]]) for start in starts]
        predictions[split] = np.concatenate([part["probabilities"] for part in answers])
        names = [name for part in answers for name in part["class_name"]]
        names = [name.decode() if isinstance(name, bytes) else name for name in names]
        if names != [class_names[index] for index in predictions[split].argmax(axis=1)]:
            raise FailedError(f"{file}: its class names are not those of the most probable classes")
    return predictions


def _measure(recognise: Recognise, splits: Splits, predictions: dict[str, np.ndarray]) -> dict[str, Any]:
    """The speed, and the metrics on each split."""
    images, _ = splits["test"]
    speeds = {str(size): _examples_per_second(recognise, images[:size]) for size in _BATCH_SIZES}
    figures = {split: asdict(metrics.compute(labels, predictions[split])) for split, (_, labels) in splits.items()}
    return {"examples_per_second": speeds, **figures}


def _examples_per_second(recognise: Recognise, images: np.ndarray) -> float:
    """The speed on `images` as one batch: the median of repeated calls, which other load hardly affects."""
    recognise(images)
    seconds = []
    end = time.perf_counter() + _SECONDS_OF_TIMING
    while time.perf_counter() < end:
        began = time.perf_counter()
        recognise(images)
        seconds.append(time.perf_counter() - began)
    return len(images) / float(np.median(seconds))


def _check(fmt: Format, measured: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raises `FailedError` if a file's figures are not those of a faithful copy; NaN never passes."""
    if fmt.is_exact and not measured["largest_difference"] <= _TOLERANCE:
        difference = f"{measured['largest_difference']:.1e}, more than {_TOLERANCE:.0e}"
        raise FailedError(f"{fmt.file}: its probabilities differ from the SavedModel's by up to {difference}")
    lost = expected["test"]["accuracy"] - measured["test"]["accuracy"]
    if not lost <= _MOST_ACCURACY_LOST:
        raise FailedError(f"{fmt.file}: its accuracy is {100 * lost:.1f} points below the SavedModel's")


def _table(figures: dict[str, Any]) -> list[str]:
    sizes = "".join(f"{f'examples/s, {size} at once':>25}" for size in _BATCH_SIZES)
    lines = [f"{'':13}{'bytes':>11}{'test accuracy':>15}{'loss':>9}{sizes}"]
    for name, measured in figures.items():
        test, speeds = measured["test"], measured["examples_per_second"].values()
        line = f"{name:13}{measured['size_bytes']:>11,}{100 * test['accuracy']:>13.2f} %{test['loss']:>9.4f}"
        lines.append(line + "".join(f"{speed:>25,.0f}" for speed in speeds))
    return lines
