"""The package's commands, run as a user would."""

import subprocess
import sys


def python(*arguments: str) -> str:
    """Runs Python with these arguments and returns the last line of its stdout; its log goes to this stderr."""
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exited with code {done.returncode}")
    return done.stdout.splitlines()[-1]


def preprocess(dataset: str, source: str, data_dir: str, *flags: str) -> str:
    """Makes a dataset without a validation split; returns its folder."""
    request = ("--dataset", dataset, "--source", source, "--data-dir", data_dir, "--validation-fraction", "0")
    return python("-m", "preprocess", *request, *flags)


def train(data: str, run_dir: str, recipe: str, seed: int, *flags: str) -> str:
    """Trains with a recipe; returns the run folder."""
    request = ("--data", data, "--run-dir", run_dir, "--config", recipe, "--seed", str(seed))
    return python("-m", "trainer", "train", *request, *flags)
