"""The configuration of a training run: typed, frozen, and saved beside the run that it describes."""

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
import yaml
from tyro.conf import Positional

from common import config_io
from common.errors import InputError
from common.storage import CACHE_DIR, to_path
from trainer.data import augmentation_steps

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_DEFAULT_EPOCHS = 10
_SMOKE_BATCHES = 2
_LENGTHS = ("epochs", "steps", "max_minutes")
_MODEL_FOR_VERTEX, _EVENTS_FOR_VERTEX = "AIP_MODEL_DIR", "AIP_TENSORBOARD_LOG_DIR"
_PARTS_FOR_VERTEX = {_MODEL_FOR_VERTEX: "model", "AIP_CHECKPOINT_DIR": "checkpoints", _EVENTS_FOR_VERTEX: "logs"}
_NOT_THE_TRAINING = (
    "data",
    "run_dir",
    "checkpoint_minutes",
    "checkpoint_steps",
    "cluster_timeout",
    "profile",
    "cache_dir",
    "cache_limit_gb",
    "verify_export",
)


@dataclass(frozen=True)
class DenseConfig:
    """The article's dense net."""

    hidden_units: tuple[int, ...] = (50, 50)
    """Units of each hidden layer."""


@dataclass(frozen=True)
class CnnConfig:
    """The article's convolutional net."""

    first_filters: int = 32
    """Channels of the first convolution."""
    first_kernel: int = 5
    """Its kernel's height and width in pixels."""
    first_stride: int = 2
    """Its step in pixels."""
    second_filters: int = 64
    """Channels of the second convolution."""
    second_kernel: int = 3
    """Its kernel's height and width."""
    pool: int = 2
    """Height and width over which the maximum is taken."""
    pool_dropout: float = 0.25
    """The share of values dropped after pooling, 0 to 1."""
    hidden_units: int = 128
    """Units of the dense layer."""
    hidden_dropout: float = 0.25
    """The share of values dropped after the dense layer, 0 to 1."""


@dataclass(frozen=True)
class Cnn5Config:
    """The article's five-layer net; kernels of 5, 5, 3, 3, 3 pixels, pools of 2×2, 2×2, 2×1, 2×1, 2×1."""

    filters: tuple[int, int, int, int, int] = (32, 64, 128, 128, 256)
    """Channels of each convolution."""


@dataclass(frozen=True)
class StrongConfig:
    """A small residual net, made for accuracy at little cost."""

    filters: tuple[int, int, int] = (24, 48, 96)
    """Channels at 14×14, 7×7 and 4×4 pixels."""
    blocks: int = 1
    """Residual blocks at each of these sizes."""
    dropout: float = 0.2
    """The share of features dropped before the last layer, 0 to 1."""


@dataclass(frozen=True)
class TrainConfig:
    """Train a network on a dataset folder; evaluate, export and check it; leave all of that in a run folder.

    Started again with the same settings, an interrupted run goes on where it was. Where TF_CONFIG names several
    workers, each of them is started with the same command, and they train together.
    """

    data: str
    """The dataset folder, as `python -m preprocess` printed it."""
    run_dir: str
    """The run folder to make. One that holds this very run is resumed, or found done; one of another run is refused."""
    model: Literal["dense", "cnn", "cnn5", "strong"] = "cnn"
    """The network."""

    epochs: int | None = None
    """How often each training example is seen; 10, where no other length is given."""
    steps: int | None = None
    """Train for so many steps instead."""
    max_minutes: float | None = None
    """Train for so long instead; such a run cannot be repeated exactly."""
    early_stopping_epochs: int | None = None
    """Stop when validation accuracy has not risen for so many epochs."""
    select: Literal["last", "best"] = "last"
    """Which epoch's weights to evaluate and export: the last's, or those of the highest validation accuracy."""

    global_batch_size: int = 1024
    """Examples in each step, over all devices of all machines."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Of Keras; `sgd` has Nesterov's momentum of 0.9."""
    learning_rate: float = 1e-3
    """The highest learning rate of the schedule."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """How it falls: not at all; along a cosine to 0; or the same after rising from a 25th of it."""
    warmup_fraction: float | None = None
    """The share of the training in which the learning rate rises; 0, and 0.3 for one_cycle."""
    weight_decay: float = 0.0
    """Decoupled weight decay, a share of the learning rate; biases and normalisation are spared."""
    clip_norm: float | None = None
    """Longer gradients are cut to this length: of all devices' sum, over all weights."""
    label_smoothing: float = 0.0
    """The share of each label that is spread over all classes, 0 to 1. The loss in metrics is without it."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: in the loss, all classes count the same, however many examples they have. Not in metrics."""
    ema_decay: float = 0.0
    """Above 0, evaluate and export the moving average of weights, which forgets a step at this rate: 0.999, say."""
    augmentation: tuple[str, ...] = ()
    """Steps applied to each training image, in order, such as rotate(10) shift(2) elastic(1.5) erase(6)."""

    seed: int = 0
    """Decides initial weights, the order of examples, augmentation and dropout."""
    shuffle_buffer_examples: int = 100_000
    """Where examples are streamed: how many are shuffled with each other; shards are shuffled besides."""
    in_memory_limit_mb: int = 2000
    """Training examples up to this size are kept in memory, that of each GPU where there is one; more are streamed."""

    num_virtual_devices: int = 1
    """Split the CPU into so many devices, to try out what happens with several GPUs."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the layers' arithmetic while training; auto: bfloat16 on GPUs that have it."""
    jit_compile: bool | None = None
    """Compile with XLA; left out: on a single GPU, if the network has no max pooling."""
    steps_per_execution: int | None = None
    """Steps between two looks at the clock, at signals and at the loss; left out: 32 on GPUs, on a CPU 1 to 32
    by a step's size."""
    cluster_timeout: float = 600.0
    """Seconds to wait for the other workers."""

    checkpoint_minutes: float = 1.0
    """Save a checkpoint so often …"""
    checkpoint_steps: int | None = None
    """… and besides after each so many steps."""
    cache_dir: str = CACHE_DIR
    """Where what lies in a bucket is kept on this machine: datasets, and the run folder while it is written."""
    cache_limit_gb: float = 50.0
    """Of datasets in it; a larger one that is streamed is held in part at a time."""
    profile: bool = False
    """Leave a TensorFlow profile of some steps in the run folder's logs."""
    smoke: bool = False
    """Try everything out on two steps, and two batches of each split."""
    verify_export: bool = True
    """Before the run counts as done, start a fresh process that loads both exports and must reproduce the test figures;
    `python -m trainer check` does the same later."""

    dense: DenseConfig = field(default_factory=DenseConfig)
    cnn: CnnConfig = field(default_factory=CnnConfig)
    cnn5: Cnn5Config = field(default_factory=Cnn5Config)
    strong: StrongConfig = field(default_factory=StrongConfig)


@dataclass(frozen=True)
class EvaluateConfig:
    """Compute all figures of a model on a split of a dataset folder, each example exactly once."""

    model: str
    """A run folder, or a SavedModel that a run left."""
    data: str
    """The dataset folder; its classes must be the model's."""
    split: Literal["train", "validation", "test"] = "test"
    """Which of its splits. Nothing should be chosen by figures of the test split."""
    output: str | None = None
    """The JSON file to write, with predictions beside it as .npz; without it, the figures are printed as one line."""
    label_issues: str | None = None
    """A file to write: which examples are confidently taken for another class than their label's. Sensible for a split
    that the model was not trained on; preprocess takes the list as --exclude."""
    tta_views: int = 1
    """Average the probabilities of so many tta_views of each image: itself, and others that are augmented."""
    augmentation: tuple[str, ...] = ("rotate(5)", "shift(1)")
    """Steps that make the other tta_views; see `python -m trainer train --help`."""
    cache_dir: str = CACHE_DIR
    """Where a dataset in a bucket is kept on this machine."""
    cache_limit_gb: float = 50.0
    """Of datasets in it."""


@dataclass(frozen=True)
class PredictConfig:
    """Recognise characters, and write a line of JSON for each: source, character, probability, the three most probable.

    One machine does it in batches. With Beam's own options after `--` (or `--` alone) Beam does, on any of its runners,
    for millions of files; the same lines, in the order of the input, then are in several files.
    """

    model: str
    """A run folder, or a SavedModel that a run left."""
    input: tuple[str, ...]
    """PNG and JPEG pictures of one character each, folders of them, patterns such as 'scans/*.png', IDX files of
    images, or a dataset folder."""
    output: str
    """The file to write; with Beam, the beginning of the files' names."""
    html: str | None = None
    """Besides, a page of the first thousand pictures with their predictions."""
    split: Literal["train", "validation", "test"] = "test"
    """Of a dataset folder."""
    transposed: bool | None = None
    """Whether IDX files have height and width swapped; left out: those whose names begin with emnist- do."""


@dataclass(frozen=True)
class CheckConfig:
    """Load what a run exported, and see that it gives the run's own test figures and takes pictures.

    Each run does this before it counts as done; this repeats it, for a run folder that was copied, say.
    """

    run: Annotated[str, Positional]
    """A run folder."""


@dataclass(frozen=True)
class ExportConfig:
    """Write the model of a finished run for other runtimes, LiteRT and ONNX Runtime, and measure it there.

    Each file recognises the whole of the validation and test splits before anything is written; the figures are in
    formats.json beside the files, with the SavedModel's own.
    """

    model: str
    """The run folder."""
    data: str | None = None
    """The dataset folder that it was trained on; left out: where the run's config.yaml says that it lies."""
    formats: tuple[Literal["litert", "litert_int8", "onnx"], ...] = ("litert", "litert_int8", "onnx")
    """model.tflite; model_int8.tflite, of 8-bit integers that are calibrated on training examples; model.onnx."""
    output_dir: str | None = None
    """The folder to write; left out: formats in the run folder."""
    cache_dir: str = CACHE_DIR
    """Where a dataset in a bucket is kept on this machine."""
    cache_limit_gb: float = 50.0
    """Of datasets in it."""


@dataclass(frozen=True)
class ReportConfig:
    """Make the page that shows a finished run, or one that compares several."""

    runs: Annotated[tuple[str, ...], Positional]
    """Run folders."""
    output: str | None = None
    """The HTML file; left out: report/index.html in the run folder, and comparison.html here for several."""
    price_per_hour: float | None = None
    """What an hour of the machines costs, in any currency: for the cost of an epoch."""


def recipes() -> dict[str, Path]:
    """The recipes in this package: name and file."""
    return {path.stem: path for path in Path(__file__).parent.joinpath("recipes").glob("*.yaml")}


def run_dir_of_vertex() -> str | None:
    """The folder that a job on Vertex AI is to fill: it asks for the very parts that a run folder has.

    None if there is no such job. Raises `InputError` if it asks for anything else.
    https://cloud.google.com/vertex-ai/docs/training/code-requirements#environment-variables
    """
    wanted = {name: os.environ[name].rstrip("/") for name in _PARTS_FOR_VERTEX if os.environ.get(name)}
    if _MODEL_FOR_VERTEX not in wanted:
        return None
    run_dir = wanted[_MODEL_FOR_VERTEX].rpartition("/")[0]
    for name, folder in wanted.items():
        if folder != f"{run_dir}/{_PARTS_FOR_VERTEX[name]}":
            raise InputError(f"{name}={folder}: must be {_PARTS_FOR_VERTEX[name]} beside the model; or give --run-dir")
    return run_dir


def event_folder_of_vertex() -> str | None:
    """Where Vertex AI's TensorBoard looks for event files, if there is one."""
    return os.environ.get(_EVENTS_FOR_VERTEX, "").rstrip("/") or None


def load(recipe: str, named_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """The settings in `recipe`, the name of one in this package or a YAML file, as plain data, unchecked."""
    known = recipes()
    path = known.get(recipe) or to_path(recipe)
    if not path.is_file():
        raise InputError(f"--config {recipe}: no such file, and no recipe; recipes: {', '.join(sorted(known))}")
    if recipe in named_by:
        raise InputError(f"--config {recipe}: is based on itself, by way of {' and '.join(named_by)}")
    return complete(config_io.read_yaml(path), str(path), (*named_by, recipe))


def complete(settings: dict[str, Any], where: str, named_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """`settings`, and what they leave out from the recipe or YAML file that `config` among them names, if it is there.

    `where` is what they stand in, for errors.
    """
    own = dict(settings)
    base = own.pop("config", None)
    if not isinstance(base, str | None):
        raise InputError(f"{where}: config must be a recipe's name or a YAML file")
    return override(load(base, named_by), own) if base else own


def override(recipe: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """`recipe` overridden by `settings`, name by name also in nested mappings; one length replaces another."""
    merged = _without_other_length(recipe, settings) | settings
    for name, value in settings.items():
        if isinstance(value, dict) and isinstance(recipe.get(name), dict):
            merged[name] = recipe[name] | value
    return merged


def _without_other_length(recipe: dict[str, Any], given: Iterable[str]) -> dict[str, Any]:
    replaced = _LENGTHS if set(given) & set(_LENGTHS) else ()
    return {name: value for name, value in recipe.items() if name not in replaced}


def defaults(recipe: str | None, flags: Iterable[str] = ()) -> TrainConfig:
    """What `flags` override: the dataclass' defaults, overridden by `recipe`, but for its length if they name another.

    Vertex AI's variables override its `run_dir`. `data` and `run_dir`, where all leave them out, become required flags.
    """
    given = [flag.partition("=")[0].lstrip("-").replace("-", "_") for flag in flags if flag.startswith("--")]
    chosen = _without_other_length(load(recipe), given) if recipe else {}
    if "run_dir" not in given and (run_dir := run_dir_of_vertex()):
        chosen = chosen | {"run_dir": run_dir}
    missing = {name: "" for name in ("data", "run_dir") if name not in chosen}
    config = config_io.from_plain(TrainConfig, missing | chosen, recipe or "")
    return replace(config, **dict.fromkeys(missing, tyro.MISSING))


def resolve(config: TrainConfig) -> TrainConfig:
    """`config` with its length spelt out."""
    is_given = any(getattr(config, name) is not None for name in _LENGTHS)
    return config if is_given else replace(config, epochs=_DEFAULT_EPOCHS)


def check(config: TrainConfig) -> None:
    """Raises `InputError`, naming the flag, for what can be refused before the data is looked at."""
    to_path(config.data), to_path(config.run_dir)  # refuses what is neither local nor in a bucket
    lengths = [f"--{name.replace('_', '-')}" for name in _LENGTHS if getattr(config, name) is not None]
    if len(lengths) > 1:
        raise InputError(f"{' and '.join(lengths)}: give one length only")
    augmentation_steps.parse(config.augmentation)
    _check_numbers(config, "--")


def _check_numbers(config: Any, prefix: str) -> None:
    for item in fields(config):
        value, flag = getattr(config, item.name), prefix + item.name.replace("_", "-")
        match item.name, value:
            case _, bool() | None:
                continue
            case "seed", _:
                is_right, rule = 0 <= value < 2**32, "at least 0 and below 2**32"
            case "in_memory_limit_mb" | "weight_decay", _:
                is_right, rule = 0 <= value < math.inf, "a number from 0"
            case _, int():
                is_right, rule = value >= 1, "at least 1"
            case (
                "learning_rate"
                | "clip_norm"
                | "max_minutes"
                | "cluster_timeout"
                | "checkpoint_minutes"
                | "cache_limit_gb",
                _,
            ):
                is_right, rule = 0 < value < math.inf, "a number above 0"
            case _, float():
                is_right, rule = 0 <= value < 1, "at least 0 and below 1"
            case _, tuple() if all(isinstance(count, int) for count in value):
                is_right, rule = all(count >= 1 for count in value), "each at least 1"
            case _:
                if is_dataclass(value):
                    _check_numbers(value, f"{flag}.")
                continue
        if not is_right:
            raise InputError(f"{flag} {value}: must be {rule}")


def max_examples(config: TrainConfig) -> int | None:
    """How many examples of each split are used; None for all."""
    return _SMOKE_BATCHES * config.global_batch_size if config.smoke else None


def differences(one: TrainConfig, other: TrainConfig) -> list[str]:
    """The settings by which two configurations ask for different trainings, wherever data and run lie."""
    plain, others = config_io.to_plain(one), config_io.to_plain(other)
    return [name for name in plain if plain[name] != others[name] and name not in _NOT_THE_TRAINING]


def fingerprint(config: TrainConfig) -> str:
    """64 hexadecimal digits: equal for two configurations that ask for the same training (see `differences`)."""
    plain = {name: value for name, value in config_io.to_plain(config).items() if name not in _NOT_THE_TRAINING}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def to_yaml(config: TrainConfig) -> bytes:
    return yaml.safe_dump(config_io.to_plain(config), sort_keys=False, allow_unicode=True).encode()


def read(path: "AnyPath") -> TrainConfig:
    """A configuration that `to_yaml` wrote."""
    return config_io.from_plain(TrainConfig, config_io.read_yaml(path), str(path))
