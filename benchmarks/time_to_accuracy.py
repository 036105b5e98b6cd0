"""Time that recipes take to an accuracy on real handwriting, compared with the source article's CNN in Keras.

    python benchmarks/time_to_accuracy.py --real-data FOLDER [--recipes fast] [--seeds 0 1 2] [--picture FILE.png]

FOLDER holds `emnist-byclass/` (ByClass' five files). All trainings use all of its training examples (no validation
split). Seconds are those of training steps, without reading data or evaluating. Keras is `Model.fit` on arrays for 50
epochs of batches of 1,024 with Adam. A recipe's figure is that of its last epoch. The picture also shows Keras'
accuracy after each epoch, on the test split; nothing was chosen by it.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import commands
import keras_peer
import machine
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

Point = tuple[float, float]
"""Seconds of training, and the test accuracy reached, 0 to 1."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real-data", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", default=["fast"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=50, help="epochs of the Keras training")
    parser.add_argument("--picture", type=Path, default=Path("time_to_accuracy.png"))
    parser.add_argument("--keras", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.keras:  # in a process of its own, as the others are
        print(json.dumps(_keras(Path(arguments.keras), arguments.epochs)))
        return
    print(f"{machine.describe()}\n")
    print("| recipe | seeds | test accuracy | seconds | of the article's | to the article's accuracy |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as place:
        data = commands.preprocess("emnist/byclass", str(arguments.real_data / "emnist-byclass"), f"{place}/data")
        article = json.loads(commands.python(*sys.argv, "--keras", data))
        seconds, accuracy = article[-1]
        print(f"| Keras, the article's CNN | 1 | {accuracy:.1%} | {seconds:.0f} | 1.00 | |", flush=True)
        trainings: dict[str, list[Point]] = {}
        for recipe in arguments.recipes:
            trainings[recipe] = [_ours(data, f"{place}/{recipe}-{seed}", recipe, seed) for seed in arguments.seeds]
            print(f"| `{recipe}` | {_row(trainings[recipe], seconds, accuracy)} |", flush=True)
    _draw(article, trainings, arguments.picture)
    print(arguments.picture)


def _row(points: list[Point], seconds: float, accuracy: float) -> str:
    accuracies = [test_accuracy for _, test_accuracy in points]
    spread = f" ± {statistics.stdev(accuracies):.1%}" if len(points) > 1 else ""
    mean = statistics.mean(taken for taken, _ in points)
    reached = sum(test_accuracy >= accuracy for test_accuracy in accuracies)
    share = f"{mean:.0f} | {mean / seconds:.2f} | {reached} of {len(points)}"
    return f"{len(points)} | {statistics.mean(accuracies):.1%}{spread} | {share}"


def _ours(data: str, run_dir: str, recipe: str, seed: int) -> Point:
    commands.train(data, run_dir, recipe, seed)
    timings = [json.loads(line) for line in Path(run_dir, "timings.jsonl").read_text().splitlines()]
    metrics = json.loads(Path(run_dir, "metrics.json").read_text())
    return sum(epoch["seconds"] for epoch in timings), metrics["test"]["accuracy"]


def _keras(data: Path, epochs: int) -> list[Point]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    keras.utils.set_random_seed(0)
    images, labels = keras_peer.arrays(data, "train")
    test = keras_peer.arrays(data, "test")
    network = keras_peer.compiled("cnn", labels.shape[1])
    seconds, points = 0.0, []
    for _ in range(epochs):
        start = time.monotonic()
        network.fit(images, labels, batch_size=1024, verbose=0)
        seconds += time.monotonic() - start
        points.append((seconds, float(network.evaluate(*test, batch_size=1024, verbose=0)[1])))
    return points


def _draw(article: list[Point], trainings: dict[str, list[Point]], path: Path) -> None:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*article, strict=True), ".-", label="the article's CNN, Keras, an epoch each")
    for marker, (recipe, points) in zip("sD^v", trainings.items(), strict=False):
        axes.plot(*zip(*points, strict=True), marker, label=f"{recipe}, a whole training each")
    axes.axhline(article[-1][1], color="grey", linewidth=1, linestyle=":")
    axes.set(xlabel="seconds of training", ylabel="test accuracy", ylim=(0.78, None))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
