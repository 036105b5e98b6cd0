"""The job description: dataset, training, gate and serving, and the target to run on."""

import json
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from common import config_io
from common.dataset.manifest import dataset_folder
from common.errors import InputError, shown
from common.marks import broken_rules
from common.storage import to_path
from deploy.config.patterns import JobName
from deploy.config.settings import (
    DataflowConfig,
    GateConfig,
    KubernetesConfig,
    ScheduleConfig,
    ServingConfig,
    Target,
    VertexConfig,
    normalize_schedule,
)
from preprocess import config as preprocess_configs
from preprocess.config import PreprocessConfig
from trainer.config import recipes
from trainer.config import settings as train_configs
from trainer.config.settings import TrainConfig

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_WHERE_IT_RUNS = ("name", "preprocess", "train", "runs_dir", "gate", "serving")


@dataclass(frozen=True)
class Job:
    """A retraining, as its job description configures it."""

    name: JobName
    """At most 40 lower-case letters, digits and hyphens. Names the job, its cloud resources, and the served model."""
    preprocess: PreprocessConfig
    """Settings of the preprocessing. Here `overwrite` is true by default: next week's data replaces today's."""
    train: TrainConfig
    """Settings of the training. `run_dir` is the job's folder; each retraining makes its run folder in it."""
    runs_dir: str
    """The folder (local or gs://) that holds each job's folder."""
    serving: ServingConfig
    gate: GateConfig = field(default_factory=GateConfig)
    target: Target = "local"
    """Where the job runs, unless --target says otherwise."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    vertex: VertexConfig = field(default_factory=VertexConfig)
    kubernetes: KubernetesConfig = field(default_factory=KubernetesConfig)
    dataflow: DataflowConfig = field(default_factory=DataflowConfig)

    @property
    def folder(self) -> "AnyPath":
        """The job's folder: its runs and its state."""
        return to_path(self.runs_dir) / self.name

    @property
    def serving_folder(self) -> "AnyPath":
        """The base path of the model for TensorFlow Serving."""
        return to_path(self.serving.dir) / self.name


def read(location: str) -> Job:
    """Reads and checks a job description: a YAML file, or the description itself as JSON from `to_json`.

    Section `preprocess` takes the settings of `python -m preprocess`, section `train` those of `python -m trainer
    train`, including `config` for a recipe. The other sections take the settings of `deploy.config.settings`. Raises
    `InputError` if the file is missing or a setting is unknown, missing or invalid.
    """
    if location.lstrip().startswith("{"):
        where, sections = "--job", _parse_json(location)
    else:
        path = to_path(location)
        if not path.is_file():
            raise InputError(f"--job {location}: no such file; `python -m deploy init` writes one")
        where, sections = location, config_io.read_yaml(path)
    preprocess = {"overwrite": True} | _section(sections, "preprocess", where)
    train = recipes.complete(_section(sections, "train", where), f"{where}: train")
    if "folder" in train.setdefault("data", {}):
        raise InputError(f"{where}: train.data follows from the preprocess section; leave it out")
    if "run_dir" in train:
        raise InputError(f"{where}: train.run_dir follows from runs_dir; leave it out")
    train |= {"run_dir": "", "data": train["data"] | {"folder": ""}}
    job = config_io.from_plain(Job, sections | {"preprocess": preprocess, "train": train}, where)
    # Refused now, rather than by a later step after the others have done all their work.
    for name, value, rule in broken_rules(job):
        raise InputError(f"{where}: {name} {shown(value) if isinstance(value, str) else value}: must be {rule}")
    preprocess_configs.check(job.preprocess)
    folder = str(dataset_folder(job.preprocess.data_dir, job.preprocess.dataset))
    data = replace(job.train.data, folder=folder)
    job = replace(job, train=train_configs.resolve(replace(job.train, data=data, run_dir=str(job.folder))))
    train_configs.check(job.train)
    return replace(job, schedule=normalize_schedule(job.schedule))


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
    """Returns the sections that the job's run needs, as one line of JSON that `read` accepts."""
    plain = config_io.to_plain(job)
    wanted = {name: plain[name] for name in _WHERE_IT_RUNS}
    del wanted["train"]["run_dir"], wanted["train"]["data"]["folder"]  # `read` derives both from the others
    return json.dumps(wanted, ensure_ascii=False)
