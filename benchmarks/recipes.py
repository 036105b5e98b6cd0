"""Accuracy and cost of the package's recipes on real handwriting, run as a user would: figures of docs/results.md.

    python benchmarks/recipes.py --real-data FOLDER [--runs [fast strong …]] [--seeds 0 1 2]

FOLDER holds `mnist/` (the original MNIST's four files), `emnist-byclass/` (ByClass' five files) and, for the last two
runs, `emnist-mnist/` and `emnist-bymerge/`. All training examples are used (no validation split), figures are those of
the last epoch, and the test split is read once. The second table has each network's prediction speed on batches of
1,000 images: the median of turns that the networks take in one process. `--runs` without a name prints only this table.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import commands
import machine

_BATCH, _BATCHES, _TURNS = 1000, 5, 7
_IMAGE = (28, 28, 1)


@dataclass(frozen=True)
class Run:
    recipe: str
    dataset: str = "emnist/byclass"
    folder: str = "emnist-byclass"
    flags: tuple[str, ...] = ()


_ON_MNIST = ("mnist/original", "mnist")
RUNS = {
    "article_dense": Run("article_dense", *_ON_MNIST),
    "dense": Run("dense", *_ON_MNIST),
    "article_cnn": Run("article_cnn", flags=("--epochs", "10")),
    "cnn5": Run("cnn5"),
    "fast": Run("fast"),
    "strong": Run("strong"),
    "wide": Run("wide"),
    "mnist_fast": Run("fast", *_ON_MNIST, ("--epochs", "2")),
    "mnist": Run("mnist", *_ON_MNIST),
    "emnist_mnist": Run("mnist", "emnist/mnist", "emnist-mnist"),
    "bymerge": Run("wide", "emnist/bymerge", "emnist-bymerge", ("--epochs", "20")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real-data", type=Path, required=True)
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=list(RUNS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    print(f"{machine.describe()}\n")
    print("| recipe | data | seeds | test accuracy | macro-F1 | test loss | training | examples/s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.runs:
        run = RUNS[name]
        with tempfile.TemporaryDirectory() as place:
            data = commands.preprocess(run.dataset, str(arguments.real_data / run.folder), f"{place}/data")
            results = [_train(run, data, f"{place}/run-{seed}", seed) for seed in arguments.seeds]
        print(f"| {' '.join([f'`{run.recipe}`', *run.flags])} | `{run.dataset}` | {_row(results)} |", flush=True)
    print("\n| recipe | parameters | MFLOP an image | prediction, examples/s | of `article_cnn`'s |")
    print("| --- | --- | --- | --- | --- |")
    for line in _costs(list(dict.fromkeys(run.recipe for run in RUNS.values()))):
        print(line)


def _train(run: Run, data: str, run_dir: str, seed: int) -> dict[str, Any]:
    folder = Path(commands.train(data, run_dir, run.recipe, seed, *run.flags))
    facts = json.loads((folder / "run.json").read_text())
    timings = [json.loads(line) for line in (folder / "timings.jsonl").read_text().splitlines()]
    seconds = sum(epoch["seconds"] for epoch in timings)
    rate = len(timings) * facts["num_examples"]["train"] / seconds
    return {**json.loads((folder / "metrics.json").read_text())["test"], "seconds": seconds, "rate": rate}


def _row(results: list[dict[str, Any]]) -> str:
    accuracy, f1, loss, seconds, rate = (
        statistics.mean(result[key] for result in results)
        for key in ("accuracy", "macro_f1", "loss", "seconds", "rate")
    )
    spread = f" ± {statistics.stdev(result['accuracy'] for result in results):.2%}" if len(results) > 1 else ""
    return f"{len(results)} | {accuracy:.2%}{spread} | {f1:.3f} | {loss:.3f} | {seconds:.0f} s | {rate:,.0f}"


def _costs(names: list[str]) -> list[str]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import numpy as np
    import tensorflow as tf

    from common.dataset.schema import characters
    from trainer.config import recipes
    from trainer.models import networks

    schema = characters(tuple(map(str, range(62))))
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (_BATCH, 28, 28, 1)), tf.float32)
    models = {recipe: networks.build(recipes.defaults(recipe), schema) for recipe in names}
    predict = {recipe: tf.function(network) for recipe, network in models.items()}
    rates: dict[str, list[float]] = {recipe: [] for recipe in names}
    for turn in range(_TURNS + 1):
        for recipe in names:
            start = time.perf_counter()
            for _ in range(_BATCHES):
                predict[recipe](images).numpy()
            if turn:  # the first one compiles
                rates[recipe].append(_BATCH * _BATCHES / (time.perf_counter() - start))
    rate = {recipe: statistics.median(measured) for recipe, measured in rates.items()}
    return [
        f"| `{recipe}` | {network.count_params():,} | {networks.count_flops(network, _IMAGE) / 1e6:.1f} "
        f"| {rate[recipe]:,.0f} "
        f"| {rate[recipe] / rate['article_cnn']:.2f} |"
        for recipe, network in models.items()
    ]


if __name__ == "__main__":
    main()
