"""The job description: what to make a dataset from, how to train on it, when to serve the model, and where to run."""

import json
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from common import config_io
from common.dataset.manifest import dataset_folder
from common.errors import InputError
from common.storage import to_path
from deploy.config import patterns
from deploy.config.patterns import JobName
from deploy.config.settings import (
    DataflowConfig,
    GateConfig,
    KubernetesConfig,
    ScheduleConfig,
    ServingConfig,
    Target,
    VertexConfig,
    check_gate,
    normalize_schedule,
)
from preprocess import config as preprocess_configs
from preprocess.config import PreprocessConfig
from trainer import config as train_configs
from trainer.config import TrainConfig

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_FOLLOWS = {"data": "the preprocess section", "run_dir": "runs_dir"}
"""Settings of the training that a job description leaves out."""
_WHERE_IT_RUNS = ("name", "preprocess", "train", "runs_dir", "gate", "serving")


@dataclass(frozen=True)
class Job:
    """A retraining that can be repeated."""

    name: JobName
    """Lower-case letters, digits and hyphens, at most 40: names the job, its cloud resources, and the model served."""
    preprocess: PreprocessConfig
    """Here `overwrite` is true, unless the description says otherwise: next week's data takes the place of today's."""
    train: TrainConfig
    """`run_dir` is the folder of all runs of this job; each retraining makes its run folder in it."""
    runs_dir: str
    serving: ServingConfig
    gate: GateConfig = field(default_factory=GateConfig)
    target: Target = "local"
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    vertex: VertexConfig = field(default_factory=VertexConfig)
    kubernetes: KubernetesConfig = field(default_factory=KubernetesConfig)
    dataflow: DataflowConfig = field(default_factory=DataflowConfig)

    @property
    def folder(self) -> "AnyPath":
        """Where this job keeps its runs and its state."""
        return to_path(self.runs_dir) / self.name

    @property
    def serving_folder(self) -> "AnyPath":
        """TensorFlow Serving's base path of the model."""
        return to_path(self.serving.dir) / self.name


def read(location: str) -> Job:
    """Reads and checks a job description: a YAML file, or the description itself as the JSON that `to_json` gives.

    Section `preprocess` takes what the flags of `python -m preprocess` do, `train` those of `python -m trainer train`,
    `config` for a recipe included; others the settings of `deploy.config.settings`. Raises `InputError` for a file that
    is missing or holds anything else.
    """
    if location.lstrip().startswith("{"):
        where, sections = "--job", _parse_json(location)
    else:
        path = to_path(location)
        if not path.is_file():
            raise InputError(f"--job {location}: no such file; `python -m deploy init` writes one")
        where, sections = location, config_io.read_yaml(path)
    settings = _section(sections, "train", where)
    for name, source in _FOLLOWS.items():
        if name in settings:
            raise InputError(f"{where}: train.{name} follows from {source}; leave it out")
    settings = train_configs.complete(settings, f"{where}: train")
    preprocess = {"overwrite": True} | _section(sections, "preprocess", where)
    follow = dict.fromkeys(_FOLLOWS, "")
    job = config_io.from_plain(Job, sections | {"preprocess": preprocess, "train": settings | follow}, where)
    # Refused now, rather than by a later step after the others have done all their work.
    patterns.check(job, where)
    preprocess_configs.check(job.preprocess)
    data = str(dataset_folder(job.preprocess.data_dir, job.preprocess.dataset))
    train = train_configs.resolve(replace(job.train, data=data, run_dir=str(job.folder)))
    job = replace(job, train=train, schedule=normalize_schedule(job.schedule))
    train_configs.check(job.train)
    check_gate(job.gate)
    if job.serving.keep_versions < 1:
        raise InputError(f"{where}: serving.keep_versions {job.serving.keep_versions}: must be at least 1")
    return job


def _parse_json(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise InputError(f"--job: is not the JSON of a job description ({error})") from None


def _section(sections: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    if name not in sections:
        known = ", ".join(part.name for part in fields(Job))
        needed = ", ".join(
            part.name for part in fields(Job) if part.default is MISSING and part.default_factory is MISSING
        )
        raise InputError(f"{where}: {name} is missing; needed: {needed}; known: {known}")
    if not isinstance(sections[name], dict):
        raise InputError(f"{where}: {name}: expected a mapping of names to values")
    return dict(sections[name])


def to_json(job: Job) -> str:
    """What of a job is needed where it runs, as one line that `read` takes."""
    plain = config_io.to_plain(job)
    wanted = {name: plain[name] for name in _WHERE_IT_RUNS}
    wanted["train"] = {name: value for name, value in plain["train"].items() if name not in _FOLLOWS}
    return json.dumps(wanted, ensure_ascii=False)
