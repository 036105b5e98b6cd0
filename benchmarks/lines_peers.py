"""How well lines are read after the same processor time: ours, kraken's `ketos train`, and Keras' handwriting recipe.

    python benchmarks/lines_peers.py --pairs FOLDER --data DATASET --kraken ENVIRONMENT --work FOLDER
        [--systems ketos crnn ours] [--seconds 900 1800 3600] [--cores 0 1] [--picture FILE.png]

DATASET was made of the pairs in FOLDER; all systems train on the lines of its training split, and read all of its test
split. ENVIRONMENT is a virtual environment with kraken, as `pip install kraken==7.1.1` makes one. Trainings run side by
side, one on each of the cores, with one thread. Processor seconds are those of all processes of a training, from the
start to when the model was taken: start-up, reading data, validation and saving included.

- `ketos` is one training at ketos' defaults, with three settings in its favour: it validates twenty times an epoch, to
  have models to show; on every eighth line of the validation split, or validating would take most of its time; and it
  never stops early. Its model is the best by its own validation of those that it has kept by then.
- `crnn` is one training of `lines_peers_crnn.py`; its model is the last that it has saved by then.
- `ours` is a whole training of `lines_fast` for each of `--seconds`, of as many steps as fit. What a step and the rest
  take is measured by a short training before, which counts for nothing.

It can be stopped, and goes on where it was when it is started again; `--work` keeps each finished part. What a system
does twice because of that, from its last checkpoint on, counts once, its start-up each time.
"""

import argparse
import gzip
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import machine
import psutil
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from common.normalize.line import normalized  # noqa: E402
from trainer.evaluation.readings import error_rates  # noqa: E402

SYSTEMS = ("ketos", "crnn", "ours")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")} | {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
_MEASURED_STEPS = 100
_MARGIN = 0.97  # of the budget, for what steps take is no constant
READ_BY_KETOS = """
import json, sys
import torch
from kraken.configs import RecognitionInferenceConfig, VGSLRecognitionTrainingConfig, VGSLRecognitionTrainingDataConfig
from kraken.train import KrakenTrainer
from kraken.train.vgsl import VGSLRecognitionDataModule, VGSLRecognitionModel

checkpoint, listed, output = sys.argv[1:]
torch.set_num_threads(1)
texts = []

class Reader(VGSLRecognitionModel):
    def test_step(self, batch, *_):
        outputs, lengths = self.net.forward(batch["image"], batch["seq_lens"])
        paths = RecognitionInferenceConfig().decoder(outputs.squeeze(2), lengths)
        texts.extend("".join(place[0] for place in self.net.codec.decode(path)) for path in paths)

    def on_test_epoch_end(self):
        pass

config = VGSLRecognitionTrainingConfig()
model = Reader.load_from_checkpoint(checkpoint, config=config, weights_only=False)
data = VGSLRecognitionDataModule(
    VGSLRecognitionTrainingDataConfig(format_type="path", test_data=open(listed).read().splitlines())
)
trainer = KrakenTrainer(accelerator="cpu", devices=1, precision="32-true", enable_progress_bar=False)
super(KrakenTrainer, trainer).test(model, data, verbose=False)
with open(output, "w") as file:
    json.dump(texts, file)
"""
"""Reads lines as `ketos test` does, and keeps what was read: the command itself prints only its own error rates."""


@dataclass(frozen=True)
class Training:
    """A training that ends, by itself or by us, with the last of its seconds."""

    name: str
    system: str
    seconds: tuple[int, ...]
    """The processor seconds after which a model is wanted, ascending."""


@dataclass(frozen=True)
class Model:
    """A file with weights that was seen in a training's folder."""

    path: str
    modified: float
    seconds: float
    """The training's processor seconds when it was there."""


@dataclass
class Running:
    """A process of a training."""

    training: Training
    core: int
    process: subprocess.Popen
    before: float
    """The seconds of the starts before."""
    models: list[Model] = field(default_factory=list)

    def seconds(self) -> float:
        return self.before + _seconds_of(self.process.pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kraken", type=Path, help="kraken's virtual environment; needed for ketos")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--seconds", nargs="+", type=int, default=[900, 1800, 3600])
    parser.add_argument("--cores", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    if "ketos" in arguments.systems and not arguments.kraken:
        parser.error("--kraken: name the virtual environment that has kraken in it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    peers = Peers(arguments.pairs, arguments.data, arguments.kraken, arguments.work)
    peers.write_lists()
    seconds = tuple(sorted(arguments.seconds))
    if "ours" in arguments.systems:
        run_all(peers, [Training("ours-measured", "ours", ())], arguments.cores)
    run_all(peers, list(trainings(arguments.systems, seconds)), arguments.cores)
    for system in arguments.systems:
        for budget in seconds:
            peers.figures(system, budget)
    print_table(peers, seconds)
    if arguments.picture:
        draw(peers, seconds, arguments.picture)


def trainings(systems: list[str], seconds: tuple[int, ...]) -> Iterator[Training]:
    for system in systems:
        if system == "ours":
            yield from (Training(f"ours-{budget}", system, (budget,)) for budget in seconds)
        else:
            yield Training(system, system, seconds)


@dataclass(frozen=True)
class Peers:
    """The lines, and where each training stands in the work folder."""

    pairs: Path
    data: Path
    kraken: Path
    work: Path

    def origins(self, split: str) -> list[str]:
        """The pictures of a split, relative to the pairs, in the dataset's order."""
        lines = gzip.decompress((self.data / f"examples-{split}.jsonl.gz").read_bytes()).splitlines()
        return [json.loads(line)["source"] for line in lines]

    def listed(self, split: str) -> Path:
        return self.work / f"{split}.txt"

    def write_lists(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation", "test"):
            pictures = self.origins(split)[:: 8 if split == "validation" else 1]
            self.listed(split).write_text("".join(f"{(self.pairs / name).resolve()}\n" for name in pictures))

    def folder(self, training: Training) -> Path:
        return self.work / training.name

    def checkpoints(self, training: Training) -> Path:
        return self.folder(training) / ("run/checkpoints" if training.system == "ours" else "checkpoints")

    def command(self, training: Training, last: Path | None) -> list[str]:
        """What starts it, or goes on from its last checkpoint."""
        folder = self.checkpoints(training)
        if training.system == "ketos":
            command = [str(self.kraken / "bin" / "ketos"), "--device", "cpu", "--threads", "1", "--seed", "0", "train"]
            command += ["--format-type", "path", "--freq", "0.05", "--quit", "fixed", "--epochs", "1000"]
            command += ["--training-data", str(self.listed("train"))]
            command += ["--evaluation-data", str(self.listed("validation")), "--output", str(folder)]
            return command + (["--resume", str(last)] if last else [])
        if training.system == "crnn":
            script = str(Path(__file__).with_name("lines_peers_crnn.py"))
            command = [sys.executable, script, "train", str(self.listed("train")), str(folder)]
            return command + (["--resume", str(last)] if last else [])
        steps = self.steps_for(training.seconds[0]) if training.seconds else _MEASURED_STEPS
        command = [sys.executable, "-m", "trainer", "train", "--data", str(self.data), "--config", "lines_fast"]
        return [*command, "--run-dir", str(folder.parent), "--steps", str(steps), "--seed", "0", "--no-verify-export"]

    def steps_for(self, budget: int) -> int:
        """The steps of ours that fit into so many processor seconds, by the training that measured them."""
        folder = self.work / "ours-measured" / "run"
        timings = [json.loads(line) for line in (folder / "timings.jsonl").read_text().splitlines()]
        stepping = sum(epoch["processor_seconds"] for epoch in timings)
        rest = self.total_seconds("ours-measured") - stepping
        return math.floor((_MARGIN * budget - rest) / (stepping / _MEASURED_STEPS))

    def models(self, name: str) -> list[Model]:
        """All models that were seen, in their order; their files may be gone."""
        path = self.work / name / "models.jsonl"
        return [Model(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def total_seconds(self, name: str) -> float:
        """Of a training that ended by itself; 0 if it has not."""
        path = self.work / name / "seconds.json"
        return json.loads(path.read_text()) if path.exists() else 0.0

    def kept(self, name: str, budget: int) -> Path:
        """A copy of the model that a peer had after these seconds."""
        return self.work / name / f"after-{budget}"

    def is_finished(self, training: Training) -> bool:
        if training.system == "ours":
            return self.total_seconds(training.name) > 0
        return all(self.kept(training.name, budget).exists() for budget in training.seconds)

    def figures(self, system: str, budget: int) -> dict | None:
        """The test error rates after these seconds, measured once; nothing if there is no model."""
        folder = self.work / (f"ours-{budget}" if system == "ours" else system)
        path = folder / f"figures-{budget}.json"
        if path.exists():
            return json.loads(path.read_text())
        if system == "ours":
            if not self.total_seconds(folder.name):
                return None
            test = json.loads((folder / "run" / "metrics.json").read_text())["test"]
            rates = {name: test[name] for name in ("character_error_rate", "word_error_rate")}
            figures = {"seconds": self.total_seconds(folder.name), **rates}
        else:
            kept = self.kept(system, budget)
            models = list(kept.glob("model.*"))
            if not models:
                return None
            truths = [
                normalized(Path(name).with_suffix(".gt.txt").read_text("utf-8"))
                for name in self.listed("test").read_text().splitlines()
            ]
            texts = [normalized(text) for text in self.read(system, models[0], folder / f"read-{budget}.json")]
            figures = {"seconds": json.loads((kept / "seconds.json").read_text()), **error_rates(truths, texts)}
        path.write_text(json.dumps(figures))
        print(f"{system}, {budget} s: {figures}", flush=True)
        return figures

    def read(self, system: str, model: Path, output: Path) -> list[str]:
        if system == "ketos":
            command = [str(self.kraken / "bin" / "python"), "-c", READ_BY_KETOS]
        else:
            script = str(Path(__file__).with_name("lines_peers_crnn.py"))
            command = [sys.executable, script, "read", str(self.listed("train"))]
        log = output.with_suffix(".log")
        with log.open("wb") as file:
            done = subprocess.run(
                [*command, str(model), str(self.listed("test")), str(output)],
                env=os.environ | ONE_THREAD,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise SystemExit(f"{model}: exited with code {done.returncode}, see {log}")
        return json.loads(output.read_text())


def run_all(peers: Peers, waiting: list[Training], cores: list[int]) -> None:
    """Trains, a training on each core at a time; stops all if it is stopped itself."""
    waiting = [training for training in waiting if not peers.is_finished(training)]
    free, running = list(cores), []
    try:
        while waiting or running:
            while waiting and free:
                running.append(start(peers, waiting.pop(0), free.pop(0)))
            time.sleep(1)
            for one in list(running):
                if not follow(peers, one):
                    running.remove(one)
                    free.append(one.core)
    finally:
        for one in running:
            stop(peers, one)


def start(peers: Peers, training: Training, core: int) -> Running:
    folder = peers.folder(training)
    folder.mkdir(parents=True, exist_ok=True)
    models = [model for model in peers.models(training.name) if Path(model.path).exists()]
    before = models[-1].seconds if models else 0.0
    command = peers.command(training, Path(models[-1].path) if models else None)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | ONE_THREAD,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    print(f"{training.name}: process {process.pid} on core {core}, after {before:.0f} s", flush=True)
    return Running(training, core, process, before, peers.models(training.name))


def follow(peers: Peers, one: Running) -> bool:
    """Notes models that came, keeps those wanted; whether the training goes on."""
    training, reaped = one.training, _children_seconds()
    code = one.process.poll()
    seconds = one.before + _children_seconds() - reaped if code is not None else one.seconds()
    if training.system != "ours":
        for budget in training.seconds:
            if seconds >= budget and not peers.kept(training.name, budget).exists():
                keep(peers, one, budget)
    note_models(peers, one, seconds)
    if code is None and (training.system == "ours" or seconds < training.seconds[-1]):
        return True
    if code is None:
        stop(peers, one)
    elif code:
        raise SystemExit(f"{training.name}: exited with code {code}, see {peers.folder(training) / 'log'}")
    elif training.system == "ours":
        (peers.folder(training) / "seconds.json").write_text(json.dumps(seconds))
    return False


def note_models(peers: Peers, one: Running, seconds: float) -> None:
    known = {(model.path, model.modified) for model in one.models}
    seen = {(str(path), path.stat().st_mtime) for path in peers.checkpoints(one.training).glob("*.*")}
    one.models += [Model(*file, seconds) for file in sorted(seen - known, key=lambda file: file[1])]
    lines = [json.dumps(asdict(model)) + "\n" for model in one.models]
    (peers.folder(one.training) / "models.jsonl").write_text("".join(lines))


def keep(peers: Peers, one: Running, budget: int) -> None:
    """Copies the model that a peer has by now, if any, and writes how old it is."""
    models = [model for model in one.models if Path(model.path).exists() and _accuracy(model) is not None]
    folder = peers.kept(one.training.name, budget)
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(exist_ok=True)
    if models:
        best = max(models, key=lambda model: (_accuracy(model), model.seconds))
        shutil.copy(best.path, part / f"model{Path(best.path).suffix}")
        (part / "seconds.json").write_text(json.dumps(best.seconds))
        print(f"{one.training.name}, {budget} s: {Path(best.path).name}, of {best.seconds:.0f} s", flush=True)
    part.rename(folder)


def _accuracy(model: Model) -> float | None:
    """Of ketos' own validation, in the file's name; 0 for crnn; None for what ketos saves when it is stopped."""
    if Path(model.path).suffix == ".keras":
        return 0.0
    found = re.search(r"_\d+-(-?\d+\.\d+)", Path(model.path).name)
    return float(found[1]) if found else None


def stop(peers: Peers, one: Running) -> None:
    """Ends a training gently, and notes what it saved at its end."""
    seconds = one.seconds()
    one.process.terminate()
    reaped = _children_seconds()
    try:
        one.process.wait(60)
        seconds = one.before + _children_seconds() - reaped
    except subprocess.TimeoutExpired:
        for process in _processes(one.process.pid):
            process.kill()
        one.process.wait()
    note_models(peers, one, seconds)


def _seconds_of(pid: int) -> float:
    """The processor seconds of a process and of all that it started."""
    total = 0.0
    for process in _processes(pid):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _processes(pid: int) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_seconds(peers: Peers, system: str, seconds: tuple[int, ...]) -> float | None:
    """When the first file with weights was there, of ours in the shortest training."""
    for name in [f"ours-{budget}" for budget in seconds] if system == "ours" else [system]:
        models = peers.models(name)
        if models:
            return models[0].seconds
    return None


def print_table(peers: Peers, seconds: tuple[int, ...]) -> None:
    print(f"\n{machine.describe()}; one core and thread each\n")
    heads = [f"CER, WER after {budget:,} s" for budget in seconds]
    print(f"| | first weights | {' | '.join(heads)} |\n| --- | --- |{' --- |' * len(seconds)}")
    for system in SYSTEMS:
        first = first_seconds(peers, system, seconds)
        cells = [f"{first:,.0f} s" if first is not None else "–"]
        for budget in seconds:
            figures = peers.figures(system, budget)
            rates = [figures[f"{unit}_error_rate"] for unit in ("character", "word")] if figures else []
            cells.append(", ".join(f"{rate:.2%}" for rate in rates) or "–")
        print(f"| `{system}` | {' | '.join(cells)} |")


def draw(peers: Peers, seconds: tuple[int, ...], path: Path) -> None:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for system, marker, label in (
        ("ours", "s", "lines_fast, a whole training each"),
        ("ketos", "o", "kraken: ketos train"),
        ("crnn", "^", "Keras: handwriting recognition"),
    ):
        points = [(budget, peers.figures(system, budget)) for budget in seconds]
        points = [(budget, figures["character_error_rate"]) for budget, figures in points if figures]
        if points:
            (line,) = axes.plot(*zip(*points, strict=True), f"{marker}-", label=label)
            first = first_seconds(peers, system, seconds)
            axes.axvline(first, color=line.get_color(), linewidth=1, linestyle=":")
    axes.plot([], [], ":", color="grey", linewidth=1, label="first weights on disk")
    axes.set(xlabel="processor seconds", ylabel="test CER", xlim=(0, None), ylim=(0, None))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main()
