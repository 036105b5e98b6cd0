"""The job description: what to make a dataset from, and how to train on it."""

from dataclasses import dataclass

from preprocess import config as preprocess_configs
from preprocess import dataclass_io
from preprocess.config import PreprocessConfig
from preprocess.errors import InputError
from preprocess.manifest import dataset_folder
from preprocess.storage import to_path
from trainer import config as train_configs
from trainer.config import TrainConfig


@dataclass(frozen=True)
class Job:
    """One retraining: a dataset, then a run on it."""

    preprocess: PreprocessConfig
    train: TrainConfig


def read(location: str) -> Job:
    """Reads and checks a job description.

    It is a YAML file of two sections: `preprocess` takes what the flags of `python -m preprocess` do, `train` those of
    `python -m trainer train`, `config` for a recipe included; only `data` follows from the first section.
    Raises `InputError` for a file that is missing or holds anything else.
    """
    path = to_path(location)
    if not path.is_file():
        raise InputError(f"--job {location}: no such file")
    sections = dataclass_io.read_yaml(path)
    if set(sections) != {"preprocess", "train"} or not all(isinstance(part, dict) for part in sections.values()):
        found = ", ".join(map(str, sections))
        raise InputError(f"{location}: must hold the sections preprocess and train, and no others; found {found}")
    preprocess = dataclass_io.from_plain(PreprocessConfig, sections["preprocess"], f"{location}.preprocess")
    settings = sections["train"]
    if "data" in settings:
        raise InputError(f"{location}: train.data follows from the preprocess section; leave it out")
    recipe = settings.pop("config", None)
    if not isinstance(recipe, str | None):
        raise InputError(f"{location}: train.config must be a recipe's name or a YAML file")
    settings = train_configs.override(train_configs.load(recipe) if recipe else {}, settings)
    settings["data"] = str(dataset_folder(preprocess.data_dir, preprocess.dataset))
    train = dataclass_io.from_plain(TrainConfig, settings, f"{location}.train")
    # Refused now, rather than by the second step after the first has done all its work.
    preprocess_configs.check(preprocess)
    train_configs.check(train)
    return Job(preprocess, train)
