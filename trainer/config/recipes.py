"""Recipes: YAML files with defaults for a training, from this package or your own."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro

from common import config_io
from common.errors import InputError
from common.storage import to_path
from trainer.config import vertex
from trainer.config.settings import LENGTHS, TrainConfig

_FOLDER = Path(__file__).parent.parent / "recipes"


def recipes() -> dict[str, Path]:
    """The recipes in this package: name and file."""
    return {path.stem: path for path in _FOLDER.glob("*.yaml")}


def load(recipe: str, named_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """The settings in `recipe`, a recipe's name in this package or a YAML file, as plain data, unchecked."""
    known = recipes()
    path = known.get(recipe) or to_path(recipe)
    if not path.is_file():
        raise InputError(f"--config {recipe}: is neither a file nor a recipe; recipes: {', '.join(sorted(known))}")
    if recipe in named_by:
        raise InputError(f"--config {recipe}: is based on itself, by way of {' and '.join(named_by)}")
    return complete(config_io.read_yaml(path), str(path), (*named_by, recipe))


def complete(settings: dict[str, Any], where: str, named_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """`settings` in their groups, completed from the recipe or YAML file that `config` among them names, if any.

    `where` names the file that they stand in, for errors.
    """
    own = dict(settings)
    base = own.pop("config", None)
    if not isinstance(base, str | None):
        raise InputError(f"{where}: config must be a recipe's name or a YAML file")
    own = config_io.in_groups(TrainConfig, own, where)
    return own if base is None else override(load(base, named_by), own)


def override(recipe: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """`recipe` overridden by `settings`, name by name also in nested mappings; one length replaces another."""
    merged = _without_other_length(recipe, settings) | settings
    for name, value in settings.items():
        if isinstance(value, dict) and isinstance(recipe.get(name), dict):
            merged[name] = recipe[name] | value
    return merged


def _without_other_length(recipe: dict[str, Any], given: Iterable[str]) -> dict[str, Any]:
    replaced = LENGTHS if set(given) & set(LENGTHS) else ()
    return {name: value for name, value in recipe.items() if name not in replaced}


def defaults(recipe: str | None, flags: Iterable[str] = ()) -> TrainConfig:
    """The defaults that `flags` override: those of the dataclass, overridden by `recipe`.

    The recipe's length is dropped if `flags` give another. Vertex AI's variables override its `run_dir`. The dataset
    folder and `run_dir` become required flags if nothing sets them.
    """
    given = [flag.partition("=")[0].lstrip("-").replace("-", "_") for flag in flags if flag.startswith("--")]
    chosen = {} if recipe is None else _without_other_length(load(recipe), given)
    if "run_dir" not in given and (run_dir := vertex.run_dir()):
        chosen = chosen | {"run_dir": run_dir}
    has_run_dir, has_folder = "run_dir" in chosen, "folder" in chosen.get("data", {})
    required = {"run_dir": "", "data": {"folder": ""}}
    config = config_io.from_plain(TrainConfig, override(required, chosen), recipe or "")
    return replace(
        config,
        run_dir=config.run_dir if has_run_dir else tyro.MISSING,
        data=config.data if has_folder else replace(config.data, folder=tyro.MISSING),
    )
