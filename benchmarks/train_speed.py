"""Training speed, and what limits it: with data, with one constant batch, and with plain Keras.

    python benchmarks/train_speed.py --data data/emnist/byclass/1.0.0

Each figure comes from a process of its own; the processes take turns, and ratios are of figures from the same turn. The
network is `cnn` with the source article's recipe: batches of 1,024, Adam. Plain Keras is `Model.fit` on NumPy arrays,
float32 in 0…1 with one-hot labels, as in the article. If there is a GPU, the same command uses it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import keras_peer
import machine

from trainer.data import feeds
from trainer.data.examples import open_split
from trainer.data.order import make_order
from trainer.data.settings import DataConfig

TRAINING = {
    "in memory": "with data, held in memory",
    "streamed": "with data, streamed from disk",
    "constant": "one constant batch",
    "keras": "Keras `fit` on arrays",
}
READING = {
    "read in memory": "into memory, once",
    "read streamed": "streamed, shuffled",
    "read tfds": "TFDS' reader, batched",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a dataset folder that `python -m preprocess` made")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each training; the first is not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--only", choices=[*TRAINING, *READING], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(_measure(arguments.only, arguments.data, arguments.model, arguments.epochs)))
        return
    rates = {name: [] for name in (*READING, *TRAINING)}
    device = ""
    for _ in range(arguments.rounds):
        for name in rates:
            measurement = _in_a_process(name)
            rates[name].append(measurement["examples_per_second"])
            device = measurement["device"]
    print(f"{device}; {arguments.model} on {arguments.data}\n")
    print("| reading alone | examples/s |\n| --- | --- |")
    for name, label in READING.items():
        print(f"| {label} | {statistics.median(rates[name]):,.0f} |")
    print("\n| training | examples/s | over one constant batch | over Keras |\n| --- | --- | --- | --- |")
    for name, label in TRAINING.items():
        floor, keras = _ratio(rates[name], rates["constant"]), _ratio(rates[name], rates["keras"])
        print(f"| {label} | {statistics.median(rates[name]):,.0f} | {floor:.2f} | {keras:.2f} |")


def _ratio(rates: list[float], others: list[float]) -> float:
    return statistics.median(rate / other for rate, other in zip(rates, others, strict=True))


def _in_a_process(name: str) -> dict:
    command = [sys.executable, *sys.argv, "--only", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    measurement = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {measurement['examples_per_second']:,.0f} examples/s", file=sys.stderr, flush=True)
    return measurement


def _measure(name: str, data: Path, model: str, epochs: int) -> dict:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    if name in READING:
        rate = _reading(name, data)
    elif name == "keras":
        rate = _keras(data, model, epochs)
    else:
        rate = _ours(name, data, model, epochs)
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return {"examples_per_second": rate, "device": ", ".join([*details, machine.describe()])}


def _ours(name: str, data: Path, model: str, epochs: int) -> float:
    from trainer import train
    from trainer.config.settings import TrainConfig

    if name == "constant":
        in_memory = feeds.Feed.in_memory

        def constant(feed, calls):
            batch = feed.global_batch_size
            one_batch = replace(feed.examples, num_examples=batch)
            return in_memory(replace(feed, examples=one_batch, order=lambda *span: feed.order(*span) % batch), calls)

        feeds.Feed.in_memory = constant
    with tempfile.TemporaryDirectory() as place:
        limit = 0 if name == "streamed" else 2000
        config = TrainConfig(
            DataConfig(str(data), in_memory_limit_mb=limit), f"{place}/run", model=model, epochs=epochs
        )
        run = Path(train.run(config))
        timings = [json.loads(line) for line in (run / "timings.jsonl").read_text().splitlines()]
    return statistics.median(timing["examples_per_second"] for timing in timings[1:])


def _keras(data: Path, model: str, epochs: int) -> float:
    import keras

    images, labels = keras_peer.arrays(data, "train")
    ends = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.monotonic()))
    network = keras_peer.compiled(model, labels.shape[1])
    network.fit(images, labels, batch_size=1024, epochs=epochs, callbacks=[clock], verbose=0)
    return statistics.median(len(images) / (end - start) for start, end in pairwise(ends))


def _reading(name: str, data: Path) -> float:
    import numpy as np
    import tensorflow as tf

    from common.dataset import manifest as manifests
    from trainer.distributed import devices

    start = time.monotonic()
    examples = open_split(data, manifests.read(data), "train")
    if name == "read in memory":
        examples.take(np.arange(examples.num_examples))
    elif name == "read streamed":
        replicas = devices.local_replicas(tf.distribute.MirroredStrategy())
        order = make_order(examples.shard_sizes, 100_000, 0)
        calls = [(first, 8) for first in range(0, examples.num_examples // 1024 - 8, 8)]
        start = time.monotonic()
        count = sum(1 for _ in feeds.Feed(examples, order, 1024, 8, replicas).streamed(calls))
        return count * 8 * 1024 / (time.monotonic() - start)
    else:
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(data)
        start = time.monotonic()
        for _ in builder.as_dataset(split="train", shuffle_files=True).shuffle(10_000).batch(1024):
            pass
    return examples.num_examples / (time.monotonic() - start)


if __name__ == "__main__":
    main()
