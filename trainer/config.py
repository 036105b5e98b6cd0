"""The configuration of a training run: typed, frozen, and saved beside the run that it describes."""

import math
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro
import yaml

from preprocess import dataclass_io
from preprocess.errors import InputError
from preprocess.storage import to_path


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
class TrainConfig:
    """Train a network on a dataset folder; evaluate, export and check it; leave all of that in a run folder."""

    data: str
    """The dataset folder, as `python -m preprocess` printed it."""
    run_dir: str
    """The run folder to make. One that holds this very run is found done; one of another run is refused."""
    model: Literal["dense", "cnn"] = "cnn"
    """The network."""
    epochs: int = 10
    """How often each training example is seen."""
    global_batch_size: int = 1024
    """Examples in each step, over all devices."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    shuffle_buffer_examples: int = 10_000
    """Examples from which the next one is drawn; shards are shuffled besides."""
    seed: int = 0
    """Decides initial weights, dropout and the order of examples."""
    num_virtual_devices: int = 1
    """Split the CPU into so many devices, to try out what happens with several GPUs."""
    dense: DenseConfig = field(default_factory=DenseConfig)
    cnn: CnnConfig = field(default_factory=CnnConfig)


def recipes() -> dict[str, Path]:
    """The recipes in this package: name and file."""
    return {path.stem: path for path in Path(__file__).parent.joinpath("recipes").glob("*.yaml")}


def load(recipe: str) -> dict[str, Any]:
    """The settings in `recipe`, the name of one in this package or a YAML file, as plain data, unchecked."""
    known = recipes()
    path = known.get(recipe) or to_path(recipe)
    if not path.is_file():
        raise InputError(f"--config {recipe}: no such file, and no recipe; recipes: {', '.join(sorted(known))}")
    return dataclass_io.read_yaml(path)


def defaults(recipe: str | None) -> TrainConfig:
    """What flags override: the dataclass' defaults, overridden by `recipe`.

    `data` and `run_dir`, where the recipe leaves them out, become required flags.
    """
    chosen = load(recipe) if recipe else {}
    missing = {name: "" for name in ("data", "run_dir") if name not in chosen}
    config = dataclass_io.from_plain(TrainConfig, missing | chosen, recipe or "")
    return replace(config, **dict.fromkeys(missing, tyro.MISSING))


def check(config: TrainConfig) -> None:
    """Raises `InputError`, naming the flag, for what can be refused before the data is looked at."""
    for flag, location in (("--data", config.data), ("--run-dir", config.run_dir)):
        if not isinstance(to_path(location), Path):
            raise InputError(f"{flag} {location}: the trainer works on local folders; copy from and to the bucket")
    _check_numbers(config, "--")


def _check_numbers(config: Any, prefix: str) -> None:
    for item in fields(config):
        value, flag = getattr(config, item.name), prefix + item.name.replace("_", "-")
        match item.name, value:
            case "seed", int():
                is_right, rule = 0 <= value < 2**32, "at least 0 and below 2**32"
            case "learning_rate", float():
                is_right, rule = 0 < value < math.inf, "a number above 0"
            case "pool_dropout" | "hidden_dropout", float():
                is_right, rule = 0 <= value < 1, "at least 0 and below 1"
            case _, int():
                is_right, rule = value >= 1, "at least 1"
            case _, tuple():
                is_right, rule = all(count >= 1 for count in value), "each at least 1"
            case _:
                if is_dataclass(value):
                    _check_numbers(value, f"{flag}.")
                continue
        if not is_right:
            raise InputError(f"{flag} {value}: must be {rule}")


def same_run(one: TrainConfig, other: TrainConfig) -> bool:
    """Whether two configurations ask for the same training, wherever data and run lie."""
    plain = [dataclass_io.to_plain(config) | {"data": "", "run_dir": ""} for config in (one, other)]
    return plain[0] == plain[1]


def to_yaml(config: TrainConfig) -> bytes:
    return yaml.safe_dump(dataclass_io.to_plain(config), sort_keys=False, allow_unicode=True).encode()


def read(path: Path) -> TrainConfig:
    """A configuration that `to_yaml` wrote."""
    return dataclass_io.from_plain(TrainConfig, dataclass_io.read_yaml(path), str(path))
