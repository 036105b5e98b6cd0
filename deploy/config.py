"""What a job description holds besides what is preprocessed and how is trained: gate, serving, places to run, schedule."""

from dataclasses import dataclass
from typing import Literal

from preprocess.storage import CACHE_DIR


@dataclass(frozen=True)
class GateConfig:
    """When a new model replaces the one in use. Figures are of the gate's half of the test split."""

    policy: Literal["better", "not_worse"] = "better"
    """better: its accuracy is higher, by more than chance. not_worse: it is not lower by `margin` or more."""
    significance_level: float = 0.05
    """How often chance alone may look like a better model, or a worse one like an equal one; 0 to 1."""
    margin: float = 0.005
    """For `not_worse`: the loss of accuracy, 0 to 1, that is not borne."""
    min_accuracy: float = 0.0
    min_recall: float = 0.0
    """Of each class with at least `min_examples_per_class`."""
    min_examples_per_class: int = 20
    max_calibration_error: float = 1.0
    """Expected calibration error of the calibrated probabilities, 0 to 1."""
    max_latency_ms: float | None = None
    """The median time of one request with one character, on the machine that decides."""
    max_model_mb: float | None = None


@dataclass(frozen=True)
class ServingConfig:
    """Where the model in use lies, for TensorFlow Serving."""

    dir: str
    """The serving folder (local or gs://); a model becomes <dir>/<job's name>/<version>/."""
    keep_versions: int = 5


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
