"""Finds and loads the SavedModel of a run, for all commands with `--model`."""

from dataclasses import fields
from typing import TYPE_CHECKING

import tensorflow as tf

from common.dataset.schema import Schema
from common.errors import InputError
from common.storage import fingerprint_below, local_copy, to_path
from trainer.evaluation.calibration import Calibration
from trainer.runs import run_folder

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_GRAPH = "saved_model.pb"
_EXTRA = "assets.extra"  # TensorFlow's folder for files that are no part of the model


def load(location: str) -> tf.Module:
    """Loads the SavedModel of a run folder, or the one at `location`. Raises `InputError` if it is not a run's."""
    folder = _folder(location)
    try:
        with local_copy(folder) as local:
            model = tf.saved_model.load(local)
        image_size(model)
        model.class_names, model.temperature  # noqa: B018
    except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
        raise InputError(f"--model {folder}: cannot be loaded ({type(error).__name__})") from None
    return model


def fingerprint(location: str) -> str:
    """16 hexadecimal digits: the beginning of the fingerprint by which `gate.json` and `current.json` know a model."""
    return fingerprint_below(_folder(location), _EXTRA)[:16]


def _folder(location: str) -> "AnyPath":
    path = to_path(location)
    folder = path / run_folder.SAVED_MODEL if (path / run_folder.SAVED_MODEL / _GRAPH).is_file() else path
    if not (folder / _GRAPH).is_file():
        raise InputError(f"--model {path}: holds neither a finished run nor a SavedModel")
    return folder


def image_size(model: tf.Module) -> tuple[int, int | None]:
    """Height and width of the images that the model takes; None for any width. Raises `ValueError` if it takes none."""
    shape = tuple(model.signatures["image_tensor"].structured_input_signature[1]["image"].shape)
    _, height, width, _ = shape
    return height, width


def check_size(model: tf.Module, schema: Schema, location: str) -> None:
    """Raises `InputError` if a dataset's images do not have the size that the model at `location` takes."""
    taken, given = image_size(model), schema.image_shape[:2]
    if taken[1] is None:
        taken, given = taken[:1], given[:1]
    taken, given = ("×".join(map(str, size)) for size in (taken, given))
    if (name := task_name(model)) != schema.task:
        raise InputError(f"--model {location}: is of the task {name}; the dataset's is {schema.task}")
    if taken != given:
        raise InputError(f"--model {location}: takes images of {taken}; the dataset's are {given}")


def check_fits(model: tf.Module, schema: Schema, location: str) -> None:
    """Raises `InputError` if a dataset's image size or classes are not those of the model at `location`."""
    check_size(model, schema, location)
    if (known := class_names(model)) != schema.vocabulary:
        raise InputError(
            f"--model {location}: knows the classes {' '.join(known)}; the dataset has the classes "
            f"{' '.join(schema.vocabulary)}"
        )


def calibration(model: tf.Module) -> Calibration:
    """The model's temperatures and thresholds. One that was exported before there were two has the same for all."""
    if hasattr(model, "thresholds"):
        return Calibration(*(getattr(model, field.name)().numpy().tolist() for field in fields(Calibration)))
    temperature = float(model.temperature().numpy())
    return Calibration(temperature, temperature, None, None)


def task_name(model: tf.Module) -> str:
    """The task of the schema that it was trained on. Models that do not say so recognise characters."""
    return model.task().numpy().decode() if hasattr(model, "task") else "characters"


def conversion_version(model: tf.Module) -> int:
    """The version of the conversion by which the model reads pictures; models were exported without it before 2."""
    return int(model.conversion_version()) if hasattr(model, "conversion_version") else 1


def class_names(model: tf.Module) -> tuple[str, ...]:
    """The model's class names, in the order of its probabilities."""
    return tuple(name.decode() for name in model.class_names().numpy())
