"""The configuration of a training run: typed, frozen, and saved beside the run that it describes."""

import hashlib
import json
from dataclasses import dataclass, field, is_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml

from common import config_io, flags
from common.errors import InputError
from common.marks import (
    GROUP,
    OPERATIONAL,
    RARE,
    Count,
    CountFrom0,
    Formerly,
    FormerValue,
    Positive,
    Seed,
    settings_of,
    values,
)
from common.storage import to_path
from trainer.data import augmentation_steps
from trainer.data.settings import AugmentationConfig, DataConfig
from trainer.distributed.settings import ExecutionConfig
from trainer.models.settings import (
    ArticleLinesConfig,
    Cnn5Config,
    CnnConfig,
    DenseConfig,
    LinesConfig,
    ResnetSmallConfig,
)
from trainer.training.settings import CheckpointConfig, LossConfig, OptimizerConfig, ScheduleConfig

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_DEFAULT_EPOCHS = 10
_SMOKE_BATCHES = 2
LENGTHS = ("epochs", "steps", "max_minutes")


@dataclass(frozen=True)
class TrainConfig:
    """Train a network on a dataset folder; evaluate, export and check it; leave all of that in a run folder.

    The same command resumes an interrupted run. With several workers in TF_CONFIG, start each with the same command.
    """

    data: Annotated[DataConfig, GROUP]
    run_dir: Annotated[str, OPERATIONAL]
    """The run folder to write (local or gs://). One that holds this very run is resumed, or found done; one that holds
    another is refused."""
    model: Annotated[
        Literal["dense", "cnn", "cnn5", "resnet_small", "article_lines", "lines"], FormerValue("strong", "resnet_small")
    ] = "cnn"
    """The network; the last two read lines, the others recognise characters."""
    initialize_from: str | None = None
    """A run folder (local or gs://): begin with its weights. Characters that both runs know keep their rows in the last
    layers, new ones are drawn. Examples that these weights have seen count in no figure."""

    epochs: Count | None = None
    """Passes over the training split; 10 if no other length is given."""
    steps: Count | None = None
    """Train for this many steps instead."""
    max_minutes: Positive | None = None
    """Train for this long instead; such a run cannot be repeated exactly."""
    early_stopping_epochs: Count | None = None
    """Stop when validation accuracy has not risen for this many epochs."""
    select: Literal["last", "best"] = "last"
    """The epoch whose weights are evaluated and exported: the last, or that of the highest validation accuracy."""
    global_batch_size: Count = 1024
    """Examples in each step, over all devices of all machines."""
    seed: Seed = 0
    """Decides initial weights, the order of examples, augmentation and dropout."""
    smoke: bool = False
    """Try everything out: two steps, and two batches of each split."""
    verify_export: Annotated[bool, OPERATIONAL, RARE] = True
    """Before the run counts as done, a fresh process loads both exports and must reproduce the test figures."""
    calibration_pictures: Annotated[CountFrom0, RARE] = 512
    """Validation examples, at most, that are rendered as photographs to calibrate what the model says of pictures, and
    test examples to measure it; 512 of each take a minute, 2048 allow stricter promises. 0: as for pixels."""

    optimizer: Annotated[OptimizerConfig, GROUP] = field(default_factory=OptimizerConfig)
    schedule: Annotated[ScheduleConfig, GROUP] = field(default_factory=ScheduleConfig)
    loss: Annotated[LossConfig, GROUP] = field(default_factory=LossConfig)
    augmentation: Annotated[AugmentationConfig, GROUP] = field(default_factory=AugmentationConfig)
    execution: Annotated[ExecutionConfig, GROUP] = field(default_factory=ExecutionConfig)
    checkpoint: Annotated[CheckpointConfig, GROUP] = field(default_factory=CheckpointConfig)

    dense: Annotated[DenseConfig, RARE] = field(default_factory=DenseConfig)
    cnn: Annotated[CnnConfig, RARE] = field(default_factory=CnnConfig)
    cnn5: Annotated[Cnn5Config, RARE] = field(default_factory=Cnn5Config)
    resnet_small: Annotated[ResnetSmallConfig, RARE, Formerly("strong")] = field(default_factory=ResnetSmallConfig)
    article_lines: Annotated[ArticleLinesConfig, RARE] = field(default_factory=ArticleLinesConfig)
    lines: Annotated[LinesConfig, RARE] = field(default_factory=LinesConfig)


def resolve(config: TrainConfig) -> TrainConfig:
    """`config` with its length spelt out."""
    is_given = any(getattr(config, name) is not None for name in LENGTHS)
    return config if is_given else replace(config, epochs=_DEFAULT_EPOCHS)


def check(config: TrainConfig) -> None:
    """Raises `InputError`, naming the flag, for what can be refused before the data is looked at."""
    for location in (config.data.folder, config.run_dir, config.initialize_from):
        if location is not None:
            to_path(location)  # refuses what is neither local nor in a bucket
    lengths = [f"--{name.replace('_', '-')}" for name in LENGTHS if getattr(config, name) is not None]
    if len(lengths) > 1:
        raise InputError(f"{' and '.join(lengths)}: give one length only")
    augmentation_steps.parse(config.augmentation.steps)
    flags.check(config)


def max_examples(config: TrainConfig) -> int | None:
    """How many examples of each split are used; None for all."""
    return _SMOKE_BATCHES * config.global_batch_size if config.smoke else None


def _identity(config: TrainConfig) -> dict[str, Any]:
    """The settings that decide the result, by name; not where data and run lie, or how the work is done."""
    return {name: value for name, value, setting in values(config) if OPERATIONAL not in setting.marks}


def differences(first: TrainConfig, second: TrainConfig) -> list[str]:
    """The settings by which two configurations ask for different trainings, wherever data and run lie."""
    others = _identity(second)
    return [name for name, value in _identity(first).items() if value != others[name]]


def recipe_of(config: TrainConfig) -> dict[str, Any]:
    """The settings that are not the defaults, in their groups, as a recipe has them; not where data and run lie."""
    return _not_default(config, TrainConfig(DataConfig(""), ""))


def _not_default(config: Any, default: Any) -> dict[str, Any]:
    recipe: dict[str, Any] = {}
    for setting in settings_of(type(config)):
        value, usual = getattr(config, setting.name), getattr(default, setting.name)
        if is_dataclass(value):
            value, usual = _not_default(value, usual), {}
        if value != usual and OPERATIONAL not in setting.marks:
            recipe[setting.name] = list(value) if isinstance(value, tuple) else value
    return recipe


def fingerprint(config: TrainConfig) -> str:
    """64 hexadecimal digits: equal for two configurations that ask for the same training (see `differences`)."""
    return hashlib.sha256(json.dumps(_identity(config), sort_keys=True).encode()).hexdigest()


def to_yaml(config: TrainConfig) -> bytes:
    return yaml.safe_dump(config_io.to_plain(config), sort_keys=False, allow_unicode=True).encode()


def read(path: "AnyPath") -> TrainConfig:
    """A configuration that `to_yaml` wrote, in this version or an earlier one."""
    return config_io.from_plain(TrainConfig, config_io.read_yaml(path), str(path))
