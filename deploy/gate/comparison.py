"""Evaluates the new model and the one in use on the same examples, and keeps the result in the run folder."""

import io
import json
import zipfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from common import storage
from common.dataset.schema import LABEL
from common.errors import FailedError, InputError
from deploy import serving as servings
from deploy.gate import answers, figures
from deploy.gate.figures import Candidate, Evaluation
from deploy.serving import Serving
from trainer.config.settings import TrainConfig
from trainer.data import datasets
from trainer.data.datasets import Dataset
from trainer.data.examples import Examples
from trainer.evaluation import holdout
from trainer.evaluation.scores import Scores
from trainer.runs import run_folder
from trainer.serving import loading

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

TRAINED_ON = "trained_on.npy"

_VERIFIED_EXAMPLES = 256
_TOLERANCE = 1e-3  # of probabilities: a GPU's convolutions round differently for each batch size


@dataclass(frozen=True)
class _Model:
    name: str
    folder: "AnyPath"
    fingerprint: str


def evaluate(config: TrainConfig, serving: Serving, path: "AnyPath") -> tuple[Evaluation, np.ndarray, bool]:
    """Evaluates a finished run's model and the one in use on the test split; reuses the result at `path` if it fits.

    Also returns the pixel hashes, uint64, of all training and validation examples, and whether the result was reused.
    """
    dataset = _open(config)
    manifest = dataset.manifest
    source = storage.to_path(config.run_dir) / run_folder.SAVED_MODEL
    challenger, champion = _Model(config.run_dir, source, servings.fingerprint(source)), _champion(serving)
    inputs = {
        "data": manifest.data_fingerprint,
        "challenger": challenger.fingerprint,
        "champion": [champion.name, champion.fingerprint] if champion else None,
    }
    lines = manifest.request.lines
    if lines is not None:
        inputs["group_by"] = lines.group_by
    if (stored := _read(path, inputs)) is not None:
        return *stored, True
    test = dataset.examples("test")
    pixel_hashes = holdout.pixel_hashes(test)
    trained_on = run_folder.read_hashes(storage.to_path(config.run_dir) / run_folder.TRAINED_ON)
    if trained_on is None:  # a run of an earlier version has seen its dataset only
        trained_on = holdout.trained_on([dataset.examples(split) for split in manifest.splits if split != "test"])
    ask = partial(_ask, test=test, pixel_hashes=pixel_hashes)
    evaluation = Evaluation(
        data_fingerprint=manifest.data_fingerprint,
        class_names=manifest.class_names,
        labels=test.values(LABEL) if test.schema.has(LABEL) else np.empty(0, np.int64),
        is_gate=holdout.decide_by_group(_group_names(dataset)) if lines else holdout.decide(pixel_hashes),
        challenger=ask(challenger, trained_on),
        champion=ask(champion, _read_trained_on(champion.folder)) if champion else None,
        group_by=lines.group_by if lines else None,
    )
    storage.write_atomically(path, _to_npz(evaluation, trained_on, inputs))
    return evaluation, trained_on, False


def _group_names(dataset: Dataset) -> list[str]:
    """The name of the group of each test example. Their numbers are others as soon as a group is added."""
    names = [origin.get("group") for origin in dataset.origins("test")]
    if len(names) != dataset.manifest.splits["test"].num_examples or None in names:
        raise InputError(
            f"{dataset.folder}/examples-test.jsonl.gz: does not name the group of each test line, by which the gate's "
            "half is chosen; run preprocess again with --overwrite"
        )
    return names


def _champion(serving: Serving) -> _Model | None:
    if serving.current is None:
        return None
    version, fingerprint = serving.current.version, servings.fingerprint(serving.champion)
    if fingerprint != serving.current.models[version].fingerprint:
        raise InputError(f"{serving.champion}: its files have changed; serve another version with `rollback --to`")
    return _Model(f"version {version}", serving.champion, fingerprint)


def verify(copy: "AnyPath", config: TrainConfig, evaluation: Evaluation) -> None:
    """Loads a copy of the run's model. Raises `FailedError` if its predictions differ from the original's."""
    model = loading.load(str(copy))
    test = _open(config).examples("test", _VERIFIED_EXAMPLES)
    confidence = answers.score(model, test).confidence
    expected = evaluation.challenger.scores.confidence[: test.num_examples]
    if loading.class_names(model) != evaluation.challenger.class_names or not np.allclose(
        confidence, expected, atol=_TOLERANCE
    ):
        raise FailedError(f"{copy}: its predictions differ from those of the original; nothing was promoted")


def _open(config: TrainConfig) -> Dataset:
    return datasets.open(config.data.folder, config.data.cache_dir, config.data.cache_limit_gb)


def _ask(asked: _Model, trained_on: np.ndarray, test: Examples, pixel_hashes: np.ndarray) -> Candidate:
    model = loading.load(str(asked.folder))
    loading.check_size(model, test.schema, str(asked.folder))
    scores, calibration = answers.score(model, test), loading.calibration(model)
    files = storage.checksums_below(asked.folder)
    size_bytes = sum(size for file, (size, _) in files.items() if not file.startswith(servings.EXTRA))
    return Candidate(
        name=asked.name,
        fingerprint=asked.fingerprint,
        class_names=loading.class_names(model),
        scores=scores,
        has_seen=np.isin(pixel_hashes, trained_on),
        latency_ms=answers.latency_ms(model, test),
        model_mb=size_bytes / 1e6,
        threshold=calibration.threshold_for(figures.PROMISED_ERROR),
    )


def to_npy(array: np.ndarray) -> bytes:
    """An array as the content of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _read_trained_on(version: "AnyPath") -> np.ndarray:
    path = version / servings.EXTRA / TRAINED_ON
    try:
        return np.load(io.BytesIO(storage.read(path)), allow_pickle=False)
    except (OSError, EOFError, ValueError):
        raise InputError(
            f"{path}: cannot be read, so the training examples of the model in use are unknown; "
            "serve another version with `rollback --to`"
        ) from None


def _to_npz(evaluation: Evaluation, trained_on: np.ndarray, inputs: dict[str, Any]) -> bytes:
    arrays = {"labels": evaluation.labels, "is_gate": evaluation.is_gate, "trained_on": trained_on}
    plain = ("data_fingerprint", "class_names", "group_by")
    facts: dict[str, Any] = {"inputs": inputs} | {name: getattr(evaluation, name) for name in plain}
    for role in ("challenger", "champion"):
        if (model := getattr(evaluation, role)) is not None:
            plain = dict(vars(model))
            of_model = vars(plain.pop("scores")) | {"has_seen": plain.pop("has_seen")}
            arrays |= {f"{role}_{name}": values for name, values in of_model.items() if values is not None}
            facts[role] = plain
    file = io.BytesIO()
    np.savez_compressed(file, facts=json.dumps(facts), **arrays)
    return file.getvalue()


def _read(path: "AnyPath", inputs: dict[str, Any]) -> tuple[Evaluation, np.ndarray] | None:
    """The result that `_to_npz` stored; None if it is missing, damaged, of other inputs or of another version."""
    content = storage.read_versioned(path).content
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        facts = json.loads(str(arrays["facts"]))
        if facts["inputs"] != inputs:
            return None
        models = {role: _to_candidate(role, facts, arrays) for role in ("challenger", "champion")}
        names = tuple(facts["class_names"])
        evaluation = Evaluation(
            *(facts["data_fingerprint"], names, arrays["labels"], arrays["is_gate"]),
            **models,
            group_by=facts.get("group_by"),
        )
        return evaluation, arrays["trained_on"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):  # it is computed again
        return None


def _to_candidate(role: str, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Candidate | None:
    if role not in facts:
        return None
    plain = facts[role] | {"class_names": tuple(facts[role]["class_names"])}
    # Groups are missing where examples have none, and in what earlier versions stored.
    parts = [arrays[f"{role}_{name}"] for name in ("errors", "units", "confidence")]
    scores = Scores(*parts, arrays.get(f"{role}_groups"))
    return Candidate(**plain, scores=scores, has_seen=arrays[f"{role}_has_seen"])
