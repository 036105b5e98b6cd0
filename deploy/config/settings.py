"""Settings of a job besides those of preprocessing and training: gate, serving, places to run, schedule."""

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
    """When a new model replaces the one in use. Figures are of the gate's half of the test split."""

    policy: Literal["better", "not_worse"] = "better"
    """better: its accuracy is higher, by more than chance. not_worse: it is not lower by `margin` or more."""
    significance_level: Annotated[float, Rule("above 0 and below 0.5", lambda value: 0 < value < 0.5)] = 0.05
    """How often chance alone may look like a better model, or a worse one like an equal one; above 0, below 0.5."""
    margin: Annotated[float, Rule("above 0 and below 1", lambda value: 0 < value < 1)] = 0.005
    """For `not_worse`: the loss of accuracy, 0 to 1, that is not borne."""
    min_accuracy: Fraction = 0.0
    """0 to 1."""
    min_recall: Fraction = 0.0
    """Of each class with at least `min_examples_per_class`, 0 to 1."""
    min_examples_per_class: Count = 20
    max_calibration_error: Fraction = 1.0
    """Expected calibration error of the calibrated probabilities, 0 to 1."""
    max_latency_ms: Positive | None = None
    """The median time of one request with one character, on the machine that decides."""
    max_model_mb: Positive | None = None
    """The size of the SavedModel."""


@dataclass(frozen=True)
class ServingConfig:
    """Where the model in use lies, for TensorFlow Serving."""

    dir: str
    """The serving folder (local or gs://); a model becomes <dir>/<job's name>/<version>/."""
    keep_versions: Count = 5
    """The version in use, and the newest others, up to so many; older ones are removed."""


@dataclass(frozen=True)
class ScheduleConfig:
    """When a job runs by itself."""

    cron: str = "0 3 * * 1"
    """Minute, hour, day of the month, month, day of the week, as `0 3 * * MON`; or @daily, @weekly, @monthly …"""
    time_zone: str = "Etc/UTC"
    """An IANA name, as Europe/Zurich."""


@dataclass(frozen=True)
class VertexConfig:
    """Vertex AI: a CustomJob on one machine with all its GPUs, or on several that train together."""

    project: Project | None = None
    """The id of the Google Cloud project; needed, as is `region`."""
    region: Region | None = None
    """Of the machines and of the schedule, as europe-west4."""
    image: Image | None = None
    """What the machines run: an image of deploy/Dockerfile, with its tag or digest."""
    executor_image: Image | None = None
    """Instead of `image`: one of Vertex' own images, of Python 3.11 or later, in which this checkout is installed."""
    package_dir: BucketFolder | None = None
    """For `executor_image`: the gs:// folder that this checkout is uploaded to."""
    num_machines: Count = 1
    machine_type: MachineType = "n2-standard-8"
    accelerator_type: AcceleratorType | None = None
    """As NVIDIA_L4; left out: no GPUs."""
    accelerator_count: Count = 1
    """GPUs of each machine, where there are any."""
    disk_gb: Annotated[int, at_least(100)] = 100
    """Of each machine: 100 at least."""
    spot: bool = False
    """Machines that cost less and may be taken away at any time; the job goes on when there are new ones."""
    timeout_hours: Annotated[float, at_least(0.1)] = 24.0
    service_account: GoogleAccount | None = None
    """Whose rights the job has; left out: those of Vertex' own account."""
    tensorboard: TensorBoard | None = None
    """projects/…/locations/…/tensorboards/… that shows the curves meanwhile; needs `service_account`."""
    scheduler_account: GoogleAccount | None = None
    """Whose rights Cloud Scheduler starts the job with; only a schedule needs it."""


@dataclass(frozen=True)
class KubernetesConfig:
    """A Kubernetes cluster: a Job of one pod, or of several that train together."""

    image: Image | None = None
    """What the pods run: an image of deploy/Dockerfile, with its tag or digest; needed."""
    namespace: Namespace = "default"
    context: str | None = None
    """Of the kubeconfig; left out: its current one."""
    num_machines: Count = 1
    """Pods, each on a node of its own if there are GPUs."""
    cpus: Annotated[float, at_least(0.1)] = 4.0
    """Of each pod, as are those that follow."""
    memory_gb: Annotated[float, at_least(1)] = 16.0
    gpus: CountFrom0 = 0
    scratch_gb: Annotated[float, at_least(1)] = 60.0
    """Disk for what comes out of buckets; `cache_limit_gb` should be smaller."""
    node_labels: tuple[NodeLabel, ...] = ()
    """What a node must have, as cloud.google.com/gke-accelerator=nvidia-l4."""
    spot: bool = False
    """GKE's nodes that cost less and may be taken away at any time; the job goes on when there are new ones."""
    timeout_hours: Annotated[float, at_least(0.1)] = 24.0
    max_retries: CountFrom0 = 6
    """After failures whose cause is unknown. A lost peer or a node taken away does not count; bad input is final."""
    service_account: ObjectName | None = None
    """The cluster's, with rights on the buckets by Workload Identity."""
    credentials_secret: ObjectName | None = None
    """Instead: a Secret whose item key.json holds a key of a Google service account."""
    image_pull_secret: ObjectName | None = None
    """The Secret that opens the registry of `image`."""


@dataclass(frozen=True)
class DataflowConfig:
    """Dataflow: the preprocessing alone, by as many machines as it takes."""

    project: Project | None = None
    """The id of the Google Cloud project; needed, as are `region` and `temp_dir`."""
    region: Region | None = None
    """As europe-west4; the buckets should be there, too."""
    temp_dir: BucketFolder | None = None
    """A gs:// folder for what Dataflow stages."""
    image: Image | None = None
    """An image of deploy/Dockerfile; left out: Beam's own, in which this checkout is installed on each machine."""
    machine_type: MachineType = "n2-standard-4"
    max_machines: Count = 10
    service_account: GoogleAccount | None = None
    """Whose rights the machines have; left out: those of Compute Engine's own account."""
    subnetwork: Subnetwork | None = None
    """As regions/REGION/subnetworks/NAME; the machines then have no public addresses."""


def normalize_schedule(config: ScheduleConfig) -> ScheduleConfig:
    """The same, with its times as every target reads them. Raises `InputError` for no time, or no time zone."""
    known = available_timezones() - {
        "localtime"
    }  # none on a machine without this data, where only what needs it can fail
    if not _TIME_ZONE.fullmatch(config.time_zone) or (known and config.time_zone not in known):
        raise InputError(f"schedule.time_zone {config.time_zone!r}: is no IANA time zone, such as Europe/Zurich")
    return replace(config, cron=cron.normalize(config.cron))
