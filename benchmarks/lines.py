"""How well recipes read lines: processor seconds of training and error rates of the test split, a row for each recipe.

    python benchmarks/lines.py --data data/mine/lines/1.0.0 --recipes lines_fast --seeds 0 1 2 --runs runs/lines

It can be stopped and started again: a run goes on where it was, and a finished one is only read. Processor seconds are
those of the epochs, without start-up and validation, so other work on the machine changes little; of an epoch that was
interrupted they are those of its last part. The test split is read once a run, at its end.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from machine import describe

_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the dataset folder")
    parser.add_argument("--recipes", nargs="+", default=["lines_fast"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", required=True, help="the folder for the run folders")
    parser.add_argument("--language-model", action="store_true", help="also read with one of the training texts")
    arguments = parser.parse_args()
    print(f"{describe()}; one thread\n")
    print(
        "| recipe | seeds | parameters | processor seconds | validation CER | test CER | test WER | with LM: CER, WER |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for recipe in arguments.recipes:
        runs = [train(arguments.data, recipe, seed, Path(arguments.runs)) for seed in arguments.seeds]
        print(row(recipe, arguments.data, runs, arguments.language_model), flush=True)


def train(data: str, recipe: str, seed: int, folder: Path) -> Path:
    """The run folder of a finished training."""
    run = folder / f"{recipe}-{seed}"
    command = ["train", "--data", data, "--run-dir", str(run), "--config", recipe, "--seed", str(seed)]
    _trainer(*command, "--no-verify-export")
    return run


def row(recipe: str, data: str, runs: list[Path], with_language_model: bool) -> str:
    metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
    timings = [[json.loads(line) for line in (run / "timings.jsonl").read_text().splitlines()] for run in runs]
    seconds = [sum(epoch["processor_seconds"] for epoch in epochs) for epochs in timings]
    parameters = json.loads((runs[0] / "run.json").read_text())["parameters"]
    rates = [
        in_words([figures[split][f"{unit}_error_rate"] for figures in metrics])
        for split, unit in (("validation", "character"), ("test", "character"), ("test", "word"))
    ]
    decoded = "–"
    if with_language_model:
        read = [_with_language_model(run, data) for run in runs]
        decoded = ", ".join(
            in_words([figures[f"{unit}_error_rate"] for figures in read]) for unit in ("character", "word")
        )
    cells = (f"`{recipe}`", str(len(runs)), f"{parameters:,}", f"{np.mean(seconds):,.0f}", *rates, decoded)
    return "| " + " | ".join(cells) + " |"


def _with_language_model(run: Path, data: str) -> dict:
    output = run / "with_language_model.json"
    if not output.exists():
        flags = ("--language-model", "from-training-text", "--output", str(output))
        _trainer("evaluate", "--model", str(run), "--data", data, *flags)
    return json.loads(output.read_text())["language_model"]


def in_words(rates: list[float]) -> str:
    """Mean and, of several, standard deviation, in percent."""
    percent = 100 * np.array(rates)
    return f"{percent.mean():.2f} %" + (f" ± {percent.std(ddof=1):.2f}" if len(rates) > 1 else "")


def _trainer(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "trainer", *arguments],
        check=True,
        env=os.environ | _ONE_THREAD,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
