"""What it is worth to begin with the weights of an earlier run, by processor seconds and error rate.

    python benchmarks/fine_tuning.py pictures DATASET FOLDER [--characters 1200]
    python benchmarks/fine_tuning.py compare --run RUN --new DATASET --work FOLDER [--examples 200]
        [--epochs 5 20 80] [--seeds 0 1 2] -- --config strong

`pictures` plays a person: of the test split of a dataset of characters it renders photographs, all with one slant, as a
folder for `preprocess` with `train/` (a sixth) and `test/`. `compare` trains, for each seed and length, one run from
the weights of `--run` and one from nothing on the first examples of `--new`, and measures both on all of that dataset's
test split. It takes characters and lines alike; what stands after `--` goes to every training. For example:

    python benchmarks/fine_tuning.py pictures data/emnist/byclass/1.0.0 someone
    python -m preprocess --dataset someone/characters --source someone --data-dir data --max-rejected 1200
    python benchmarks/fine_tuning.py compare --run runs/byclass --new data/someone/characters/1.0.0 \\
        --work bench/characters -- --config strong
    python benchmarks/fine_tuning.py compare --run runs/copiste --new data/poilus/lines/1.0.0 \\
        --work bench/lines --examples 300 --epochs 10 30 90 -- --config lines_fast

`results.jsonl` in the work folder has a line for each part that is finished. If it is stopped, the same command goes on
where it was; the seconds of a part that was interrupted are those of all its starts.
"""

import argparse
import json
import resource
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from common.dataset import manifest as manifests  # noqa: E402
from common.dataset import records  # noqa: E402
from common.dataset.schema import IMAGE, LABEL  # noqa: E402
from common.photographs import photograph  # noqa: E402
from common.storage import sha256_of  # noqa: E402
from trainer.data.examples import open_split  # noqa: E402
from trainer.evaluation.photographs import can_be_drawn  # noqa: E402

_KINDS = ("clean", "shadow", "ruled")
_SLANT = 0.3  # of the height, to the right
_TRAINING_SHARE = 1 / 6
_RESULTS = "results.jsonl"
_QUICK = ("--calibration-pictures", "0", "--no-verify-export")
_STOPPED = 143


@dataclass(frozen=True)
class Part:
    """One training."""

    name: str
    data: Path
    epochs: int
    seed: int
    origin: Path | None = None
    """The run that it begins with the weights of."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    pictures = commands.add_parser("pictures")
    pictures.add_argument("data", type=Path)
    pictures.add_argument("folder", type=Path)
    pictures.add_argument("--characters", type=int, default=1200)
    compare = commands.add_parser("compare")
    compare.add_argument("--run", type=Path, required=True, help="the finished run that one of each two begins from")
    compare.add_argument("--new", type=Path, required=True)
    compare.add_argument("--work", type=Path, required=True)
    compare.add_argument("--examples", type=int, default=200, help="training examples of --new; 0 for all")
    compare.add_argument("--epochs", type=int, nargs="+", default=[5, 20, 80])
    compare.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    flags = sys.argv[len(own) + 2 :]
    arguments = parser.parse_args(own)
    if arguments.command == "pictures":
        draw_pictures(arguments.data, arguments.folder, arguments.characters)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_STOPPED))
    arguments.work.mkdir(parents=True, exist_ok=True)
    results = arguments.work / _RESULTS
    print(machine.describe(), flush=True)
    for part in parts(arguments):
        if part.name not in finished(results):
            train(part, arguments.work, flags, results)
    print_table(arguments, finished(results))


def parts(arguments: argparse.Namespace) -> Iterator[Part]:
    few = arguments.new
    if arguments.examples:
        few = first_examples(few, arguments.work / "data" / f"first-{arguments.examples}", arguments.examples)
    for seed in arguments.seeds:
        for epochs in arguments.epochs:
            yield Part(name_of("nothing", arguments.examples, epochs, seed), few, epochs, seed)
            yield Part(name_of("weights", arguments.examples, epochs, seed), few, epochs, seed, arguments.run)


def name_of(start: str, examples: int, epochs: int, seed: int) -> str:
    return f"from {start}, {examples} examples, {epochs} epochs, seed {seed}"


def run_dir(work: Path, name: str) -> Path:
    return work / "runs" / name.replace(",", "").replace(" ", "-")


def first_examples(dataset: Path, folder: Path, count: int) -> Path:
    """A dataset of the first training examples of another, in the order of its shards, and of its whole test split."""
    if (folder / manifests.FILE_NAME).exists():
        return folder
    described = manifests.read(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    for shard in described.splits["test"].shards:
        (folder / shard.name).write_bytes((dataset / shard.name).read_bytes())
    taken = open_split(dataset, described, "train").take(np.arange(count))
    path = folder / "few-train.tfrecord-00000-of-00001"
    path.write_bytes(records.encode(taken, described.schema))
    train = described.splits["train"]
    shard = replace(
        train.shards[0], name=path.name, num_examples=count, size_bytes=path.stat().st_size, sha256=sha256_of(path)
    )
    splits = {"train": replace(train, num_examples=count, shards=(shard,)), "test": described.splits["test"]}
    few = replace(described, splits=splits, data_fingerprint=manifests.fingerprint(described.schema, splits))
    (folder / manifests.FILE_NAME).write_bytes(manifests.to_json(few))
    return folder


def train(part: Part, work: Path, flags: list[str], results: Path) -> None:
    """Trains, and keeps a line of results, with the processor's seconds of this start; also if it is stopped."""
    folder = run_dir(work, part.name)
    command = [sys.executable, "-m", "trainer", "train", "--data", str(part.data), "--run-dir", str(folder)]
    command += [*flags, *_QUICK, "--epochs", str(part.epochs), "--seed", str(part.seed)]
    if part.origin:
        command += ["--initialize-from", str(part.origin)]
    before, line = seconds(), {"part": part.name}
    try:
        done = subprocess.run(command, cwd=Path.cwd(), stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise SystemExit(f"{part.name}: exited with code {done.returncode}")
        line["test"] = error_rate(folder)
    finally:
        line["seconds"] = seconds() - before
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")
    print(f"{part.name}: {line['test']:.2%} wrong, {line['seconds']:.0f} s of processor time", flush=True)


def seconds() -> float:
    """The processor's seconds of all trainings that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def error_rate(folder: Path) -> float:
    """Of characters, on the test split."""
    test = json.loads((folder / "metrics.json").read_text())["test"]
    return test["character_error_rate"] if "character_error_rate" in test else 1 - test["accuracy"]


def finished(results: Path) -> dict[str, dict[str, Any]]:
    """The error rate of each finished part, and the seconds of all its starts."""
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    spent: dict[str, float] = {}
    for line in lines:
        spent[line["part"]] = spent.get(line["part"], 0) + line["seconds"]
    return {line["part"]: {"test": line["test"], "seconds": spent[line["part"]]} for line in lines if "test" in line}


def print_table(arguments: argparse.Namespace, results: dict[str, dict[str, Any]]) -> None:
    print()
    print("| epochs | from nothing: wrong | processor | from its weights: wrong | processor |")
    print("| --- | --- | --- | --- | --- |")
    for epochs in arguments.epochs:
        cells = []
        for start in ("nothing", "weights"):
            ends = [results[name_of(start, arguments.examples, epochs, seed)] for seed in arguments.seeds]
            rates = [end["test"] for end in ends]
            spread = f" ± {statistics.stdev(rates):.2%}" if len(rates) > 1 else ""
            cells.append(f"{statistics.mean(rates):.2%}{spread}")
            cells.append(f"{statistics.mean(end['seconds'] for end in ends):.0f} s")
        print(f"| {epochs} | {' | '.join(cells)} |")


def draw_pictures(data: Path, folder: Path, count: int) -> None:
    """Renders characters of the test split, slanted, as photographs: in `train/` and `test/`, a folder for a class."""
    described = manifests.read(data)
    examples = open_split(data, described, "test")
    batch = examples.take(np.random.default_rng(0).permutation(examples.num_examples)[: 2 * count])
    drawn = 0
    for image, label in zip(batch[IMAGE], batch[LABEL], strict=True):
        slanted = slant(image[..., 0])
        if drawn == count or not can_be_drawn(slanted[..., None]):
            continue
        split = "train" if drawn < _TRAINING_SHARE * count else "test"
        place = folder / split / described.class_names[label]
        place.mkdir(parents=True, exist_ok=True)
        content = photograph(slanted, _KINDS[drawn % len(_KINDS)], np.random.default_rng(drawn))
        (place / f"{drawn}.png").write_bytes(content)
        drawn += 1
    print(f"{folder}: {drawn} photographs")


def slant(image: np.ndarray) -> np.ndarray:
    """An image, uint8 [H, W], with its top moved to the right."""
    shift = _SLANT * image.shape[0] / 2
    matrix = (1, _SLANT, -shift, 0, 1, 0)
    return np.asarray(Image.fromarray(image).transform(image.shape[::-1], Image.Transform.AFFINE, matrix, 3))


if __name__ == "__main__":
    main()
