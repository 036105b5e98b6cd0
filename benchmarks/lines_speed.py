"""Preprocessing and reading of lines, compared with kraken's, in processor seconds a line.

    python benchmarks/lines_speed.py --pairs FOLDER --kraken ENVIRONMENT --kraken-model FILE --run RUN [--lines N]

FOLDER has `train/`, `test/` and `lines.tsv`; RUN is a finished training of lines. `python -m preprocess` is compared
with `ketos compile` on all pairs, `python -m trainer predict` with `ketos test` on the first N test lines (all). What
`ketos test` takes for its error rates is told apart: its recogniser is also run without them. Each command runs twice,
with one thread, the other time on a tenth of the lines: what that takes less is what the other lines take, so start-up
is left out.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import machine
from lines_peers import ONE_THREAD, READ_BY_KETOS, ROOT

_SMALL = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--kraken", type=Path, required=True, help="kraken's virtual environment")
    parser.add_argument("--kraken-model", type=Path, required=True, help="a checkpoint of ketos train")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--lines", type=int, help="test lines to read; all by default")
    arguments = parser.parse_args()
    ketos, python = (str(arguments.kraken / "bin" / name) for name in ("ketos", "python"))
    model = str(arguments.kraken_model)
    test = sorted(arguments.pairs.glob("test/*.png"))[: arguments.lines]
    every = sorted(arguments.pairs.glob("train/*.png")) + sorted(arguments.pairs.glob("test/*.png"))
    print(f"{machine.describe()}; one thread\n")
    print("| ms a line | lines | ours | kraken | ratio |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as place:

        def preprocess(lines: list[Path], folder: Path) -> list[str]:
            copy_pairs(lines, arguments.pairs, folder / "pairs")
            command = [sys.executable, "-m", "preprocess", "--dataset", "mine/lines", "--line-height", "40"]
            return [*command, "--source", str(folder / "pairs"), "--data-dir", str(folder / "data")]

        def compile_by_ketos(lines: list[Path], folder: Path) -> list[str]:
            command = [ketos, "compile", "--format-type", "path", "--output", str(folder / "lines.arrow")]
            return [*command, "--files", str(listed(lines, folder))]

        def predict(lines: list[Path], folder: Path) -> list[str]:
            copy_pairs(lines, arguments.pairs, folder / "pairs")
            command = [sys.executable, "-m", "trainer", "predict", "--model", str(arguments.run)]
            return [*command, "--input", str(folder / "pairs" / "test"), "--output", str(folder / "read.jsonl")]

        def test_by_ketos(lines: list[Path], folder: Path) -> list[str]:
            command = [ketos, "--device", "cpu", "--threads", "1", "test", "--format-type", "path", "--model", model]
            return [*command, "--test-data", str(listed(lines, folder))]

        def read_by_ketos(lines: list[Path], folder: Path) -> list[str]:
            return [python, "-c", READ_BY_KETOS, model, str(listed(lines, folder)), str(folder / "read.json")]

        ours = milliseconds(preprocess, every, Path(place, "preprocess"))
        print_row("preprocessing, ketos compile", every, ours, milliseconds(compile_by_ketos, every, Path(place, "c")))
        ours = milliseconds(predict, test, Path(place, "predict"))
        print_row("reading, ketos test", test, ours, milliseconds(test_by_ketos, test, Path(place, "test")))
        print_row("without its error rates", test, ours, milliseconds(read_by_ketos, test, Path(place, "read")))


def print_row(name: str, lines: list[Path], ours: float, theirs: float) -> None:
    print(f"| {name} | {len(lines):,} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f} |", flush=True)


def milliseconds(command_of: Callable[[list[Path], Path], list[str]], lines: list[Path], folder: Path) -> float:
    """Of a line that comes on top."""
    few = lines[::_SMALL]
    seconds = []
    for name, some in (("few", few), ("all", lines)):
        place = folder / name
        place.mkdir(parents=True)
        seconds.append(processor_seconds(command_of(some, place), place / "log"))
    return 1e3 * (seconds[1] - seconds[0]) / (len(lines) - len(few))


def processor_seconds(command: list[str], log: Path) -> float:
    """Of a command and all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as file:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | ONE_THREAD, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exited with code {done.returncode}\n{log.read_text()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def copy_pairs(lines: list[Path], pairs: Path, folder: Path) -> None:
    """These lines, as a folder of pairs with its table."""
    names = {str(line.relative_to(pairs)) for line in lines}
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for part in (Path(name), Path(name).with_suffix(".gt.txt")):
            shutil.copy(pairs / part, folder / part)
    head, *rows = (pairs / "lines.tsv").read_text("utf-8").splitlines(keepends=True)
    kept = [row for row in rows if row.split("\t")[0] in names]
    (folder / "lines.tsv").write_text("".join([head, *kept]), "utf-8")


def listed(lines: list[Path], folder: Path) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{line.resolve()}\n" for line in lines))
    return path


if __name__ == "__main__":
    main()
