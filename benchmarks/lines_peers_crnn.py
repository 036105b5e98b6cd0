"""A peer for reading lines: the network and the training of Keras' handwriting recognition example.

    python benchmarks/lines_peers_crnn.py train LIST FOLDER [--resume FILE]
    python benchmarks/lines_peers_crnn.py read TRAINING_LIST FILE LIST OUTPUT

A LIST names pictures, a line each, beside which lie their `.gt.txt`. `train` goes on until it is stopped, and leaves a
`.keras` file in FOLDER four times an epoch, of which the last two are kept. `read` writes the readings, a JSON list.

As published (keras.io/examples/vision/handwriting_recognition): pictures 32 pixels high with their aspect, in the
middle of a black canvas; two convolutions, two bidirectional LSTM layers; Adam, batches of 64, shuffled once. What
differs: the canvas is 960 wide and not 128, which holds 32 characters; CTC is TensorFlow's own and knows how long
each text is; nothing is validated, so that all time is spent on training.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

from common.normalize.line import normalized  # noqa: E402

_WIDTH, _HEIGHT, _BATCH = 960, 32, 64
_SAVED_AN_EPOCH, _KEPT = 4, 2
_EPOCHS = 1000
_FILLER = -1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("list", type=Path)
    training.add_argument("folder", type=Path)
    training.add_argument("--resume", type=Path)
    reading = commands.add_parser("read")
    for name in ("training_list", "file", "list", "output"):
        reading.add_argument(name, type=Path)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(42)
    if arguments.command == "train":
        train(arguments.list, arguments.folder, arguments.resume)
    else:
        vocabulary = vocabulary_of(texts_of(pictures_of(arguments.training_list)))
        arguments.output.write_text(json.dumps(read(arguments.file, pictures_of(arguments.list), vocabulary)))


def pictures_of(listed: Path) -> list[str]:
    return listed.read_text("utf-8").splitlines()


def texts_of(pictures: list[str]) -> list[str]:
    return [normalized(Path(picture).with_suffix(".gt.txt").read_text("utf-8")) for picture in pictures]


def vocabulary_of(texts: list[str]) -> list[str]:
    return sorted(set("".join(texts)))


def train(listed: Path, folder: Path, resumed: Path | None) -> None:
    pictures = pictures_of(listed)
    np.random.default_rng(42).shuffle(pictures)
    texts = texts_of(pictures)
    vocabulary = vocabulary_of(texts)
    numbers = {character: number for number, character in enumerate(vocabulary)}
    labels = np.full((len(texts), max(map(len, texts))), _FILLER, np.int32)
    for row, text in zip(labels, texts, strict=True):
        row[: len(text)] = [numbers[character] for character in text]
    network = keras.models.load_model(resumed, custom_objects={"loss": loss}) if resumed else build(len(vocabulary))
    examples = tf.data.Dataset.from_tensor_slices((pictures, labels))
    batches = examples.map(lambda picture, label: (image(picture), label)).batch(_BATCH).cache()
    steps = len(batches)
    done = int(network.optimizer.iterations)
    folder.mkdir(parents=True, exist_ok=True)
    network.fit(
        batches.repeat().skip(done % steps).prefetch(1),
        epochs=_EPOCHS,
        steps_per_epoch=steps,
        callbacks=[Saver(folder, steps // _SAVED_AN_EPOCH)],
        verbose=2,
    )


class Saver(keras.callbacks.Callback):
    """Saves network and optimizer every so many steps."""

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__()
        self._folder, self._every = folder, every

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        step = int(self.model.optimizer.iterations)
        if step % self._every == 0:
            part = self._folder / "part.keras"
            self.model.save(part)
            part.rename(self._folder / f"step-{step:06d}.keras")
            for outdated in sorted(self._folder.glob("step-*.keras"))[:-_KEPT]:
                outdated.unlink()


def build(num_characters: int) -> keras.Model:
    """From images float32 [N, 960, 32, 1] to probabilities [N, 240, C+1], the blank last."""
    inputs = keras.Input((_WIDTH, _HEIGHT, 1))
    x = inputs
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, activation="relu", kernel_initializer="he_normal", padding="same")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Reshape((_WIDTH // 4, _HEIGHT // 4 * 64))(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dropout(0.2)(x)
    for units in (128, 64):
        x = layers.Bidirectional(layers.LSTM(units, return_sequences=True, dropout=0.25))(x)
    outputs = layers.Dense(num_characters + 1, activation="softmax")(x)
    network = keras.Model(inputs, outputs)
    network.compile(keras.optimizers.Adam(), loss, jit_compile=False)
    return network


def loss(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    texts = tf.RaggedTensor.from_tensor(tf.cast(labels, tf.int32), padding=_FILLER)
    steps = tf.fill([tf.shape(probabilities)[0]], tf.shape(probabilities)[1])
    logits = tf.math.log(probabilities + keras.config.epsilon())
    return tf.nn.ctc_loss(texts.to_sparse(), logits, None, steps, logits_time_major=False, blank_index=-1)


def image(picture: tf.Tensor) -> tf.Tensor:
    """Float32 [960, 32, 1], 0 to 1, dark ink on light, black beside the line; the line's left end first."""
    pixels = tf.io.decode_png(tf.io.read_file(picture), channels=1)
    pixels = tf.image.resize(pixels, (_HEIGHT, _WIDTH), preserve_aspect_ratio=True)
    pixels = tf.image.resize_with_crop_or_pad(pixels, _HEIGHT, _WIDTH)
    return tf.transpose(pixels, (1, 0, 2)) / 255


def read(file: Path, pictures: list[str], vocabulary: list[str]) -> list[str]:
    network = keras.models.load_model(file, compile=False)
    batches = tf.data.Dataset.from_tensor_slices(pictures).map(image).batch(_BATCH)
    outputs = network.predict(batches, verbose=0).argmax(axis=-1)
    blank = len(vocabulary)
    before = np.pad(outputs[:, :-1], ((0, 0), (1, 0)), constant_values=blank)
    begins = (outputs != before) & (outputs != blank)
    return ["".join(vocabulary[number] for number in row[at]) for row, at in zip(outputs, begins, strict=True)]


if __name__ == "__main__":
    main()
