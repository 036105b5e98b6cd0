"""The package's recipes on real handwriting, run as a user would: what the README's table quotes.

    python benchmarks/recipes.py --real-data FOLDER [--recipes article_dense article_cnn cnn5 fast strong]

FOLDER holds `mnist/` (the original MNIST's four files) and `emnist-byclass/` (ByClass' five files). Everything is
trained (no validation split), the figure is that of the last epoch, and the test split is read once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import machine

# Dataset, folder of its files, and epochs where they are not the recipe's own.
RUNS = {
    "article_dense": ("mnist/original", "mnist", ()),
    "article_cnn": ("emnist/byclass", "emnist-byclass", ("--epochs", "10")),
    "cnn5": ("emnist/byclass", "emnist-byclass", ()),
    "fast": ("emnist/byclass", "emnist-byclass", ()),
    "strong": ("emnist/byclass", "emnist-byclass", ()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real-data", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{machine.describe()}\n")
    print("| recipe | data | training examples | test accuracy | test loss | training | examples/s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for recipe in arguments.recipes:
        dataset, folder, length = RUNS[recipe]
        with tempfile.TemporaryDirectory() as place:
            source = str(arguments.real_data / folder)
            data = _run(
                *("preprocess", "--dataset", dataset, "--source", source, "--data-dir", f"{place}/data"),
                *("--validation-fraction", "0"),
            )
            run = _run(
                *("trainer", "train", "--data", data, "--run-dir", f"{place}/run", "--config", recipe),
                *("--seed", str(arguments.seed), *length),
            )
            metrics = json.loads(Path(run, "metrics.json").read_text())
            examples = json.loads(Path(data, "manifest.json").read_text())["splits"]["train"]["num_examples"]
            timings = [json.loads(line) for line in Path(run, "timings.jsonl").read_text().splitlines()]
        seconds, epochs = sum(epoch["seconds"] for epoch in timings), len(timings)
        print(
            f"| `{recipe}`, {epochs} epochs | `{dataset}` | {examples:,} | {metrics['test']['accuracy']:.1%} "
            f"| {metrics['test']['loss']:.3f} | {seconds:.0f} s | {epochs * examples / seconds:,.0f} |",
            flush=True,
        )


def _run(*arguments: str) -> str:
    """Runs `python -m …` and returns the last line of its stdout: the path of what it made."""
    done = subprocess.run([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    main()
