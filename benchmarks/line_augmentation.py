"""What the augmentation of lines takes: processor milliseconds a line, of a recipe's steps together and of each alone.

    python benchmarks/line_augmentation.py DATASET [--recipe lines_fast] [--calls 100]

One batch of lines of middling width is augmented again and again, on one thread. Moving ink is one resampling whatever
moves it, so most of the steps that do cost as much alone as together.
"""

import argparse
import time
from pathlib import Path

import machine
import numpy as np
import tensorflow as tf

from common.dataset import manifest as manifests
from common.dataset.schema import IMAGE, WIDTH
from common.normalize.line import WIDTH_STEP
from trainer.config import recipes
from trainer.data import augmentation_steps
from trainer.data.examples import open_split
from trainer.data.line_augmentation import augment
from trainer.distributed.randomness import StepRng


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="lines_fast")
    parser.add_argument("--calls", type=int, default=100)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    recipe = recipes.load(arguments.recipe)
    batch = batch_of(arguments.data, recipe["global_batch_size"])
    print(f"{machine.describe()}; images {tuple(batch[IMAGE].shape)}\n")
    names = recipe["augmentation"]["steps"]
    for some in (names, *([name] for name in names)):
        print(f"{milliseconds(batch, some, arguments.calls):6.2f} ms a line: {' '.join(some)}", flush=True)


def batch_of(data: Path, count: int) -> dict[str, tf.Tensor]:
    """Training lines around the median width, cropped to the widest as a step does."""
    examples = open_split(data, manifests.read(data), "train")
    by_width = np.argsort(examples.values(WIDTH), kind="stable")
    batch = examples.take(by_width[len(by_width) // 2 :][:count])
    widest = -(-int(batch[WIDTH].max()) // WIDTH_STEP) * WIDTH_STEP
    batch[IMAGE] = batch[IMAGE][:, :, :widest]
    return {name: tf.constant(values) for name, values in batch.items()}


def milliseconds(batch: dict[str, tf.Tensor], names: list[str], calls: int) -> float:
    steps = augmentation_steps.parse(names)
    call = tf.function(lambda step: augment(batch, steps, StepRng(0, step, tf.constant(0))))
    call(tf.constant(0, tf.int64))
    start = time.process_time()
    for number in range(calls):
        call(tf.constant(number, tf.int64))
    return 1e3 * (time.process_time() - start) / (calls * len(batch[WIDTH]))


if __name__ == "__main__":
    main()
