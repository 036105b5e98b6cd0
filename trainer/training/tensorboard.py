"""TensorBoard's event files: `tensorboard --logdir <run folder>/logs`."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.training.hooks import Hook

_STEPS_BETWEEN = 50


class Events(Hook):
    """Writes the metrics of a run as they come; training and validation share a chart."""

    def __init__(self, folder: Path) -> None:
        self._train = tf.summary.create_file_writer(str(folder / "train"))
        self._validation = tf.summary.create_file_writer(str(folder / "validation"))

    def on_steps(self, first_step: int, losses: np.ndarray, learning_rate: float) -> None:
        """Writes the mean loss of each 50th step."""
        for step, loss in enumerate(losses, start=first_step + 1):
            if step % _STEPS_BETWEEN == 0:
                with self._train.as_default(step):
                    tf.summary.scalar("loss by step", loss)
                    tf.summary.scalar("learning rate", learning_rate)

    def on_epoch(self, line: dict[str, Any], timing: dict[str, Any]) -> None:
        """Writes an epoch's lines of `metrics.jsonl` and `timings.jsonl`."""
        for split, writer in (("train", self._train), ("validation", self._validation)):
            with writer.as_default(line["step"]):
                for name in ("loss", "accuracy"):
                    if split in line:
                        tf.summary.scalar(name, line[split][name])
        with self._train.as_default(line["step"]):
            tf.summary.scalar("examples per second", timing["examples_per_second"])
            tf.summary.scalar("learning rate", line["learning_rate"])
        self._train.flush()
        self._validation.flush()

    def picture(self, name: str, path: Path) -> None:
        """Writes the picture in a PNG file."""
        with self._train.as_default(0):
            tf.summary.image(name, tf.io.decode_png(path.read_bytes(), channels=3)[None])

    def close(self) -> None:
        self._train.close()
        self._validation.close()
