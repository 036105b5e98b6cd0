"""The flags of the commands, one dataclass each."""

from dataclasses import dataclass
from typing import Literal

from deploy.config.settings import Target


@dataclass(frozen=True)
class InitConfig:
    """Write a job description with every setting, commented, to edit.

    Unedited, it draws a small synthetic dataset, so that `python -m deploy run` can be tried at once.
    """

    job: str = "job.yaml"
    """The file to write (local or gs://); an existing file is never overwritten."""


@dataclass(frozen=True)
class RunConfig:
    """Run a whole retraining: preprocess, train, evaluate, gate, promote. Every target starts this command.

    The same command resumes an interrupted retraining at its first unfinished step. If TF_CONFIG names several workers,
    start each with this command; the chief runs all steps, the others only train.
    """

    job: str
    """The job description: a YAML file (local or gs://), or the description itself as one line of JSON."""
    if_changed: bool = False
    """End after preprocessing if neither data nor recipe has changed since the last retraining with a decision."""
    policy: Literal["better", "not_worse"] | None = None
    """Overrides the job description's gate.policy."""


@dataclass(frozen=True)
class JobSomewhere:
    """The flags of the commands that work on a target."""

    job: str
    """The job description: a YAML file (local or gs://)."""
    target: Target | None = None
    """The target; by default the job description's."""


@dataclass(frozen=True)
class SubmitConfig(JobSomewhere):
    """Start a retraining on a target."""

    detach: bool = False
    """Local target: return once the retraining has begun, and leave it running; `logs` shows its output."""
    if_changed: bool = False
    """End after preprocessing if neither data nor recipe has changed since the last retraining with a decision."""
    policy: Literal["better", "not_worse"] | None = None
    """Overrides the job description's gate.policy."""
    dry_run: bool = False
    """Print what would be sent or run, and do nothing else."""


@dataclass(frozen=True)
class StatusConfig(JobSomewhere):
    """Show the progress of a retraining, or how the last one ended."""


@dataclass(frozen=True)
class LogsConfig(JobSomewhere):
    """Show the log of a retraining."""

    follow: bool = False
    """Keep printing new lines until the retraining ends."""


@dataclass(frozen=True)
class CancelConfig(JobSomewhere):
    """Stop a retraining; starting it again resumes it."""


@dataclass(frozen=True)
class ScheduleCommandConfig(JobSomewhere):
    """Have a retraining started on a schedule, with --if-changed."""

    cron: str | None = None
    """Overrides the job description's schedule.cron."""
    time_zone: str | None = None
    """Overrides the job description's schedule.time_zone."""
    dry_run: bool = False
    """Print what would be installed, and do nothing else."""


@dataclass(frozen=True)
class UnscheduleConfig(JobSomewhere):
    """Remove the schedule of a retraining."""


@dataclass(frozen=True)
class PromoteConfig:
    """Send the model of a finished run through the gate, and serve it if it passes."""

    job: str
    """The job description: a YAML file (local or gs://)."""
    run: str
    """The run folder. The run must have been trained on the job's current dataset."""
    policy: Literal["better", "not_worse"] | None = None
    """Overrides the job description's gate.policy."""


@dataclass(frozen=True)
class RollbackConfig:
    """Serve an earlier version again."""

    job: str
    """The job description: a YAML file (local or gs://)."""
    to: int | None = None
    """The version to serve; by default the one that the version in use replaced."""


@dataclass(frozen=True)
class HistoryConfig:
    """Show which versions were served when and why, and which models were refused."""

    job: str
    """The job description: a YAML file (local or gs://)."""
