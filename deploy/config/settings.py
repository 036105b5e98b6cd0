"""Settings of a job besides preprocessing and training: gate, serving, schedule, targets."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal
from zoneinfo import available_timezones

from common.errors import InputError
from common.marks import Count, CountFrom0, Fraction, Positive, Rule, at_least
from deploy.config import cron
from deploy.config.patterns import (
    AcceleratorType,
    BucketFolder,
    GoogleAccount,
    Image,
    MachineType,
    Namespace,
    NodeLabel,
    ObjectName,
    Project,
    Region,
    Subnetwork,
    TensorBoard,
)

Target = Literal["local", "vertex", "kubernetes", "dataflow"]

_TIME_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


@dataclass(frozen=True)
class GateConfig:
    """When a new model replaces the one in use. Figures are measured on the gate's half of the test split."""

    policy: Literal["better", "not_worse"] = "better"
    """better: promote if accuracy is higher by more than chance. not_worse: if it is not lower by `margin` or more."""
    significance_level: Annotated[float, Rule("above 0 and below 0.5", lambda value: 0 < value < 0.5)] = 0.05
    """Accepted probability of a promotion by mere chance: of an equal model as better, or of a worse one as not worse;
    above 0, below 0.5."""
    margin: Annotated[float, Rule("above 0 and below 1", lambda value: 0 < value < 1)] = 0.005
    """For `not_worse`: the loss of accuracy, 0 to 1, at which a model is refused."""
    min_accuracy: Fraction = 0.0
    """The lowest accuracy that is promoted, 0 to 1; of lines, 1 minus the character error rate; 0 for no threshold."""
    min_recall: Fraction = 0.0
    """The lowest recall of every class that has `min_examples_per_class`, 0 to 1; 0 for no threshold. Not for lines."""
    min_examples_per_class: Count = 20
    """Test examples that a class needs before `min_recall` applies to it."""
    max_calibration_error: Fraction = 1.0
    """The highest expected calibration error of the calibrated probabilities, 0 to 1; 1 for no threshold."""
    min_coverage: Fraction | None = None
    """The lowest share of readings, 0 to 1, that the model accepts where it promises 1 % error; by default any."""
    max_latency_ms: Positive | None = None
    """The highest median latency of a request with one picture, measured where the gate runs; by default any."""
    max_model_mb: Positive | None = None
    """The highest size of the SavedModel, in MB; by default any."""


@dataclass(frozen=True)
class ServingConfig:
    """The models that TensorFlow Serving serves."""

    dir: str
    """The serving folder (local or gs://); a version is <dir>/<job's name>/<version>/."""
    keep_versions: Count = 5
    """Versions to keep for a rollback, including the one in use; older ones are removed."""


@dataclass(frozen=True)
class ScheduleConfig:
    """When the job is started, once `python -m deploy schedule` has been run."""

    cron: str = "0 3 * * 1"
    """Minute, hour, day of the month, month and day of the week, such as `0 3 * * MON`; or @daily, @weekly …"""
    time_zone: str = "Etc/UTC"
    """The IANA time zone of `cron`, such as Europe/Zurich."""


@dataclass(frozen=True)
class VertexConfig:
    """Vertex AI: a CustomJob on one machine with all its GPUs, or on several that train together."""

    project: Project | None = None
    """The Google Cloud project id; required, like `region`."""
    region: Region | None = None
    """The region of machines and schedule, such as europe-west4."""
    image: Image | None = None
    """The container image, built from deploy/Dockerfile, with its tag or digest."""
    executor_image: Image | None = None
    """Instead of `image`: one of Vertex AI's own images, of Python 3.11 or later; this checkout is installed in it."""
    package_dir: BucketFolder | None = None
    """The gs:// folder that this checkout is uploaded to; required with `executor_image`."""
    num_machines: Count = 1
    """Number of machines; several train together."""
    machine_type: MachineType = "n2-standard-8"
    """The machine type; it must support `accelerator_type`, as g2-standard-12 does NVIDIA_L4."""
    accelerator_type: AcceleratorType | None = None
    """The GPU type, such as NVIDIA_L4; by default no GPUs."""
    accelerator_count: Count = 1
    """GPUs of each machine; only with `accelerator_type`."""
    disk_gb: Annotated[int, at_least(100)] = 100
    """Disk size of each machine, in GB; at least 100."""
    spot: bool = False
    """Use spot machines: cheaper, but may be taken away at any time; the job resumes on new ones."""
    timeout_hours: Annotated[float, at_least(0.1)] = 24.0
    """Hours after which Vertex AI stops the job."""
    service_account: GoogleAccount | None = None
    """The service account that the job runs as; by default Vertex AI's own."""
    tensorboard: TensorBoard | None = None
    """A TensorBoard, projects/…/locations/…/tensorboards/…, for live training curves; needs `service_account`."""
    scheduler_account: GoogleAccount | None = None
    """The service account that Cloud Scheduler uses to start the job; required for a schedule."""


@dataclass(frozen=True)
class KubernetesConfig:
    """A Kubernetes cluster: a Job of one pod, or of several that train together."""

    image: Image | None = None
    """The container image, built from deploy/Dockerfile, with its tag or digest; required."""
    namespace: Namespace = "default"
    """The namespace of the job's objects."""
    context: str | None = None
    """The kubeconfig context; by default the current one."""
    num_machines: Count = 1
    """Number of pods; several train together."""
    cpus: Annotated[float, at_least(0.1)] = 4.0
    """CPU cores of each pod."""
    memory_gb: Annotated[float, at_least(1)] = 16.0
    """Memory of each pod, in GB."""
    gpus: CountFrom0 = 0
    """GPUs of each pod."""
    scratch_gb: Annotated[float, at_least(1)] = 60.0
    """Disk of each pod for local copies from buckets, in GB; more than the training's `cache_limit_gb`."""
    node_labels: tuple[NodeLabel, ...] = ()
    """Labels that a node must have, such as cloud.google.com/gke-accelerator=nvidia-l4."""
    spot: bool = False
    """Use GKE's spot nodes: cheaper, but may be taken away at any time; the job resumes on new ones."""
    timeout_hours: Annotated[float, at_least(0.1)] = 24.0
    """Hours after which Kubernetes stops the job."""
    max_retries: CountFrom0 = 6
    """Retries after failures of unknown cause. Lost peers and nodes do not count; bad input is never retried."""
    service_account: ObjectName | None = None
    """The pods' Kubernetes service account, with access to the buckets by Workload Identity."""
    credentials_secret: ObjectName | None = None
    """Instead of Workload Identity: a Secret whose item key.json is a Google service account's key."""
    image_pull_secret: ObjectName | None = None
    """The Secret with credentials for the registry of `image`."""


@dataclass(frozen=True)
class DataflowConfig:
    """Dataflow: preprocessing only, on up to `max_machines` machines."""

    project: Project | None = None
    """The Google Cloud project id; required, like `region` and `temp_dir`."""
    region: Region | None = None
    """The region, such as europe-west4; the buckets should be in it, too."""
    temp_dir: BucketFolder | None = None
    """The gs:// folder for Dataflow's staged and temporary files."""
    image: Image | None = None
    """The container image, built from deploy/Dockerfile; by default Beam's own, in which each machine installs this
    checkout."""
    machine_type: MachineType = "n2-standard-4"
    """The machine type."""
    max_machines: Count = 10
    """The most machines that Dataflow may use."""
    service_account: GoogleAccount | None = None
    """The service account that the machines run as; by default Compute Engine's own."""
    subnetwork: Subnetwork | None = None
    """The subnetwork, regions/REGION/subnetworks/NAME; the machines then have no public addresses."""


def normalize_schedule(config: ScheduleConfig) -> ScheduleConfig:
    """Returns the schedule with `cron` normalised. Raises `InputError` for a bad expression or time zone."""
    # Empty on a machine without time zone data; then a wrong name fails only where the data is needed.
    known = available_timezones() - {"localtime"}
    if not _TIME_ZONE.fullmatch(config.time_zone) or (known and config.time_zone not in known):
        raise InputError(
            f"schedule.time_zone {config.time_zone!r}: is not an IANA time zone; give one such as Europe/Zurich"
        )
    return replace(config, cron=cron.normalize(config.cron))
