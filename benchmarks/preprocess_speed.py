"""Speed and memory of preprocessing, compared with TFDS' own writer and with the floor, in one run.

    python benchmarks/preprocess_speed.py [--real-data FOLDER] [--examples 814255] [--tfds-examples 20000]

Writes a source of ByClass' size (its pixels repeated from FOLDER's `emnist-byclass/`, or drawn), then measures, each in
a process of its own: ours, with one and with two workers; ours on four times as many examples, for the memory;
`tensorflow_datasets` writing the same images the way its EMNIST builder does; and the floor: unpacking the files,
hashing them, and writing as many bytes as the shards have. Rates are noisy; the ratios are of one run.
"""

import argparse
import gzip
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import numpy as np

from common.formats import idx
from preprocess.catalogue import find
from preprocess.sources import synthetic

DATASET = find("emnist/byclass")
TFDS_WRITER = """
import gzip, sys, time
import numpy as np, tensorflow_datasets as tfds
folder, out, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
stem = f"{folder}/emnist-byclass-test"
images = np.frombuffer(gzip.open(f"{stem}-images-idx3-ubyte.gz").read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
labels = np.frombuffer(gzip.open(f"{stem}-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)

class Emnist(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        features = {"image": tfds.features.Image(shape=(28, 28, 1)), "label": tfds.features.ClassLabel(num_classes=62)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, _):
        return {"train": self._generate_examples()}
    def _generate_examples(self):
        for index in range(count):
            yield index, {"image": images[index], "label": labels[index]}

tfds.disable_progress_bar()
builder = Emnist(data_dir=out)
start = time.perf_counter()
builder.download_and_prepare()
print(time.perf_counter() - start)
"""
FLOOR = """
import gzip, hashlib, pathlib, sys, time
start = time.perf_counter()
for path in pathlib.Path(sys.argv[1]).iterdir():
    hashlib.sha256(path.read_bytes())
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            while file.read(1 << 24):
                pass
with open(sys.argv[2], "wb") as file:
    left, chunk = int(sys.argv[3]), bytes(1 << 24)
    while left > 0:
        left -= file.write(chunk[:left])
print(time.perf_counter() - start)
"""
_WATCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real-data", type=Path)
    parser.add_argument("--examples", type=int, default=814_255)
    parser.add_argument("--tfds-examples", type=int, default=20_000)
    arguments = parser.parse_args()
    pixels = draw_pixels(arguments.real_data)
    with tempfile.TemporaryDirectory() as place:
        source, four_times = Path(place, "source"), Path(place, "four")
        write_source(source, pixels, arguments.examples)
        write_source(four_times, pixels, 4 * arguments.examples)

        rows = []
        for workers in (1, 2):
            seconds, peak = _preprocess(source, f"{place}/data-{workers}", workers)
            rows.append((f"ours, {workers} worker{'s' * (workers > 1)}", arguments.examples, seconds, peak))
        seconds, peak = _preprocess(four_times, f"{place}/data-four", 1)
        rows.append(("ours, four times the input", 4 * arguments.examples, seconds, peak))
        manifest = json.loads(Path(place, "data-1", DATASET.name, "1.0.0", "manifest.json").read_text())
        size = sum(shard["size_bytes"] for split in manifest["splits"].values() for shard in split["shards"])
        floor, peak = _run("-c", FLOOR, str(source), f"{place}/floor", str(size))
        rows.append(("floor: gunzip, sha256, write", arguments.examples, floor, peak))
        count = min(arguments.tfds_examples, arguments.examples // 7)
        tfds, peak = _run("-c", TFDS_WRITER, str(source), f"{place}/tfds", str(count))
        rows.append(("TFDS' writer", count, tfds, peak))

        print(f"{machine.describe()}, {arguments.examples:,} examples\n")
        print("| | examples/s | times TFDS | times the floor's time | peak memory |")
        print("| --- | --- | --- | --- | --- |")
        for name, examples, seconds, peak in rows:
            rate, of_floor = examples / seconds, (seconds / examples) / (floor / arguments.examples)
            print(f"| {name} | {rate:,.0f} | {rate / (count / tfds):.1f} | {of_floor:.1f} | {peak / 1024:,.0f} MB |")


def _preprocess(source: Path, data_dir: str, workers: int) -> tuple[float, int]:
    command = ("preprocess", "--dataset", DATASET.name, "--source", str(source), "--data-dir", data_dir)
    start = time.perf_counter()
    _, peak = _run("-m", *command, "--local-workers", str(workers), prints_seconds=False)
    return time.perf_counter() - start, peak


def _run(*arguments: str, prints_seconds: bool = True) -> tuple[float, int]:
    """Runs Python; returns the seconds that it printed last, and the peak memory, in KiB, of its largest process."""
    command = [sys.executable, "-c", _WATCHER, sys.executable, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    *printed, peak = done.stdout.split()
    return float(printed[-1]) if prints_seconds else 0.0, int(peak)


def draw_pixels(real_data: Path | None) -> np.ndarray:
    if real_data:
        path = real_data / "emnist-byclass" / DATASET.images_file("train")
        return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    images, _ = synthetic.draw_split(DATASET, "train", 300, seed=0, workers=os.cpu_count() or 1)
    return images.transpose(0, 2, 1)


def write_source(folder: Path, pixels: np.ndarray, examples: int) -> None:
    folder.mkdir()
    mapping = "".join(f"{label} {ord(name)}\n" for label, name in enumerate(DATASET.class_names))
    (folder / str(DATASET.mapping_file)).write_text(mapping)
    for split, count in (("train", examples - examples // 7), ("test", examples // 7)):
        labels = np.random.default_rng(0).integers(0, 62, count).astype(np.uint8)
        (folder / DATASET.labels_file(split)).write_bytes(gzip.compress(idx.write(labels)))
        with gzip.open(folder / DATASET.images_file(split), "wb", compresslevel=6) as file:
            file.write(idx.write(pixels[:0])[:4] + struct.pack(">3I", count, 28, 28))
            for start in range(0, count, len(pixels)):
                file.write(pixels[: min(len(pixels), count - start)].tobytes())


if __name__ == "__main__":
    main()
