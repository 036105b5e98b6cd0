"""The retraining that every target runs: preprocess, train, evaluate, gate, promote.

Each step recognises its earlier result by the inputs it was made from: the dataset by its manifest, the run by its
folder's name (derived from data and recipe), the evaluation and the decision by models and data. So a retraining that
was killed resumes at its first unfinished step.
"""

import json
import logging
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from common import config_io, provenance, storage
from common.dataset import manifest as manifests
from common.dataset.manifest import Manifest
from common.errors import FailedError, InputError, PeerLostError, StoppedError, TemporaryError
from deploy import progress
from deploy import serving as servings
from deploy.gate.decision import Decision, decide
from deploy.gate.figures import Evaluation, check_settings
from deploy.job import Job
from deploy.progress import Decided, Recorder
from deploy.serving import Lost, Model, NewVersion, Serving
from trainer.config import settings as configs
from trainer.config.settings import TrainConfig
from trainer.distributed import cluster, gpus, supervisor
from trainer.main import import_tensorflow
from trainer.runs import run_folder

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

GATE = "gate.json"
EVALUATION = "evaluation.npz"

_OF_A_DECISION = {"decided_at", "outcome", "reason", "challenger", "gate"}
"""What `gate.json` has in every version of this program."""

_ROUNDS = 5
"""Rounds of comparison before giving up, if the champion is replaced during each of them."""
_POLL_SECONDS = 1.0
_ERRORS = {1: FailedError, 2: InputError, 75: TemporaryError, 143: StoppedError}

_log = logging.getLogger(__name__)


def run(job: Job, if_changed: bool = False) -> str:
    """Runs a retraining, or resumes one; returns its outcome as one line.

    With several workers, each calls this; the chief runs all steps, the others only train. Raises the errors of the
    steps: `InputError`, `FailedError`, `TemporaryError`, `StoppedError`.
    """
    gpus.check_driver()
    workers = cluster.from_environment()
    if not workers.is_chief:
        return _train_along(job, workers)
    with progress.recording(job.folder, job.name, provenance.commit().id) as recorder:
        are_needed = _retrain(job, if_changed, workers, recorder)
        if not workers.is_alone and not are_needed:
            with suppress(PeerLostError):  # they may have finished and exited before the chief restarted
                cluster.wait_for_peers(workers, job.train.execution.cluster_timeout)
    return f"{job.name}: {recorder.status.outcome}: {recorder.status.reason}"


def _retrain(job: Job, if_changed: bool, workers: cluster.Cluster, recorder: Recorder) -> bool:
    """Runs the steps; returns whether the other workers, if any, were needed."""
    # An unreadable or unwritable serving folder fails before the work rather than after it.
    servings.read(job.serving_folder)
    storage.make_folder(job.serving_folder)
    manifest = _preprocess(job, recorder)
    fingerprint = manifest.data_fingerprint
    check_settings(job.gate, manifest.schema)
    decided = Decided(fingerprint, configs.fingerprint(job.train), progress.now())
    earlier = recorder.status.decided
    if if_changed and earlier and replace(earlier, at=decided.at) == decided:
        reason = f"neither data nor recipe has changed since the decision of {earlier.at}"
        recorder.update(outcome="unchanged", reason=reason)
        return False
    config = replace(job.train, run_dir=str(job.folder / f"{fingerprint[:12]}-{decided.recipe_fingerprint[:8]}"))
    recorder.update(run=config.run_dir)
    are_needed = not workers.is_alone and not run_folder.is_completed(storage.to_path(config.run_dir))
    with recorder.step("train") as result:
        before = _content(storage.to_path(config.run_dir) / run_folder.RUN)
        if are_needed:
            # The peers read from the status which run to train.
            cluster.wait_for_peers(workers, config.execution.cluster_timeout)
        if are_needed or workers.is_alone:
            _train(config, workers)
        result.was_done = before == _content(storage.to_path(config.run_dir) / run_folder.RUN)
        result.text = config.run_dir
    end = _decide_and_promote(job, config, recorder)
    decided = replace(decided, at=progress.now())
    recorder.update(outcome=end.outcome, reason=end.reason, version=end.version, decided=decided)
    return are_needed


def _preprocess(job: Job, recorder: Recorder) -> Manifest:
    """Makes the dataset unless it is up to date; returns its manifest."""
    from preprocess import pipeline

    with recorder.step("preprocess") as result:
        path = manifests.dataset_folder(job.preprocess.data_dir, job.preprocess.dataset) / manifests.FILE_NAME
        before = _content(path)
        folder = pipeline.run(job.preprocess)
        manifest = manifests.read(path.parent)
        result.was_done = before == _content(path)
        counts = ", ".join(f"{split.num_examples:,} {name}" for name, split in manifest.splits.items())
        result.text = f"{folder}: {counts}"
    return manifest


def _content(path: "AnyPath") -> bytes | None:
    return storage.read_versioned(path).content


def _train(config: TrainConfig, workers: cluster.Cluster) -> None:
    if not workers.is_alone:
        with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
            file.write(configs.to_yaml(config))
            file.flush()
            code = supervisor.supervise(["train", "--config", file.name], config.execution.cluster_timeout)
        if code:
            raise _ERRORS.get(code, FailedError)(f"the training ended with exit code {code}; its error is logged above")
        return
    import_tensorflow()
    from trainer import train

    train.run(config)


def _train_along(job: Job, workers: cluster.Cluster) -> str:
    """Runs a worker other than the chief: waits until the chief has recorded the run to train, then trains it."""
    cluster.wait_for_peers(workers, job.train.execution.cluster_timeout)
    status = progress.read(job.folder)
    if status is None:
        raise InputError(f"{job.folder}: holds no state of the chief; runs_dir must be a folder that all workers share")
    if status.outcome:
        return f"{job.name}: {status.outcome}, with nothing to train: {status.reason}"
    _train(replace(job.train, run_dir=status.run), workers)
    _wait_until_completed(status.run, job.train.execution.cluster_timeout)
    return f"{job.name}: trained as worker {workers.index}; the chief continues alone"


def _wait_until_completed(run: str, timeout_seconds: float) -> None:
    """Waits until the chief has completed the run: if it is interrupted before, all workers have to resume with it."""
    deadline = time.monotonic() + timeout_seconds
    while not run_folder.is_completed(storage.to_path(run)):
        if time.monotonic() > deadline:
            raise PeerLostError(
                f"the chief did not complete {run} within {timeout_seconds:g} s; start all workers again"
            )
        time.sleep(_POLL_SECONDS)


def promote(job: Job, run: str) -> str:
    """Sends a finished run's model through the gate and serves it if it passes; returns the outcome as one line.

    It is recorded like a retraining whose first two steps are skipped.
    """
    folder = storage.to_path(run)
    results = run_folder.read_results(folder)
    manifest = manifests.read(storage.to_path(job.train.data.folder))
    if results.run_info.get("data_fingerprint") != manifest.data_fingerprint:
        raise InputError(
            f"--run {run}: was trained on other data than {job.train.data.folder} holds now; give a run on that data"
        )
    check_settings(job.gate, manifest.schema)
    with progress.recording(job.folder, job.name, provenance.commit().id) as recorder:
        recorder.update(run=run)
        end = _decide_and_promote(job, replace(job.train, run_dir=run), recorder)
        recorder.update(outcome=end.outcome, reason=end.reason, version=end.version)
    return f"{job.name}: {end.outcome}: {end.reason}"


@dataclass(frozen=True)
class _End:
    outcome: Literal["promoted", "refused", "kept"]
    reason: str
    version: int | None
    """The version in use afterwards."""


def _decide_and_promote(job: Job, config: TrainConfig, recorder: Recorder) -> _End:
    """Compares a finished run's model with the one in use, and promotes it if it passes the gate."""
    import_tensorflow()
    for _ in range(_ROUNDS):
        end = _compare_and_promote(job, config, recorder)
        if not isinstance(end, Lost):
            return end
        _log.info("the model in use was replaced during the comparison; comparing with the new one")
    raise FailedError(f"{job.serving_folder}: the model in use was replaced in each of {_ROUNDS} rounds; start again")


def _compare_and_promote(job: Job, config: TrainConfig, recorder: Recorder) -> _End | Lost:
    """One round, against the model in use at its start. Returns `Lost` if that was replaced meanwhile."""
    from deploy.gate import comparison

    folder = storage.to_path(config.run_dir)
    source = folder / run_folder.SAVED_MODEL
    serving = servings.read(job.serving_folder)
    servings.sync_models_config(serving.folder)  # in case a job was killed before it did so
    in_use = serving.current.version if serving.current else None
    if in_use and serving.current.models[in_use].fingerprint == servings.fingerprint(source):
        return _End("kept", f"version {in_use} is this very model", in_use)
    with recorder.step("evaluate") as result:
        evaluation, trained_on, result.was_done = comparison.evaluate(config, serving, folder / EVALUATION)
        result.text = f"{evaluation.is_gate.sum():,} of {len(evaluation.is_gate):,} test examples decide"
    with recorder.step("gate") as result:
        decision, result.was_done = _gate(job, evaluation, serving, folder / GATE)
        result.text = decision.outcome
    if decision.outcome == "refuse":
        return _End("refused", decision.reason, in_use)
    with recorder.step("promote") as result:
        verify = partial(comparison.verify, config=config, evaluation=evaluation)
        files = {GATE: storage.read(folder / GATE), comparison.TRAINED_ON: comparison.to_npy(trained_on)}
        new = NewVersion(source, _to_model(decision, config.run_dir), files, verify)
        version = servings.promote(serving, new, job.serving.keep_versions)
        is_lost = isinstance(version, Lost)
        result.text = "the model in use was replaced meanwhile" if is_lost else f"version {version} is in use"
    return version if is_lost else _End("promoted", f"version {version}: {decision.reason}", version)


def _to_model(decision: Decision, run: str) -> Model:
    return Model(
        fingerprint=decision.challenger_fingerprint,
        run=run,
        data_fingerprint=decision.data_fingerprint,
        accuracy=decision.gate.challenger.accuracy,
        reason=decision.reason,
    )


def _gate(job: Job, evaluation: Evaluation, serving: Serving, path: "AnyPath") -> tuple[Decision, bool]:
    """Decides and writes the decision to the run folder; returns it, and whether it was there already."""
    rolled_back_at = serving.rolled_back_at(evaluation.challenger.fingerprint)
    decision = decide(evaluation, job.gate, rolled_back_at)
    _log.info("%s: %s", decision.outcome, decision.reason)
    plain = config_io.to_plain(decision)
    before = read_decision(path)
    was_done = {name: value for name, value in before.items() if name != "decided_at"} == plain
    if not was_done:
        run_folder.write_json(path, {"decided_at": progress.now()} | plain)
    return decision, was_done


def read_decision(path: "AnyPath") -> dict[str, Any]:
    """Reads the decision at `path` as plain data; empty if there is none."""
    content = _content(path)
    if content is None:
        return {}
    try:
        decision = dict(json.loads(content))
    except (ValueError, TypeError):
        decision = {}
    if not (decision.keys() >= _OF_A_DECISION and isinstance(decision["decided_at"], str)):
        raise InputError(f"{path}: is damaged; remove it")
    return decision
