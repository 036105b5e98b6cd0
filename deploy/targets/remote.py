"""What the targets on other machines have in common: what runs there, and that it can reach its files."""

from pathlib import Path
from typing import Any

from common import provenance, storage
from common.errors import InputError
from deploy import job as jobs
from deploy.job import Job
from preprocess.config import NIST, SYNTHETIC

JOB_LABEL = "handwriting_trainer_job"
"""Of all that a job starts on Google Cloud; its value is the job's name."""

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, where this package is not installed."""

_WITHOUT_FILES = (NIST, SYNTHETIC)


def command(job: Job, if_changed: bool) -> list[str]:
    """The arguments of `python -m` that carry out `job` on another machine, which needs no file for it.

    Raises `InputError` for a path that only this machine may have.
    """
    paths = {"runs_dir": job.runs_dir, "serving.dir": job.serving.dir}
    check_paths(job, paths)
    return ["deploy", "run", "--job", jobs.to_json(job), *(["--if-changed"] if if_changed else [])]


def check_paths(job: Job, others: dict[str, str | None]) -> None:
    """Raises `InputError` for a path of the preprocessing, or of `others` by name, that only this machine may have."""
    paths = [("preprocess.source", source) for source in job.preprocess.source if source not in _WITHOUT_FILES]
    paths += [(f"preprocess.{name}", getattr(job.preprocess, name)) for name in ("data_dir", "compare", "exclude")]
    for name, path in [*paths, *others.items()]:
        if path is None or path.startswith("tfds:"):
            continue
        if not path.startswith("gs://"):
            raise InputError(f"{name} {path}: other machines cannot reach it; give gs://bucket/…")
        storage.check_bucket(path)


def check_section(section: str, config: Any, needed: tuple[str, ...]) -> None:
    """Raises `InputError` for a setting of a target's section that is missing."""
    for name in needed:
        if not getattr(config, name):
            raise InputError(f"{section}.{name}: is missing in the job description; needed: {', '.join(needed)}")


def commit_label() -> str:
    """The commit that is sent, as a label may have it."""
    commit = provenance.commit()
    return f"{commit.id}-dirty" if commit.dirty else commit.id
