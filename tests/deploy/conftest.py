"""Fixtures: local jobs whose data changes each week, remote jobs, and stand-ins for cron and the clouds."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from deploy import job as jobs
from deploy import retraining
from deploy import serving as servings
from deploy.targets import google_cloud
from tests.support.cloud_stub import GoogleCloud, Kubernetes
from tests.support.jobs import REMOTE_JOB, Source, describe_job

_CRONTAB = """#!/bin/sh
# A crontab that is a file.
case "$1" in
-l) cat "$CRONTAB_FILE" 2>/dev/null || { echo "no crontab for tester" >&2; exit 1; } ;;
-) cat > "$CRONTAB_FILE" ;;
*) exit 2 ;;
esac
"""


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
def first_week(shared_folder) -> Path:
    """All that is left of a job's first round; the job names this folder."""

    def build(folder: Path) -> None:
        Source(folder / "source").write(train=700)
        retraining.run(jobs.read(str(describe_job(folder))))

    return shared_folder("first-week", build)


@pytest.fixture
def promoted(first_week: Path, tmp_path: Path) -> Path:
    """A job whose first model has been promoted."""
    shutil.copytree(first_week, tmp_path, dirs_exist_ok=True)
    servings.sync_models_config(tmp_path / "serving" / "digits")  # it names the folder
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
