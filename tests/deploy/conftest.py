"""Fixtures: local jobs whose data changes each week, remote jobs, and stand-ins for cron and the clouds."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import job as jobs
from deploy import retraining
from deploy import serving as servings
from tests.support.clouds import cluster, crontab, google  # noqa: F401
from tests.support.jobs import REMOTE_JOB, Source, describe_job


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
def write_job(tmp_path: Path) -> Callable[..., str]:
    """Writes `REMOTE_JOB`, its sections changed as told, and returns the file's path."""

    def write(**changes: object) -> str:
        sections = dict(REMOTE_JOB)
        for name, change in changes.items():
            sections[name] = sections.get(name, {}) | change if isinstance(change, dict) else change
        (tmp_path / "job.yaml").write_text(json.dumps(sections))
        return str(tmp_path / "job.yaml")

    return write
