"""Finds and loads the SavedModel that a run left, wherever a command takes `--model`."""

from pathlib import Path

import tensorflow as tf

from preprocess.errors import InputError
from preprocess.records import IMAGE_SIDE
from preprocess.storage import to_path
from trainer import run_folder


def load(location: str) -> tf.Module:
    """The SavedModel of a run folder, or at `location` itself. Raises `InputError` if it is none that a run left."""
    path = to_local_path(location, "--model")
    folder = path / run_folder.SAVED_MODEL if (path / run_folder.SAVED_MODEL).is_dir() else path
    if not (folder / "saved_model.pb").is_file():
        raise InputError(f"--model {path}: holds neither a finished run nor a SavedModel")
    try:
        model = tf.saved_model.load(folder)
        expected = (None, IMAGE_SIDE, IMAGE_SIDE, 1)
        is_ours = tuple(model.signatures["image_tensor"].structured_input_signature[1]["image"].shape) == expected
        model.class_names, model.temperature  # noqa: B018
    except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
        raise InputError(f"--model {folder}: cannot be loaded ({type(error).__name__})") from None
    if not is_ours:
        raise InputError(f"--model {folder}: its signature image_tensor takes no characters of 28×28 pixels")
    return model


def class_names(model: tf.Module) -> tuple[str, ...]:
    """In the order of its probabilities."""
    return tuple(name.decode() for name in model.class_names().numpy())


def to_local_path(location: str, flag: str) -> Path:
    path = to_path(location)
    if not isinstance(path, Path):
        raise InputError(f"{flag} {location}: the trainer works on local folders; copy from and to the bucket")
    return path
