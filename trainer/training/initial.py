"""The first weights of a training, if they are those of an earlier run (`--initialize-from`).

The last layers have an output for each of the vocabulary. Those that both runs know keep their weights, whatever their
places are; new ones keep what was drawn for them.
"""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from common import marks, storage
from common.dataset.schema import Schema
from common.errors import InputError
from trainer.config.settings import TrainConfig
from trainer.runs import run_folder
from trainer.runs.run_folder import Results

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_SAVED_MODEL = "saved_model.pb"

_log = logging.getLogger(__name__)


def open_run(config: TrainConfig, schema: Schema) -> Results:
    """The run that `initialize_from` names. Raises `InputError` if it is not finished or is of something else."""
    location = config.initialize_from
    folder, flag = storage.to_path(location), f"--initialize-from {location}"
    if (folder / _SAVED_MODEL).is_file():
        raise InputError(f"{flag}: is a SavedModel; give the run folder that it was exported to")
    if not run_folder.is_completed(folder):
        raise InputError(f"{flag}: holds no finished run; finish it, or give another run folder")
    for needed in (folder / run_folder.KERAS_MODEL, folder / run_folder.SAVED_MODEL / _SAVED_MODEL):
        if not needed.is_file():
            raise InputError(f"{flag}: {needed} is missing; the same training again restores it")
    results = run_folder.read_results(folder)
    _check_data(flag, results.schema, schema)
    if results.config.model != config.model:
        known = results.config.model
        raise InputError(f"--model {config.model}: {location} has the network {known}; give --model {known}")
    return results


def _check_data(flag: str, known: Schema, schema: Schema) -> None:
    """Raises `InputError` if the examples of the two schemas are of another task or size."""
    if known.task != schema.task:
        raise InputError(
            f"{flag}: is of the task {known.task}, and the dataset of {schema.task}; give a run of the task "
            f"{schema.task}"
        )
    if known.has_width:
        (height, *_), (given, *_) = known.image_shape, schema.image_shape
        if height != given:
            raise InputError(
                f"{flag}: reads lines of a height of {height}, and the dataset's have {given}; make it with "
                f"--line-height {height}"
            )
    elif known.image_shape != schema.image_shape:
        size, given = ("x".join(map(str, shape[:2])) for shape in (known.image_shape, schema.image_shape))
        raise InputError(
            f"{flag}: takes images of {size}, and the dataset's are {given}; make it with --image-size {size}"
        )


def carry_over(
    model: keras.Model, results: Results, config: TrainConfig, schema: Schema, last_layers: Iterable[str]
) -> None:
    """Gives a new network the weights of a finished run, statistics included; the log says which outputs are new.

    Raises `InputError`, naming the settings, if the run's network has other layers.
    """
    origin = _load_network(results.folder)
    if _shapes(model, last_layers) != _shapes(origin, last_layers):
        raise InputError(_other_layers(results, config))
    names = schema.vocabulary
    places = {name: place for place, name in enumerate(results.schema.vocabulary)}
    kept = [(place, places[name]) for place, name in enumerate(names) if name in places]
    for layer, known in zip(_with_weights(model), _with_weights(origin), strict=True):
        for variable, weight in zip(layer.weights, known.weights, strict=True):
            value = weight.numpy()
            if layer.name in last_layers:
                value = _rearranged(variable.numpy(), value, kept, len(names), len(places))
            variable.assign(value)
    _log.info("begins with the weights of %s, which knows %d of %d names", results.folder, len(kept), len(names))
    for what, some in (
        ("new, with weights drawn for them", [name for name in names if name not in places]),
        ("known to it only, and forgotten", [name for name in places if name not in names]),
    ):
        if some:
            _log.info("%s: %s", what, " ".join(repr(name) if name.isspace() else name for name in some))


def _rearranged(
    drawn: np.ndarray, known: np.ndarray, kept: list[tuple[int, int]], num_names: int, num_known: int
) -> np.ndarray:
    """Weights [..., outputs] of a last layer: drawn ones, but the known ones where both networks have an output.

    `kept` are places of a name in both vocabularies. Outputs behind those of the vocabulary stand in the same order.
    """
    behind = range(drawn.shape[-1] - num_names)
    value = drawn.copy()
    for place, known_place in [*kept, *((num_names + number, num_known + number) for number in behind)]:
        value[..., place] = known[..., known_place]
    return value


def _load_network(folder: "AnyPath") -> keras.Model:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / run_folder.KERAS_MODEL
        storage.download(folder / run_folder.KERAS_MODEL, path)
        try:
            return keras.models.load_model(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"{folder / run_folder.KERAS_MODEL}: cannot be loaded ({message})") from None


def _with_weights(network: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in network.layers if layer.weights]


def _shapes(network: keras.Model, last_layers: Iterable[str]) -> list[tuple[str, list[tuple[int, ...]]]]:
    """The name of each layer and the shapes of its weights, of the last layers but for the number of outputs."""
    shapes = []
    for layer in _with_weights(network):
        until = -1 if layer.name in last_layers else None
        shapes.append((layer.name, [tuple(weight.shape)[:until] for weight in layer.weights]))
    return shapes


def _other_layers(results: Results, config: TrainConfig) -> str:
    """The message about a run whose network has other layers than the one that is asked for."""
    known = {name: value for name, value, _ in marks.values(results.config)}
    others = [
        f"--{name.replace('_', '-')} is {_as_flag(value)}, and there {_as_flag(known[name])}"
        for name, value, _ in marks.values(config)
        if name.startswith(f"{config.model}.") and value != known[name]
    ]
    if others:
        return f"--initialize-from {results.folder}: its network is another: {'; '.join(others)}; give the same"
    return f"--initialize-from {results.folder}: another version made its network of other layers; train it again"


def _as_flag(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
