"""Descriptions of local and remote jobs, and a source that changes each week."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from common.formats import idx
from preprocess.catalogue import find
from tests.support.sources import write_gzip

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


@dataclass(frozen=True)
class Source:
    """A folder in the original MNIST's layout. Each class is a faint pattern in noise: more examples help."""

    folder: Path

    def write(self, train: int, test: int = 1000, wrong: float = 0.0, moved: int = 0) -> None:
        """Writes `train` and `test` examples. A share `wrong` of the training labels is wrong, and the first `moved`
        training examples are in the test files instead."""
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
    """Writes the description of a job that takes some ten seconds and keeps all its files in `folder`."""
    job = {
        "name": "digits",
        "preprocess": {"dataset": "mine/digits", "source": str(folder / "source"), "data_dir": str(folder / "data")}
        | {"classes": list("0123456789")},
        "train": {"model": "dense", "epochs": 6, "global_batch_size": 20, "verify_export": False}
        | {"calibration_pictures": 17},
        "runs_dir": str(folder / "runs"),
        "serving": {"dir": str(folder / "serving")},
        "gate": {"min_accuracy": 0.2},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return folder / "job.yaml"
