"""Jobs for this machine, whose data changes each week, and for others; stand-ins for cron and for clouds."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import yaml

from deploy import google_cloud, promotion, retraining
from deploy import job as jobs
from preprocess import idx
from preprocess.catalogue import find
from tests.cloud_stub import GoogleCloud, Kubernetes
from tests.conftest import write_gzip

REMOTE_JOB = {
    "name": "letters",
    "preprocess": {"dataset": "emnist/letters", "source": "gs://raw/emnist/gzip", "data_dir": "gs://test/data"},
    "train": {"config": "article_cnn", "epochs": 3},
    "runs_dir": "gs://test/runs",
    "serving": {"dir": "gs://test/serving"},
    "vertex": {
        "project": "my-project",
        "region": "europe-west4",
        "image": "registry.example/trainer:1",
        "scheduler_account": "scheduler@my-project.iam.gserviceaccount.com",
    },
    "kubernetes": {"image": "registry.example/trainer:1", "namespace": "ours"},
    "dataflow": {"project": "my-project", "region": "europe-west4", "temp_dir": "gs://test/tmp"},
}
_CRONTAB = """#!/bin/sh
# A crontab that is a file.
case "$1" in
-l) cat "$CRONTAB_FILE" 2>/dev/null || { echo "no crontab for tester" >&2; exit 1; } ;;
-) cat > "$CRONTAB_FILE" ;;
*) exit 2 ;;
esac
"""


@dataclass(frozen=True)
class Source:
    """A folder in the original MNIST's layout. Each class is a pattern, faint in noise: more examples tell more."""

    folder: Path

    def write(self, train: int, test: int = 1000, wrong: float = 0.0, moved: int = 0) -> None:
        """Puts so many examples there; of training ones a share of `wrong` with another's label, and the first
        `moved` not there but in the test."""
        (images, labels), (test_images, test_labels) = _draw(0, train), _draw(1, test)
        labels = np.where(np.random.default_rng(3).random(train) < wrong, (labels + 1) % 10, labels)
        self._write("train", images[moved:], labels[moved:])
        self._write("test", np.concatenate([test_images, images[:moved]]), np.append(test_labels, labels[:moved]))

    def _write(self, split: str, images: np.ndarray, labels: np.ndarray) -> None:
        dataset = find("mnist/original")
        self.folder.mkdir(exist_ok=True)
        write_gzip(self.folder / dataset.images_file(split), idx.write(images))
        write_gzip(self.folder / dataset.labels_file(split), idx.write(labels.astype(np.uint8)))


def _draw(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    random, patterns = np.random.default_rng(seed), np.random.default_rng(2).choice([-12, 12], (10, 28, 28))
    labels = np.arange(count) % 10
    images = np.clip(128 + patterns[labels] + random.normal(0, 60, (count, 28, 28)), 0, 255)
    return images.astype(np.uint8), labels


def describe_job(folder: Path) -> Path:
    """The description of a job of some ten seconds, with all that is its own in `folder`."""
    job = {
        "name": "digits",
        "preprocess": {"dataset": "mnist/original", "source": str(folder / "source"), "data_dir": str(folder / "data")},
        "train": {"model": "dense", "epochs": 6, "global_batch_size": 20, "verify_export": False},
        "runs_dir": str(folder / "runs"),
        "serving": {"dir": str(folder / "serving")},
        "gate": {"min_accuracy": 0.2},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return folder / "job.yaml"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A first week's."""
    source = Source(tmp_path / "source")
    source.write(train=700)
    return source


@pytest.fixture
def job_file(source: Source, tmp_path: Path) -> Path:
    """A job of which nothing has been done."""
    return describe_job(tmp_path)


@pytest.fixture(scope="session")
def first_week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first-week")
    Source(folder / "source").write(train=700)
    retraining.run(jobs.read(str(describe_job(folder))))
    return folder


@pytest.fixture
def promoted(first_week: Path, tmp_path: Path) -> Path:
    """A job whose first model has been promoted."""
    shutil.copytree(first_week, tmp_path, dirs_exist_ok=True)
    promotion.settle(tmp_path / "serving" / "digits")  # it names the folder
    return describe_job(tmp_path)


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the stand-in for the program `crontab` keeps; no such file is no crontab."""
    program = tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(_CRONTAB)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CRONTAB_FILE", str(tmp_path / "crontab.txt"))
    return tmp_path / "crontab.txt"


@pytest.fixture
def write_job(tmp_path: Path) -> Callable[..., str]:
    """Writes `REMOTE_JOB`, its sections changed as told, and returns the file's path."""

    def write(**changes: object) -> str:
        sections = dict(REMOTE_JOB)
        for name, change in changes.items():
            sections[name] = sections.get(name, {}) | change if isinstance(change, dict) else change
        (tmp_path / "job.yaml").write_text(json.dumps(sections))
        return str(tmp_path / "job.yaml")

    return write


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleCloud]:
    """Google Cloud, as far as clients in this process can tell, which wait less before they try again."""
    monkeypatch.setattr("google.api_core.retry.retry_unary.exponential_sleep_generator", lambda *_, **__: repeat(0.01))
    monkeypatch.setattr(google_cloud.RETRY, "_timeout", 1.0)
    with GoogleCloud() as stub:
        for name, value in stub.environment(tmp_path / "key.json").items():
            monkeypatch.setenv(name, value)
        yield stub


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """A Kubernetes cluster, as far as clients in this process can tell."""
    with Kubernetes() as stub:
        monkeypatch.setattr(
            "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION",
            str(stub.write_kubeconfig(tmp_path / "kubeconfig")),
        )
        yield stub
