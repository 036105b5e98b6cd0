"""Finds and loads the SavedModel that a run left, wherever a command takes `--model`."""

import tensorflow as tf

from common.dataset.records import IMAGE_SIDE
from common.errors import InputError
from common.storage import local_copy, to_path
from trainer import run_folder

_GRAPH = "saved_model.pb"


def load(location: str) -> tf.Module:
    """The SavedModel of a run folder, or at `location` itself. Raises `InputError` if it is none that a run left."""
    path = to_path(location)
    folder = path / run_folder.SAVED_MODEL if (path / run_folder.SAVED_MODEL / _GRAPH).is_file() else path
    if not (folder / _GRAPH).is_file():
        raise InputError(f"--model {path}: holds neither a finished run nor a SavedModel")
    try:
        with local_copy(folder) as local:
            model = tf.saved_model.load(local)
        expected = (None, IMAGE_SIDE, IMAGE_SIDE, 1)
        is_ours = tuple(model.signatures["image_tensor"].structured_input_signature[1]["image"].shape) == expected
        model.class_names, model.temperature, model.convert  # noqa: B018
    except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
        raise InputError(f"--model {folder}: cannot be loaded ({type(error).__name__})") from None
    if not is_ours:
        raise InputError(f"--model {folder}: its signature image_tensor takes no characters of 28×28 pixels")
    return model


def class_names(model: tf.Module) -> tuple[str, ...]:
    """In the order of its probabilities."""
    return tuple(name.decode() for name in model.class_names().numpy())
