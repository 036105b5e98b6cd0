"""Fixtures for all tests: sources of known content, real handwriting if available, a bucket emulator."""

import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# As many tests run at once as there are cores. Read when NumPy and TensorFlow are loaded, here and in child processes.
os.environ.update(dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"))
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from common.storage import gcs
from preprocess.catalogue import find
from preprocess.config import PreprocessConfig
from tests.support import ROOT
from tests.support import browser as browsers
from tests.support.faulty_bucket import FaultyBucket, running_emulator
from tests.support.lines import PAGE_PATTERN, write_pairs
from tests.support.lines import config as line_config
from tests.support.settings import SMALL_LINES, train_config
from tests.support.shared import build_once
from tests.support.sources import IdxSource

_TRAINED = {"finished_run", "finished_lines_run", "numbers_run", "first_week"}
"""Fixtures that TensorFlow makes."""

_PROPERTIES = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=100, derandomize=True, **_PROPERTIES)
settings.register_profile("thorough", max_examples=2000, **_PROPERTIES)
settings.load_profile("quick")


def pytest_configure(config: pytest.Config) -> None:
    """In a session without tests of TensorFlow nothing can import it, neither here nor in a child process."""
    if "not tensorflow" in config.option.markexpr:
        stand_in = str(ROOT / "tests" / "support" / "no_tensorflow")
        sys.path.insert(0, stand_in)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (stand_in, os.environ.get("PYTHONPATH"))))


@pytest.hookimpl(tryfirst=True)  # pytest-xdist asks for the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not _TRAINED.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.tensorflow)
        if "browser" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("alone"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real handwriting; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("EMNIST_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real handwriting here; set EMNIST_TEST_DATA to its folder")
    return folder


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[..., IdxSource]:
    """Makes a small source folder of a named dataset, filled with `telling_images`."""

    def make(name: str = "emnist/byclass", train: int = 600, test: int = 130) -> IdxSource:
        return IdxSource(tmp_path / "source" / name, find(name), {"train": train, "test": test})

    return make


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Gives the folder of a name, which is filled once for all workers of pytest-xdist; tests leave it as it is."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return lambda name, build: build_once(root / name, build)


@pytest.fixture(scope="session")
def small_dataset(shared_folder) -> Path:
    """A dataset folder of 730 `telling_images`, labelled as digits: quickly made, but nothing to be learned."""

    def build(folder: Path) -> None:
        from preprocess import pipeline

        source = IdxSource(folder / "source", find("emnist/digits"), {"train": 600, "test": 130})
        pipeline.run(source.config(folder / "data"))

    return shared_folder("small", build) / "data" / "emnist" / "digits" / "1.0.0"


@pytest.fixture(scope="session")
def line_pairs(shared_folder) -> Path:
    """40 lines of 10 pages as pairs of pictures and texts; tests leave them as they are."""
    return shared_folder("lines", write_pairs)


@pytest.fixture(scope="session")
def small_lines(line_pairs: Path, shared_folder) -> Path:
    """The dataset folder of them, grouped by page."""

    def build(folder: Path) -> None:
        from preprocess import pipeline

        pipeline.run(line_config(line_pairs, where=folder, group_pattern=PAGE_PATTERN))

    return shared_folder("small-lines", build) / "mine" / "lines" / "1.0.0"


@pytest.fixture(scope="session")
def synthetic_digits(shared_folder) -> Path:
    """A dataset folder of drawn digits: some 3,600 for training, 400 for validation, 500 for the test."""

    def build(data_dir: Path) -> None:
        from preprocess import pipeline

        pipeline.run(PreprocessConfig("synthetic/digits", ("synthetic",), str(data_dir)))

    return shared_folder("data", build) / "synthetic" / "digits" / "1.0.0"


@pytest.fixture(scope="session")
def synthetic_lines(shared_folder) -> Path:
    """A dataset folder of drawn lines: 120 for training by six hands, 15 each for validation and test."""

    def build(data_dir: Path) -> None:
        from preprocess import pipeline

        pipeline.run(PreprocessConfig("synthetic/lines", ("synthetic",), str(data_dir), line_height=24, num_lines=120))

    return shared_folder("drawn-lines", build) / "synthetic" / "lines" / "1.0.0"


@pytest.fixture(scope="session")
def finished_lines_run(synthetic_lines: Path, shared_folder) -> Path:
    """The run folder of a small net that has hardly learned to read them."""

    def build(runs_dir: Path) -> None:
        from trainer import train

        train.run(train_config(str(synthetic_lines), str(runs_dir / "lines"), **SMALL_LINES, steps=20))

    return shared_folder("lines-runs", build) / "lines"


@pytest.fixture(scope="session")
def finished_run(synthetic_digits: Path, shared_folder) -> Path:
    """The run folder of a small net, trained on them for three epochs."""

    def build(runs_dir: Path) -> None:
        from trainer import train

        settings = {"model": "dense", "epochs": 3, "global_batch_size": 64, "verify_export": False}
        train.run(train_config(str(synthetic_digits), str(runs_dir / "dense"), **settings))

    return shared_folder("runs", build) / "dense"


@pytest.fixture(scope="session")
def composed_lines(synthetic_digits: Path, shared_folder) -> Path:
    """A dataset folder of numbers, put together from drawn digits: 600 lines for training, 75 each for the others."""

    def build(data_dir: Path) -> None:
        from preprocess import pipeline

        source = (f"compose:{synthetic_digits}",)
        pipeline.run(PreprocessConfig("amounts/digits", source, str(data_dir), num_lines=600, line_height=32))

    return shared_folder("numbers", build) / "amounts" / "digits" / "1.0.0"


@pytest.fixture(scope="session")
def numbers_run(composed_lines: Path, shared_folder) -> Path:
    """The run folder of a small net that reads more than half of their characters."""

    def build(runs_dir: Path) -> None:
        from trainer import train

        network = {"filters": (8, 16, 32), "picture_blocks": 1, "channels": 32, "line_blocks": 1}
        settings = {"lines": network, "epochs": 7, "global_batch_size": 16, "learning_rate": 0.005}
        train.run(
            train_config(str(composed_lines), str(runs_dir / "lines"), model="lines", verify_export=False, **settings)
        )

    return shared_folder("numbers_runs", build) / "lines"


_MODELS: dict[str, Any] = {}


@pytest.fixture
def models_loaded_once(monkeypatch) -> None:
    """Loads a model of the same content only once: to load it and to start its graph takes seconds."""
    from trainer.serving import loading

    load = loading.load

    def load_once(location: str):
        content = loading.fingerprint(location)
        if content not in _MODELS:
            _MODELS[content] = load(location)
        return _MODELS[content]

    monkeypatch.setattr(loading, "load", load_once)


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
    monkeypatch.setattr(gcs, "_CONNECT_AND_READ_SECONDS", (0.5, 0.5))
    monkeypatch.setattr("google.api_core.retry.retry_unary.exponential_sleep_generator", lambda *_, **__: repeat(0.01))
