"""The runs that a run's first weights come from, and the examples that these weights have seen.

A model is flattered by figures on examples that its weights have seen, even in an earlier run: they are left out.
"""

import io
import json
import logging
import zipfile
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from common import storage
from common.errors import InputError
from trainer.data import datasets
from trainer.data.examples import Examples
from trainer.evaluation import holdout
from trainer.runs import run_folder
from trainer.runs.run_folder import Results
from trainer.serving import loading

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

INITIALIZED_FROM = "initialized_from"
"""The key of `run.json` for the ancestors of a run, the nearest first; absent if its weights were drawn."""

_MOST_SEEN = 0.1  # of a split: what is left of it would be another split
_SHOWN = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ancestor:
    """A run that weights come from."""

    run: str
    """Its run folder, as it was given."""
    fingerprint: str
    """That of its model, as `loading.fingerprint` has it."""
    dataset: str
    """The name of its dataset."""


@dataclass(frozen=True)
class Ancestry:
    """Where the first weights of a run come from; nothing if they were drawn."""

    runs: tuple[Ancestor, ...] = ()
    """The run that they are of, then the one that its own first weights are of, and so on."""
    seen: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    """The pixel hashes, uint64 [N], sorted, of all training and validation examples of these runs."""


def of_run(location: str, results: Results) -> Ancestry:
    """The ancestry of a run that begins with the weights of the finished run at `location`."""
    ancestor = Ancestor(location, loading.fingerprint(location), results.run_info["dataset"]["dataset"])
    before = (Ancestor(**plain) for plain in results.run_info.get(INITIALIZED_FROM, ()))
    return Ancestry((ancestor, *before), trained_on(results))


def trained_on(results: Results) -> np.ndarray:
    """The pixel hashes, uint64 [N], sorted, of all examples that a finished run's weights have seen.

    Runs of earlier versions have no record of them, but had no ancestors: it is made of their dataset. Raises
    `InputError` if that is not there any more.
    """
    path = results.folder / run_folder.TRAINED_ON
    recorded = run_folder.read_hashes(path)
    if recorded is not None:
        return recorded
    if INITIALIZED_FROM in results.run_info:
        raise InputError(f"{path}: is missing, so nobody knows what the weights of this run have seen; train it again")
    _log.info("%s: has no %s, being of an earlier version; made of its dataset", results.folder, path.name)
    try:
        dataset = datasets.dataset_of(results)
        splits = [dataset.examples(split) for split in dataset.manifest.splits if split != "test"]
    except InputError as error:
        raise InputError(
            f"{path}: is missing, since an earlier version made the run, and its dataset, of which it can be made, "
            f"cannot be opened ({error})"
        ) from None
    return holdout.trained_on(splits)


def leave_out_seen(ancestry: Ancestry, split: str, examples: Examples) -> Examples:
    """The examples of a split that the first weights have not seen; the log names the others.

    Raises `InputError` if these are more than a tenth.
    """
    if not ancestry.runs:
        return examples
    numbers = np.flatnonzero(np.isin(holdout.pixel_hashes(examples), ancestry.seen))
    run, count, total = ancestry.runs[0].run, len(numbers), examples.num_examples
    if count > _MOST_SEEN * total:
        raise InputError(
            f"--initialize-from {run}: its weights have seen {count:,} of the {total:,} {split} examples, more than a "
            f"tenth; give a dataset with other {split} examples"
            + (", or one without a validation split" if split == "validation" else "")
        )
    if count:
        shown = ", ".join(map(str, numbers[:_SHOWN].tolist())) + (" …" if count > _SHOWN else "")
        message = "left out %s of the %s %s examples, since the weights of %s have seen them: number %s"
        _log.info(message, f"{count:,}", f"{total:,}", split, run, shown)
    return examples.without(numbers)


def write(folder: "AnyPath", ancestry: Ancestry) -> None:
    """Keeps the ancestry in a run folder: a training that is resumed does not look for the other runs again."""
    content = io.BytesIO()
    np.savez(content, runs=json.dumps([asdict(run) for run in ancestry.runs]), seen=ancestry.seen)
    storage.write_atomically(folder / run_folder.ANCESTRY, content.getvalue())


def read(folder: "AnyPath") -> Ancestry:
    """What `write` kept. Raises `InputError` if it is missing or damaged."""
    path = folder / run_folder.ANCESTRY
    try:
        with np.load(io.BytesIO(storage.read(path)), allow_pickle=False) as file:
            runs = tuple(Ancestor(**plain) for plain in json.loads(str(file["runs"])))
            return Ancestry(runs, file["seen"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({error}); give another --run-dir") from None
