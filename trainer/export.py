"""Exports a trained network as `model.keras` and as a SavedModel, and proves that both still are that network."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from preprocess.conversion import LEAST_CONTRAST
from preprocess.errors import FailedError
from preprocess.records import IMAGE_SIDE
from preprocess.storage import remove
from trainer import conversion, metrics
from trainer.inference import make_predict
from trainer.input_pipeline import Examples
from trainer.metrics import Metrics

_TOLERANCE = 1e-6
_TOLERANCE_ON_GPU = 1e-3  # its convolutions round to TF32, and not alike for every batch size
_PICTURES_SEARCHED = 10_000

_log = logging.getLogger(__name__)


def save_keras(model: keras.Model, path: Path) -> None:
    """Writes `model.keras`, whole or not at all."""
    incomplete = path.with_name(f"incomplete-{path.name}")  # Keras insists on the suffix
    model.save(incomplete)
    incomplete.replace(path)


def save_saved_model(model: keras.Model, class_names: tuple[str, ...], temperature: float, path: Path) -> None:
    """Writes a SavedModel, whole or not at all.

    Its signature `serving_default` takes PNG or JPEG files of any size, string [N], and brings them to 28×28 as EMNIST
    was; `image_tensor` takes such images, uint8 [N, 28, 28, 1], light on dark and upright. Both return `probabilities`
    float32 [N, C], calibrated, `class_index` int64 [N] and `class_name` string [N]. Class names and temperature are in
    the model; its functions `class_names` and `temperature`, without arguments, tell them. Its function `convert` takes
    files as well, and gives images uint8 [N, 28, 28, 1] and what is wrong with each file, string [N].
    """
    module = tf.Module()
    module.network = model  # so that its weights are saved
    to_logits = keras.Model(model.input, model.get_layer("logits").output)
    module.class_names = tf.function(lambda: tf.constant(class_names), input_signature=[])
    module.temperature = tf.function(lambda: tf.constant(temperature, tf.float32), input_signature=[])

    @tf.function(input_signature=[tf.TensorSpec([None, IMAGE_SIDE, IMAGE_SIDE, 1], tf.uint8, name="image")])
    def image_tensor(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(to_logits(tf.cast(image, tf.float32), training=False) / temperature)
        class_index = tf.argmax(probabilities, axis=1)
        class_name = tf.gather(tf.constant(class_names), class_index)
        return {"probabilities": probabilities, "class_index": class_index, "class_name": class_name}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return image_tensor(conversion.to_images(image_bytes))

    # For those who have many pictures and want to know all that are bad: their images and what is wrong with each.
    module.convert = tf.function(conversion.convert, input_signature=[tf.TensorSpec([None], tf.string)])

    incomplete = path.with_name(f"incomplete-{path.name}")
    remove(incomplete)
    signatures = {"serving_default": serving_default, "image_tensor": image_tensor}
    tf.saved_model.save(module, incomplete, signatures=signatures)
    incomplete.replace(path)


def check(keras_model: Path, saved_model: Path, examples: Examples, expected: dict[str, Metrics], device: str) -> None:
    """Loads both exports again, lists the layers, and evaluates each on `examples`, on `device`.

    Raises `FailedError` if one does not reproduce what is `expected`, by file name, after the network that was trained.
    """
    one_device = tf.distribute.OneDeviceStrategy(device)
    tolerance = _TOLERANCE_ON_GPU if "GPU" in device else _TOLERANCE
    network = keras.models.load_model(keras_model)
    _log.info("%s, loaded again: %s parameters", keras_model.name, f"{network.count_params():,}")
    for layer in network.layers:
        _log.info("  %-16s %-16s %s", layer.name, type(layer).__name__, tuple(layer.output.shape))
    served = tf.saved_model.load(saved_model)  # kept in a name: its weights go when it goes
    signature = served.signatures["image_tensor"]
    exports = {
        keras_model: lambda pixels: network(pixels, training=False),
        saved_model: lambda pixels: signature(image=tf.cast(pixels, tf.uint8))["probabilities"],
    }
    for path, probabilities in exports.items():
        found = metrics.compute(*make_predict(probabilities, one_device)(examples))
        wanted = expected[path.name]
        same_loss = math.isclose(found.loss, wanted.loss, rel_tol=tolerance, abs_tol=tolerance)
        if not same_loss or abs(found.accuracy - wanted.accuracy) > tolerance:
            raise FailedError(f"{path}: gives {found} after loading, but the trained network gave {wanted}")
        _log.info("%s, loaded again, reproduces the test figures", path.name)
    _check_pictures(served.signatures["serving_default"], examples, saved_model)


def _check_pictures(serving_default: Callable, examples: Examples, path: Path) -> None:
    """Asks for one picture of each class, as a server would. Raises `FailedError` if no probabilities come back."""
    images, labels = examples.take(np.arange(min(examples.num_examples, _PICTURES_SEARCHED)))
    has_ink = np.flatnonzero(np.ptp(images, axis=1) > LEAST_CONTRAST)
    firsts = has_ink[np.unique(labels[has_ink], return_index=True)[1]]
    pictures = [tf.io.encode_png(image.reshape(IMAGE_SIDE, IMAGE_SIDE, 1)) for image in images[firsts]]
    found = serving_default(image_bytes=tf.stack(pictures))["probabilities"].numpy()
    if found.shape != (len(firsts), examples.num_classes) or not np.allclose(found.sum(axis=1), 1, atol=1e-4):
        raise FailedError(f"{path}: gives no probabilities for PNG pictures; its answer has the shape {found.shape}")
    _log.info("%s, loaded again, takes PNG pictures of %d classes", path.name, len(firsts))
