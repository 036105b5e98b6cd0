"""The command `python -m deploy`: flags to a configuration, then one call of one function."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deploy import job as jobs
from deploy import local
from preprocess import cli


@dataclass(frozen=True)
class SubmitConfig:
    """Run a job description, preprocessing then training, as one job."""

    job: str
    """The job description: a YAML file with the sections `preprocess` and `train`, named as the commands' flags."""
    target: Literal["local"] = "local"
    """Where to run it: on this machine, in the foreground."""
    dry_run: bool = False
    """Print the commands and run nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    commands = {"submit": _submit}
    return cli.run_one_of(commands, "python -m deploy", list(sys.argv[1:] if arguments is None else arguments))


def _submit(arguments: list[str]) -> str | int:
    """Run a job description somewhere; --dry-run prints what would be run."""
    config = cli.parse(SubmitConfig, arguments, "python -m deploy submit")
    job = jobs.read(config.job)
    return local.describe(job) if config.dry_run else local.submit(job)
