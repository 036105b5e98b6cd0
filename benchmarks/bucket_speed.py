"""The cost of a bad network, and the speed of staging and training from a bucket.

    python benchmarks/bucket_speed.py [--files 200] [--examples 814255] [--training-examples 50000] [--rounds 3]

The bucket is an emulator on this machine. Compared programs take turns, and ratios are medians over turns.

Operations: eight threads write, look up, move and read files, and remove a third of them, without faults and with a
fifth of all requests spoilt in the ways of `tests/support/faulty_bucket.py`. One of these is a stalled answer, which
the client gives up after half a minute. Staging: a dataset of ByClass' size (a few drawn characters, repeated) is
fetched by the trainer, which verifies it, and by google-cloud-storage's `transfer_manager` with as many threads.
Training: `cnn`, with data and run folder in the bucket or on disk, each in a process of its own; the first epoch is not
counted.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import machine
from google.cloud.storage import transfer_manager
from preprocess_speed import DATASET, draw_pixels, write_source

from common import storage
from common.dataset import manifest as manifests
from common.storage import gcs
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from trainer.data import cache

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.support.faulty_bucket import PASSING, FaultyBucket, running_emulator

_FAULT_RATE = 0.2
_THREADS = 8
_FILE_BYTES = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--examples", type=int, default=814_255, help="examples of the dataset to stage")
    parser.add_argument("--training-examples", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with running_emulator() as emulator, tempfile.TemporaryDirectory() as place:
        os.environ["STORAGE_EMULATOR_HOST"] = emulator
        print(f"{machine.describe()}\n")
        _print_operations(emulator, arguments.files)
        _print_staging(Path(place), arguments.examples, arguments.rounds)
        _print_training(Path(place), arguments.training_examples, arguments.epochs, arguments.rounds)


def _print_operations(emulator: str, files: int) -> None:
    print("| faults | requests | spoilt | files lost | files damaged | seconds | times the seconds without |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    without_stalls = tuple(kind for kind in PASSING if kind != "stall")
    first = None
    for name, kinds in (("none", ()), ("all but stalled answers", without_stalls), ("all", PASSING)):
        with FaultyBucket(emulator) as proxy:
            os.environ["STORAGE_EMULATOR_HOST"] = proxy.address
            proxy.rate, proxy.kinds = _FAULT_RATE if kinds else 0.0, kinds
            start = time.monotonic()
            read = _operate(f"gs://test/operations-{len(kinds)}", files)
            seconds = time.monotonic() - start
            requests, spoilt = len(proxy.asked), sum(proxy.happened.values())
            proxy.mend()
            lost, damaged = _compare(read, f"gs://test/operations-{len(kinds)}")
        first = first or seconds
        print(
            f"| {name} | {requests} | {spoilt} | {lost} | {damaged} | {seconds:.0f} | {seconds / first:.1f} |",
            flush=True,
        )
    os.environ["STORAGE_EMULATOR_HOST"] = emulator


def _content(number: int) -> bytes:
    return random.Random(number).randbytes(_FILE_BYTES)


def _operate(folder: str, files: int) -> list[bytes | None]:
    """Returns the content of each file as read at the end of its life; None if the file was not found."""

    def life(number: int) -> bytes | None:
        first, path = storage.to_path(f"{folder}/new/{number}"), storage.to_path(f"{folder}/kept/{number}")
        storage.write_atomically(first, _content(number))
        if not first.exists():
            return None
        storage.move(first, path)
        content = path.read_bytes()
        if number % 3 == 0:
            storage.remove(path)
        return content

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(life, range(files)))


def _compare(read: list[bytes | None], folder: str) -> tuple[int, int]:
    """Counts files lost and files damaged, in the bucket or when read. One that should be gone counts as damaged."""
    remote = storage.to_path(folder)
    there = {name: storage.read(remote / name) for name in storage.objects_below(remote)}
    expected = {f"kept/{number}": _content(number) for number in range(len(read)) if number % 3}
    lost = sum(content is None for content in read) + len(set(expected) - set(there))
    damaged = sum(content not in (None, _content(number)) for number, content in enumerate(read))
    return lost, damaged + sum(expected.get(name) != content for name, content in there.items())


def _dataset(place: Path, name: str, examples: int) -> Path:
    source = place / f"{name}-source"
    write_source(source, draw_pixels(None), examples)
    return Path(pipeline.run(PreprocessConfig(DATASET.name, (str(source),), str(place / name))))


def _print_staging(place: Path, examples: int, rounds: int) -> None:
    data = _dataset(place, "staged", examples)
    remote = storage.to_path("gs://test/staged")
    manifest = manifests.read(data)
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    for name in (*[shard.name for shard in shards], manifests.FILE_NAME):
        gcs.upload(data / name, remote / name)

    def ours(target: Path) -> None:
        cache.stage(remote, manifest, manifest.splits, target, 1e12)

    def plain(target: Path) -> None:
        target.mkdir()
        pairs = [(gcs.blob(remote / shard.name), str(target / shard.name)) for shard in shards]
        transfer_manager.download_many(
            pairs, max_workers=_THREADS, worker_type=transfer_manager.THREAD, raise_exception=True
        )

    seconds: dict[str, list[float]] = {"the trainer's staging": [], "transfer_manager": []}
    for _ in range(rounds):
        for name, fetch in zip(seconds, (ours, plain), strict=True):
            with tempfile.TemporaryDirectory(dir=place) as target:
                start = time.monotonic()
                fetch(Path(target) / "cache")
                seconds[name].append(time.monotonic() - start)
    size = sum(shard.size_bytes for shard in shards)
    print(f"\n| staging {size / 1e6:,.0f} MB | MB/s | times the seconds of transfer_manager |\n| --- | --- | --- |")
    for name, durations in seconds.items():
        rate = size / 1e6 / statistics.median(durations)
        print(f"| {name} | {rate:,.0f} | {_ratio(durations, seconds['transfer_manager']):.2f} |")


def _print_training(place: Path, examples: int, epochs: int, rounds: int) -> None:
    data = _dataset(place, "trained", examples)
    storage.to_path("gs://test/trained").upload_from(data)
    print(f"\n| training on {examples:,} examples | examples/s | times the seconds from disk |\n| --- | --- | --- |")
    for how, limit in (("held in memory", 2000), ("streamed", 0)):
        seconds: dict[str, list[float]] = {"disk": [], "bucket": []}
        for turn in range(rounds):
            for where, location, runs in (("disk", data, place), ("bucket", "gs://test/trained", "gs://test")):
                run = f"{runs}/run-{where}-{limit}-{turn}"
                command = ["train", "--data", str(location), "--run-dir", run, "--epochs", str(epochs)]
                command += ["--in-memory-limit-mb", str(limit), "--cache-dir", str(place / "cache")]
                subprocess.run([sys.executable, "-m", "trainer", *command], check=True, capture_output=True)
                lines = (storage.to_path(run) / "timings.jsonl").read_text().splitlines()
                timings = [json.loads(line) for line in lines[1:]]
                seconds[where].append(statistics.median(1 / timing["examples_per_second"] for timing in timings))
        for where, durations in seconds.items():
            print(
                f"| {how}, from {where} | {1 / statistics.median(durations):,.0f} "
                f"| {_ratio(durations, seconds['disk']):.2f} |"
            )


def _ratio(durations: list[float], others: list[float]) -> float:
    return statistics.median(duration / other for duration, other in zip(durations, others, strict=True))


if __name__ == "__main__":
    main()
