"""The source article's two recipes on real handwriting, run as a user would: what the README's table quotes.

    python benchmarks/article.py --real-data FOLDER [--cnn-epochs 10]

FOLDER holds `mnist/` (the original MNIST's four files) and `emnist-byclass/` (ByClass' five files). Everything is
trained (no validation split), the figure is that of the last epoch, and the test split is read once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real-data", type=Path, required=True)
    parser.add_argument("--cnn-epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| recipe | data | training examples | test accuracy | test loss | training | examples/s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for dataset, folder, recipe, epochs in (
        ("mnist/original", "mnist", "article_dense", 5),
        ("emnist/byclass", "emnist-byclass", "article_cnn", arguments.cnn_epochs),
    ):
        with tempfile.TemporaryDirectory() as place:
            source = str(arguments.real_data / folder)
            data = _run(
                *("preprocess", "--dataset", dataset, "--source", source, "--data-dir", f"{place}/data"),
                *("--validation-fraction", "0"),
            )
            run = _run(
                *("trainer", "train", "--data", data, "--run-dir", f"{place}/run", "--config", recipe),
                *("--epochs", str(epochs), "--seed", str(arguments.seed)),
            )
            metrics = json.loads(Path(run, "metrics.json").read_text())
            examples = json.loads(Path(data, "manifest.json").read_text())["splits"]["train"]["num_examples"]
            timings = [json.loads(line) for line in Path(run, "timings.jsonl").read_text().splitlines()]
        seconds = sum(epoch["seconds"] for epoch in timings)
        print(
            f"| `{recipe}`, {epochs} epochs | `{dataset}` | {examples:,} | {metrics['test']['accuracy']:.1%} "
            f"| {metrics['test']['loss']:.3f} | {seconds:.0f} s | {epochs * examples / seconds:,.0f} |",
            flush=True,
        )


def _run(*arguments: str) -> str:
    """Runs `python -m …` and returns the last line of its stdout: the path of what it made."""
    done = subprocess.run([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def _processor() -> str:
    names = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
