"""Exports a finished run for other runtimes, LiteRT and ONNX Runtime, and measures what becomes of it there.

Each file has the SavedModel's signature `image_tensor`: it takes images uint8 [N, H, W, 1], any N, light on dark and
upright, and returns `probabilities` float32 [N, C], calibrated, `class_index` int64 [N] and `class_name` string [N].
Class names and temperature are in the file.
"""

import importlib
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from common import provenance
from common.dataset.schema import IMAGE, LABEL
from common.errors import FailedError, InputError
from common.storage import remove, to_path, write_atomically
from trainer.config import ExportConfig
from trainer.data import datasets
from trainer.data.examples import Examples
from trainer.evaluation import metrics
from trainer.runs import run_folder
from trainer.runs.run_folder import Results
from trainer.serving import loading

FIGURES = "formats.json"
"""Written last: files without it are of an export that was interrupted."""

_SIGNATURE = "image_tensor"
_TOLERANCE = 1e-4  # of a probability: other runtimes add up float32 in another order
_MOST_ACCURACY_LOST = 0.1  # more is not the price of fewer digits, but a fault
_CALIBRATION_EXAMPLES = 500
_BATCH_SIZES = (1, 256)
_SECONDS_OF_TIMING = 1.0
_THREADS = 1

Recognise = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From images uint8 [N, H, W, 1] to what the signature returns, by name."""
Splits = dict[str, tuple[np.ndarray, np.ndarray]]
"""By name, images uint8 [N, H, W, 1] and labels int64 [N]."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """A kind of file for another runtime."""

    file: str
    modules: tuple[str, ...]
    """What is imported for it, beside TensorFlow."""
    convert: Callable[[tf.Module, np.ndarray | None], bytes]
    """The file's content, from a SavedModel and, unless it is exact, training images."""
    load: Callable[[bytes], Recognise]
    is_exact: bool = True
    """Whether it gives the SavedModel's probabilities, but for rounding."""


def use_one_thread() -> None:
    """Lets TensorFlow have what the other runtimes have here: one thread of the CPU. To be called before it is used."""
    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS)


def run(config: ExportConfig) -> str:
    """Writes a file for each format, and `formats.json` with what was measured; returns the path of their folder.

    Each is loaded by its own runtime and recognises the whole of the validation and test splits before anything is
    written. Raises `InputError` for bad input, and `FailedError` if a file does not do what the SavedModel does.
    """
    formats = {name: FORMATS[name] for name in config.formats}
    if not formats:
        raise InputError(f"--formats: name at least one of {', '.join(FORMATS)}")
    for name, one in formats.items():
        _check_modules(name, one)
    run_dir = to_path(config.model)
    output = to_path(config.output_dir) if config.output_dir else run_dir / run_folder.FORMATS
    results = run_folder.read_results(run_dir)
    is_calibrated = not all(one.is_exact for one in formats.values())
    splits, training_images = _open_data(config, results, is_calibrated)

    model = loading.load(config.model)
    class_names = loading.class_names(model)
    served = _load_saved_model(model)
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
    for name, one in formats.items():
        content = one.convert(model, training_images)
        recognise = one.load(content)
        found = _predict(recognise, splits, class_names, one.file)
        difference = max(float(np.abs(found[split] - expected[split]).max()) for split in splits)
        figures[name] = {
            "file": one.file,
            "size_bytes": len(content),
            "threads": _THREADS,
            "largest_difference": difference,
            **_measure(recognise, splits, found),
        }
        _check(one, figures[name], figures["saved_model"])
        _log.info("%s, loaded again, gives probabilities within %.1e of the SavedModel's", one.file, difference)
        contents[one.file] = content

    for file in (FIGURES, *(one.file for one in FORMATS.values())):  # of an earlier export
        remove(output / file)
    for file, content in contents.items():
        write_atomically(output / file, content)
    facts = {
        "run": str(run_dir),
        "data_fingerprint": results.facts["data_fingerprint"],
        "versions": provenance.tool_versions(
            "tensorflow", "tensorflow-cpu", "ai-edge-litert", "tf2onnx", "onnx", "onnxruntime"
        ),
    }
    run_folder.write_json(output / FIGURES, facts | {"formats": figures})
    for line in _table(figures):
        _log.info("%s", line)
    return str(output)


def _check_modules(name: str, one: Format) -> None:
    """Raises `InputError` if one is not installed."""
    for module in one.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError(
                f"--formats {name}: cannot import {module} ({error}); install this package's extra formats"
            ) from None


def _open_data(config: ExportConfig, results: Results, is_calibrated: bool) -> tuple[Splits, np.ndarray | None]:
    """The splits to measure on, and, if something is calibrated, images of training examples, by the run's seed.

    Raises `InputError` if the data is not what the run was trained on.
    """
    dataset = datasets.open(config.data or results.config.data, config.cache_dir, config.cache_limit_gb)
    manifest = dataset.manifest
    if manifest.data_fingerprint != results.facts.get("data_fingerprint"):
        raise InputError(f"--data {dataset.folder}: is not the dataset that {results.folder} was trained on")
    opened = {split: dataset.examples(split) for split in ("validation", "test") if split in manifest.splits}
    splits = {split: _take(examples, np.arange(examples.num_examples)) for split, examples in opened.items()}
    return splits, _sample(dataset.examples("train"), results.config.seed) if is_calibrated else None


def _take(examples: Examples, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, 1] and labels int64 [N] of the examples with these numbers."""
    batch = examples.take(numbers)
    return batch[IMAGE], batch[LABEL]


def _sample(examples: Examples, seed: int) -> np.ndarray:
    """Some images, the same for the same seed."""
    count = min(_CALIBRATION_EXAMPLES, examples.num_examples)
    return _take(examples, np.random.default_rng(seed).choice(examples.num_examples, count, replace=False))[0]


def _image_tensor(model: tf.Module) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    signature = model.signatures[_SIGNATURE]
    input_signature = list(signature.structured_input_signature[1].values())
    return tf.function(lambda image: signature(image=image), input_signature=input_signature)


def _to_litert(model: tf.Module, training_images: np.ndarray | None = None) -> bytes:
    """A flatbuffer; with training images, of 8-bit integers whose ranges are calibrated on them."""
    module = tf.Module()
    module.model = model  # so that its weights are saved
    image_tensor = _image_tensor(model)
    with tempfile.TemporaryDirectory() as folder:
        # Saved anew, because a network of Keras saves its weights' first assignments along with them; the converter
        # then takes weights for variables, and leaves out what they hold.
        tf.saved_model.save(module, folder, signatures={_SIGNATURE: image_tensor})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[_SIGNATURE])
        if training_images is None:
            return converter.convert()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({"image": image[None]} for image in training_images)
        # In 8 bits, a softmax would round probabilities to 256ths, and the smallest to 0, and the most probable class
        # would be one of several equals. Only the debugger can leave operations in float32.
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["SOFTMAX", "ARG_MAX"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*tf.lite.Interpreter is deprecated")  # the debugger has one
            debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
        return debugger.get_nondebug_quantized_model()


def _to_onnx(model: tf.Module) -> bytes:
    import tf2onnx

    image_tensor = _image_tensor(model)
    converted, _ = tf2onnx.convert.from_function(image_tensor, image_tensor.input_signature)
    return converted.SerializeToString()


def _load_saved_model(model: tf.Module) -> Recognise:
    signature = model.signatures[_SIGNATURE]
    return lambda images: {name: value.numpy() for name, value in signature(image=tf.constant(images)).items()}


def _load_litert(content: bytes) -> Recognise:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=content, num_threads=_THREADS).get_signature_runner(_SIGNATURE)
    return lambda images: runner(image=images)


def _load_onnx(content: bytes) -> Recognise:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"image": images}), strict=True))


FORMATS = {
    "litert": Format("model.tflite", ("ai_edge_litert",), lambda model, _: _to_litert(model), _load_litert),
    "litert_int8": Format("model_int8.tflite", ("ai_edge_litert",), _to_litert, _load_litert, is_exact=False),
    "onnx": Format("model.onnx", ("tf2onnx", "onnxruntime"), lambda model, _: _to_onnx(model), _load_onnx),
}


def _predict(recognise: Recognise, splits: Splits, class_names: tuple[str, ...], file: str) -> dict[str, np.ndarray]:
    """Probabilities float32 [N, C] by split. Raises `FailedError` if class names do not fit them."""
    predictions = {}
    for split, (images, _) in splits.items():
        starts = range(0, len(images), _BATCH_SIZES[-1])
        found = [recognise(images[start : start + _BATCH_SIZES[-1]]) for start in starts]
        predictions[split] = np.concatenate([part["probabilities"] for part in found])
        names = [name for part in found for name in part["class_name"]]
        names = [name.decode() if isinstance(name, bytes) else name for name in names]
        if names != [class_names[index] for index in predictions[split].argmax(axis=1)]:
            raise FailedError(f"{file}: names other classes than those most probable")
    return predictions


def _measure(recognise: Recognise, splits: Splits, predictions: dict[str, np.ndarray]) -> dict[str, Any]:
    """What all runtimes are asked: how right, and how fast."""
    images, _ = splits["test"]
    speeds = {str(size): _examples_per_second(recognise, images[:size]) for size in _BATCH_SIZES}
    figures = {split: asdict(metrics.compute(labels, predictions[split])) for split, (_, labels) in splits.items()}
    return {"examples_per_second": speeds, **figures}


def _examples_per_second(recognise: Recognise, images: np.ndarray) -> float:
    """With `images` as one batch, over and over; by the median, which other work on the machine hardly touches."""
    recognise(images)
    seconds = []
    end = time.perf_counter() + _SECONDS_OF_TIMING
    while time.perf_counter() < end:
        began = time.perf_counter()
        recognise(images)
        seconds.append(time.perf_counter() - began)
    return len(images) / float(np.median(seconds))


def _check(one: Format, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raises `FailedError` if a file's figures are not those of a faithful copy. NaN never is one."""
    if one.is_exact and not found["largest_difference"] <= _TOLERANCE:
        difference = f"{found['largest_difference']:.1e}, more than {_TOLERANCE:.0e}"
        raise FailedError(f"{one.file}: its probabilities differ from the SavedModel's by up to {difference}")
    lost = expected["test"]["accuracy"] - found["test"]["accuracy"]
    if not lost <= _MOST_ACCURACY_LOST:
        raise FailedError(f"{one.file}: has lost {100 * lost:.1f} points of the SavedModel's accuracy")


def _table(figures: dict[str, Any]) -> list[str]:
    sizes = "".join(f"{f'examples/s, {size} at once':>25}" for size in _BATCH_SIZES)
    lines = [f"{'':13}{'bytes':>11}{'test accuracy':>15}{'loss':>9}{sizes}"]
    for name, found in figures.items():
        test, speeds = found["test"], found["examples_per_second"].values()
        line = f"{name:13}{found['size_bytes']:>11,}{100 * test['accuracy']:>13.2f} %{test['loss']:>9.4f}"
        lines.append(line + "".join(f"{speed:>25,.0f}" for speed in speeds))
    return lines
