"""The flags of the commands, one dataclass each."""

from dataclasses import dataclass
from typing import Literal

from deploy.config.settings import Target


@dataclass(frozen=True)
class InitConfig:
    """Write a commented job description, with every setting there is, to change at will.

    As it is written, it draws a small dataset, so that `python -m deploy run` can be tried at once.
    """

    job: str = "job.yaml"
    """The file to write (local or gs://); one that is there already is left as it is."""


@dataclass(frozen=True)
class RunConfig:
    """Carry out a whole retraining: preprocess, train, evaluate, gate, promote. Every target starts this.

    Started again after an interruption, it goes on at the first step that is not done. Where TF_CONFIG names several
    workers, each of them is started with the same command; the first does all but the training alone.
    """

    job: str
    """The job description: a YAML file (local or gs://), or the description itself as a line of JSON."""
    if_changed: bool = False
    """End at once where neither data nor recipe has changed since the last retraining that came to a decision."""
    policy: Literal["better", "not_worse"] | None = None
    """Instead of the job description's gate.policy."""


@dataclass(frozen=True)
class JobSomewhere:
    """What commands take that speak to a target."""

    job: str
    """The job description: a YAML file (local or gs://)."""
    target: Target | None = None
    """Where; left out: the job description's target."""


@dataclass(frozen=True)
class SubmitConfig(JobSomewhere):
    """Start a retraining somewhere."""

    detach: bool = False
    """On this machine: return when it has begun, and leave it running; `logs` shows what it says."""
    if_changed: bool = False
    """It ends at once where neither data nor recipe has changed since the last retraining that came to a decision."""
    policy: Literal["better", "not_worse"] | None = None
    """Instead of the job description's gate.policy."""
    dry_run: bool = False
    """Print what would be sent or run, and do nothing."""


@dataclass(frozen=True)
class StatusConfig(JobSomewhere):
    """Show how far a retraining is, or how the last one ended."""


@dataclass(frozen=True)
class LogsConfig(JobSomewhere):
    """Show what a retraining says."""

    follow: bool = False
    """Go on showing what is added, until the retraining ends."""


@dataclass(frozen=True)
class CancelConfig(JobSomewhere):
    """Stop a retraining; started again, it goes on where it was."""


@dataclass(frozen=True)
class ScheduleCommandConfig(JobSomewhere):
    """Have a retraining started regularly, with --if-changed."""

    cron: str | None = None
    """Instead of the job description's schedule.cron."""
    time_zone: str | None = None
    """Instead of the job description's schedule.time_zone."""
    dry_run: bool = False
    """Print what would be installed, and do nothing."""


@dataclass(frozen=True)
class UnscheduleConfig(JobSomewhere):
    """Have a retraining no longer started regularly."""


@dataclass(frozen=True)
class PromoteConfig:
    """Send the model of a finished run through the gate, and serve it if it passes."""

    job: str
    """The job description."""
    run: str
    """The run folder; the dataset that it was trained on must be the job's."""
    policy: Literal["better", "not_worse"] | None = None
    """Instead of the job description's gate.policy."""


@dataclass(frozen=True)
class RollbackConfig:
    """Serve an earlier version again."""

    job: str
    """The job description."""
    to: int | None = None
    """The version; left out: the one that the version in use replaced."""


@dataclass(frozen=True)
class HistoryConfig:
    """Show which versions were served since when and why, and which models were refused."""

    job: str
    """The job description."""
