"""What a job description holds besides what is preprocessed and how is trained: gate, serving, places to run, schedule.

And the flags of the commands that take one.
"""

import re
from dataclasses import dataclass
from typing import Literal
from zoneinfo import available_timezones

from preprocess.errors import InputError

Target = Literal["local", "vertex", "kubernetes", "dataflow"]

_CRON_RANGES = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day of the month": (1, 31),
    "month": (1, 12),
    "day of the week": (0, 7),
}


@dataclass(frozen=True)
class GateConfig:
    """When a new model replaces the one in use. Figures are of the gate's half of the test split."""

    policy: Literal["better", "not_worse"] = "better"
    """better: its accuracy is higher, by more than chance. not_worse: it is not lower by `margin` or more."""
    significance_level: float = 0.05
    """How often chance alone may look like a better model, or a worse one like an equal one; above 0, below 0.5."""
    margin: float = 0.005
    """For `not_worse`: the loss of accuracy, 0 to 1, that is not borne."""
    min_accuracy: float = 0.0
    """0 to 1."""
    min_recall: float = 0.0
    """Of each class with at least `min_examples_per_class`, 0 to 1."""
    min_examples_per_class: int = 20
    max_calibration_error: float = 1.0
    """Expected calibration error of the calibrated probabilities, 0 to 1."""
    max_latency_ms: float | None = None
    """The median time of one request with one character, on the machine that decides."""
    max_model_mb: float | None = None
    """The size of the SavedModel."""


@dataclass(frozen=True)
class ServingConfig:
    """Where the model in use lies, for TensorFlow Serving."""

    dir: str
    """The serving folder (local or gs://); a model becomes <dir>/<job's name>/<version>/."""
    keep_versions: int = 5
    """The version in use, and the newest others, up to so many; older ones are removed."""


@dataclass(frozen=True)
class ScheduleConfig:
    """When a job runs by itself."""

    cron: str = "0 3 * * 1"
    """Minute, hour, day of the month, month, day of the week."""
    time_zone: str = "Etc/UTC"
    """An IANA name, as Europe/Zurich."""


@dataclass(frozen=True)
class VertexConfig:
    """Vertex AI."""


@dataclass(frozen=True)
class KubernetesConfig:
    """A Kubernetes cluster."""


@dataclass(frozen=True)
class DataflowConfig:
    """Dataflow, for the preprocessing alone."""


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
class SubmitConfig:
    """Start a retraining somewhere."""

    job: str
    """The job description: a YAML file (local or gs://)."""
    target: Target | None = None
    """Where; left out: the job description's target."""
    detach: bool = False
    """On this machine: return when it has begun, and leave it running; `logs` shows what it says."""
    if_changed: bool = False
    """It ends at once where neither data nor recipe has changed since the last retraining that came to a decision."""
    policy: Literal["better", "not_worse"] | None = None
    """Instead of the job description's gate.policy."""
    dry_run: bool = False
    """Print what would be sent or run, and do nothing."""


@dataclass(frozen=True)
class StatusConfig:
    """Show how far a retraining is, or how the last one ended."""

    job: str
    """The job description."""
    target: Target | None = None
    """Where it runs; left out: the job description's target."""


@dataclass(frozen=True)
class LogsConfig:
    """Show what a retraining says."""

    job: str
    """The job description."""
    target: Target | None = None
    """Where it runs; left out: the job description's target."""
    follow: bool = False
    """Go on showing what is added, until the retraining ends."""


@dataclass(frozen=True)
class CancelConfig:
    """Stop a retraining; started again, it goes on where it was."""

    job: str
    """The job description."""
    target: Target | None = None
    """Where it runs; left out: the job description's target."""


@dataclass(frozen=True)
class ScheduleCommandConfig:
    """Have a retraining started regularly, with --if-changed."""

    job: str
    """The job description."""
    target: Target | None = None
    """Where; left out: the job description's target."""
    cron: str | None = None
    """Instead of the job description's schedule.cron."""
    time_zone: str | None = None
    """Instead of the job description's schedule.time_zone."""
    dry_run: bool = False
    """Print what would be installed, and do nothing."""


@dataclass(frozen=True)
class UnscheduleConfig:
    """Have a retraining no longer started regularly."""

    job: str
    """The job description."""
    target: Target | None = None
    """Where; left out: the job description's target."""


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


def check_gate(config: GateConfig) -> None:
    """Raises `InputError`, naming the setting, for what can be refused before the work."""
    if not 0 < config.significance_level < 0.5:
        raise InputError(f"gate.significance_level {config.significance_level}: must be above 0 and below 0.5")
    if not 0 < config.margin < 1:
        raise InputError(f"gate.margin {config.margin}: must be above 0 and below 1")
    for name in ("min_accuracy", "min_recall", "max_calibration_error"):
        if not 0 <= (value := getattr(config, name)) <= 1:
            raise InputError(f"gate.{name} {value}: must be from 0 to 1")
    for name in ("min_examples_per_class", "max_latency_ms", "max_model_mb"):
        if (value := getattr(config, name)) is not None and not value > 0:
            raise InputError(f"gate.{name} {value}: must be above 0")


def check_schedule(config: ScheduleConfig) -> None:
    """Raises `InputError` for what is no time of five fields, or no time zone."""
    fields = config.cron.split()
    if len(fields) != len(_CRON_RANGES):
        raise InputError(f"schedule.cron {config.cron!r}: must have five fields: {', '.join(_CRON_RANGES)}")
    for (name, (low, high)), field in zip(_CRON_RANGES.items(), fields, strict=True):
        for part in field.split(","):
            found = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?", part)
            bounds = [int(bound) for bound in found.groups()[:2] if bound] if found else []
            if not found or bounds != sorted(bounds) or not all(low <= bound <= high for bound in bounds):
                raise InputError(
                    f"schedule.cron {config.cron!r}: {part!r} is no {name}, which is *, a number from {low} to {high}, "
                    "or as in 1-5, */2 or 1,3"
                )
    known = available_timezones()  # none on a machine without this data, where only what needs it can fail
    if known and config.time_zone not in known:
        raise InputError(f"schedule.time_zone {config.time_zone!r}: is no IANA time zone, such as Europe/Zurich")
