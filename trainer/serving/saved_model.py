"""Exports a trained network as `model.keras` and as a SavedModel."""

from functools import partial
from pathlib import Path

import keras
import tensorflow as tf

from common.dataset.schema import Schema
from common.storage import remove
from trainer.serving import conversion


def save_keras(model: keras.Model, path: Path) -> None:
    """Writes `model.keras`, whole or not at all."""
    incomplete = path.with_name(f"incomplete-{path.name}")  # Keras insists on the suffix
    model.save(incomplete)
    incomplete.replace(path)


def save_saved_model(model: keras.Model, schema: Schema, temperature: float, path: Path) -> None:
    """Writes a SavedModel, whole or not at all.

    Its signature `serving_default` takes PNG or JPEG files of any size, string [N], and brings them to the schema's H×W
    as EMNIST was; `image_tensor` takes such images, uint8 [N, H, W, 1], light on dark and upright. Both return
    `probabilities` float32 [N, C], calibrated, `class_index` int64 [N] and `class_name` string [N]. Class names and
    temperature are in the model; its functions `class_names` and `temperature`, without arguments, tell them. Its
    function `convert` takes files as well, and gives images uint8 [N, H, W, 1] and what is wrong with each, string [N].
    """
    module = tf.Module()
    module.network = model  # so that its weights are saved
    class_names, size = schema.vocabulary, schema.image_shape[:2]
    to_logits = keras.Model(model.input, model.get_layer("logits").output)
    module.class_names = tf.function(lambda: tf.constant(class_names), input_signature=[])
    module.temperature = tf.function(lambda: tf.constant(temperature, tf.float32), input_signature=[])

    @tf.function(input_signature=[tf.TensorSpec([None, *schema.image_shape], tf.uint8, name="image")])
    def image_tensor(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(to_logits(tf.cast(image, tf.float32), training=False) / temperature)
        class_index = tf.argmax(probabilities, axis=1)
        class_name = tf.gather(tf.constant(class_names), class_index)
        return {"probabilities": probabilities, "class_index": class_index, "class_name": class_name}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return image_tensor(conversion.to_images(image_bytes, size))

    # For those who have many pictures and want to know all that are bad: their images and what is wrong with each.
    convert = partial(conversion.convert, size=size)
    module.convert = tf.function(convert, input_signature=[tf.TensorSpec([None], tf.string)])

    incomplete = path.with_name(f"incomplete-{path.name}")
    remove(incomplete)
    signatures = {"serving_default": serving_default, "image_tensor": image_tensor}
    tf.saved_model.save(module, incomplete, signatures=signatures)
    incomplete.replace(path)
