"""Fixtures of all tests: sources of known content, real handwriting where it is at hand, a bucket emulator."""

import gzip
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from preprocess import bucket_client, idx
from preprocess.catalogue import KnownDataset, find
from preprocess.config import PreprocessConfig
from tests import browser as browsers
from tests.faulty_bucket import FaultyBucket, running_emulator

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real handwriting; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("EMNIST_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real handwriting here; set EMNIST_TEST_DATA to its folder")
    return folder


def write_gzip(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, mtime=0))


def telling_images(count: int, seed: int = 0) -> np.ndarray:
    """Upright images, uint8 [N, 28, 28], all different, with no symmetry: swapping height and width changes each."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    images[:, 4, :] = 255  # a line across
    images[:, :, 9] = 0
    return images


class IdxSource:
    """A source folder in a published layout, and what was put into it."""

    def __init__(self, folder: Path, dataset: KnownDataset, counts: dict[str, int]):
        self.folder, self.dataset = folder, dataset
        self.images: dict[str, np.ndarray] = {}
        self.labels: dict[str, np.ndarray] = {}
        """0-based, as a dataset folder should give them."""
        folder.mkdir(parents=True)
        for seed, (split, count) in enumerate(counts.items()):
            images = telling_images(count, seed)
            labels = np.arange(count) % len(dataset.classes)
            self.images[split], self.labels[split] = images, labels
            stored = images.transpose(0, 2, 1) if dataset.transposed else images
            write_gzip(self.path("images", split), idx.write(stored))
            write_gzip(self.path("labels", split), idx.write((labels + dataset.first_label).astype(np.uint8)))
        if dataset.mapping_file:
            lines = (
                f"{dataset.first_label + index} {' '.join(str(ord(character)) for character in characters)}\r\n"
                for index, characters in enumerate(dataset.classes)
            )
            (folder / dataset.mapping_file).write_text("".join(lines), newline="")

    def path(self, kind: str, split: str) -> Path:
        name = self.dataset.images_file(split) if kind == "images" else self.dataset.labels_file(split)
        return self.folder / name

    def config(self, where: Path | str, **changes) -> PreprocessConfig:
        settings = {"dataset": self.dataset.name, "source": (str(self.folder),), "data_dir": str(where)}
        return PreprocessConfig(**(settings | changes))


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[..., IdxSource]:
    """Makes a small source folder of a named dataset, filled with `telling_images`."""

    def make(name: str = "emnist/byclass", train: int = 600, test: int = 130) -> IdxSource:
        return IdxSource(tmp_path / "source" / name, find(name), {"train": train, "test": test})

    return make


@pytest.fixture(scope="session")
def synthetic_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of drawn digits: some 3,600 for training, 400 for validation, 500 for the test."""
    from preprocess import pipeline

    data_dir = tmp_path_factory.mktemp("data")
    return Path(pipeline.run(PreprocessConfig("synthetic/digits", ("synthetic",), str(data_dir))))


@pytest.fixture(scope="session")
def finished_run(synthetic_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small net, trained on them for three epochs."""
    from trainer import train
    from trainer.config import TrainConfig

    run_dir = str(tmp_path_factory.mktemp("runs") / "dense")
    settings = {"model": "dense", "epochs": 3, "global_batch_size": 64, "verify_export": False}
    return Path(train.run(TrainConfig(str(synthetic_digits), run_dir, **settings)))


@pytest.fixture(scope="session")
def browser() -> Iterator[browsers.Browser]:
    """A browser without a screen; tests that need it are skipped where there is none."""
    programs = browsers.find()
    if not programs:
        pytest.skip("no browser here; install Debian's packages chromium and chromium-driver")
    opened = browsers.Browser(*programs)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """Address of a bucket emulator that runs as a process of its own."""
    with running_emulator() as address:
        yield address


@pytest.fixture
def bucket(emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`gs://` address of an empty bucket."""
    urllib.request.urlopen(f"{emulator}/wipe?keep-buckets=1", timeout=60).close()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    return "gs://test"


@pytest.fixture
def faulty_bucket(bucket: str, emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyBucket]:
    """The same bucket over a network that can be made as bad as one likes."""
    with FaultyBucket(emulator) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.address)
        yield proxy


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits before another try, and for an answer that stalls, are made short; nothing else is other than it is."""
    monkeypatch.setattr(bucket_client, "_CONNECT_AND_READ_SECONDS", (0.5, 0.5))
    monkeypatch.setattr("google.api_core.retry.retry_unary.exponential_sleep_generator", lambda *_, **__: repeat(0.01))


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m …` as a user would, from the project's root."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
