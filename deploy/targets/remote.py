"""Common ground of the remote targets: the command that runs there, and checks of the paths it needs."""

from pathlib import Path
from typing import Any

from common import provenance, storage
from common.errors import InputError
from deploy import job as jobs
from deploy.job import Job
from preprocess.config import NIST, SYNTHETIC

JOB_LABEL = "handwriting_trainer_job"
"""The label of everything that a job starts on Google Cloud; its value is the job's name."""

ROOT = Path(__file__).resolve().parents[2]
"""The root of the checkout, unless this package is installed."""

_WITHOUT_FILES = (NIST, SYNTHETIC)


def command(job: Job, if_changed: bool) -> list[str]:
    """Returns the arguments of `python -m` that run `job` on another machine. They include the job description.

    Raises `InputError` for a path that only this machine can reach.
    """
    paths = {"runs_dir": job.runs_dir, "serving.dir": job.serving.dir}
    check_paths(job, paths)
    return ["deploy", "run", "--job", jobs.to_json(job), *(["--if-changed"] if if_changed else [])]


def check_paths(job: Job, others: dict[str, str | None]) -> None:
    """Raises `InputError` for a path, of the preprocessing or in `others`, that only this machine can reach."""
    paths = [("preprocess.source", source) for source in job.preprocess.source if source not in _WITHOUT_FILES]
    paths += [(f"preprocess.{name}", getattr(job.preprocess, name)) for name in ("data_dir", "compare", "exclude")]
    paths.append(("train.initialize_from", job.train.initialize_from))
    for name, path in [*paths, *others.items()]:
        if path is None or path.startswith("tfds:"):
            continue
        if not path.startswith("gs://"):
            raise InputError(f"{name} {path}: other machines cannot reach it; give gs://bucket/…")
        storage.check_bucket(path)


def check_section(section: str, config: Any, needed: tuple[str, ...]) -> None:
    """Raises `InputError` if a required setting is missing in a target's section."""
    for name in needed:
        if not getattr(config, name):
            raise InputError(f"{section}.{name}: is missing in the job description; needed: {', '.join(needed)}")


def commit_label() -> str:
    """The commit of the code that is sent, as the value of a label."""
    commit = provenance.commit()
    return f"{commit.id}-dirty" if commit.dirty else commit.id
