"""Jobs for other machines, and the stand-ins that they are sent to."""

import json
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from deploy import google_cloud
from tests.cloud_stub import GoogleCloud, Kubernetes

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
