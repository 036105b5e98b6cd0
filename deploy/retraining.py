"""The retraining that every target starts: preprocess, train, evaluate, gate, promote.

Each step finds what it has done already, by what it was done with: the dataset by its manifest, the run by its folder's
name, which is made of the data and the recipe, the evaluation and the decision by the models and the data. So a
retraining that was killed goes on at the first step that is not done.
"""

import json
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from common import config_io, provenance, storage
from common.cli import to_flags
from common.dataset import manifest as manifests
from common.errors import FailedError, InputError, PeerLostError, StoppedError, TemporaryError
from deploy import serving as servings
from deploy.gate.decision import Decision, decide
from deploy.gate.figures import Evaluation
from deploy.job import Job
from deploy.serving import Lost, Model, NewVersion, Serving
from deploy.state import lock, progress
from deploy.state.progress import Decided, Recorder, Steps
from trainer import config as configs
from trainer.config import TrainConfig
from trainer.distributed import cluster, gpus
from trainer.main import import_tensorflow
from trainer.runs import run_folder

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

GATE = "gate.json"
EVALUATION = "evaluation.npz"

_ROUNDS = 5
"""How often a challenger is compared anew because the champion was replaced meanwhile."""
_POLL_SECONDS = 1.0
_ERRORS = {1: FailedError, 2: InputError, 75: TemporaryError, 143: StoppedError}

_log = logging.getLogger(__name__)


def run(job: Job, if_changed: bool = False) -> str:
    """Carries out a retraining, or what is left of one; returns in one line how it ended.

    With several workers, each calls this; only the chief does more than train. Raises what the steps raise:
    `InputError`, `FailedError`, `TemporaryError`, `StoppedError`.
    """
    gpus.check_driver()
    workers = cluster.from_environment()
    if not workers.is_chief:
        return _train_along(job, workers)
    with lock.held(job.folder) as check_lock:
        recorder = progress.begin(job.folder, job.name, provenance.commit().id, check_lock)
        with recorder.ending():
            are_needed = _retrain(job, if_changed, workers, recorder)
        if not workers.is_alone and not are_needed:
            with suppress(PeerLostError):  # they may be done since an earlier start of the chief, and gone
                cluster.wait_for_peers(workers, job.train.cluster_timeout)
    return f"{job.name}: {recorder.status.outcome}: {recorder.status.reason}"


def _retrain(job: Job, if_changed: bool, workers: cluster.Cluster, recorder: Recorder) -> bool:
    """Whether the other workers, if there are any, were needed."""
    # What cannot be read or written is told before the work rather than after it.
    servings.read(job.serving_folder)
    storage.make_folder(job.serving_folder)
    fingerprint = _preprocess(job, recorder)
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
            cluster.wait_for_peers(workers, config.cluster_timeout)  # who are told by the status what there is to train
        if are_needed or workers.is_alone:
            _train(config, workers)
        result.was_done = before == _content(storage.to_path(config.run_dir) / run_folder.RUN)
        result.text = config.run_dir
    end = _decide_and_promote(job, config, recorder.step)
    decided = replace(decided, at=progress.now())
    recorder.update(outcome=end.outcome, reason=end.reason, version=end.version, decided=decided)
    return are_needed


def _preprocess(job: Job, recorder: Recorder) -> str:
    """The fingerprint of the dataset, which is there then."""
    from preprocess import pipeline

    with recorder.step("preprocess") as result:
        path = manifests.dataset_folder(job.preprocess.data_dir, job.preprocess.dataset) / manifests.FILE_NAME
        before = _content(path)
        folder = pipeline.run(job.preprocess)
        manifest = manifests.read(path.parent)
        result.was_done = before == _content(path)
        counts = ", ".join(f"{split.num_examples:,} {name}" for name, split in manifest.splits.items())
        result.text = f"{folder}: {counts}"
    return manifest.data_fingerprint


def _content(path: "AnyPath") -> bytes | None:
    return storage.read_versioned(path).content


def _train(config: TrainConfig, workers: cluster.Cluster) -> None:
    if not workers.is_alone:
        flags = to_flags(config)
        if code := cluster.supervise(["train", *flags], config.cluster_timeout):
            raise _ERRORS.get(code, FailedError)(f"the training ended with exit code {code}; see what it said above")
        return
    import_tensorflow()
    from trainer import train

    train.run(config)


def _train_along(job: Job, workers: cluster.Cluster) -> str:
    """What other workers than the chief do: they wait until it knows what there is to train, and train."""
    cluster.wait_for_peers(workers, job.train.cluster_timeout)
    status = progress.read(job.folder)
    if status is None:
        raise InputError(f"{job.folder}: the chief keeps its state elsewhere; runs_dir must be a place that all see")
    if status.outcome:
        return f"{job.name}: {status.outcome}, without anything to train: {status.reason}"
    _train(replace(job.train, run_dir=status.run), workers)
    _wait_until_completed(status.run, job.train.cluster_timeout)
    return f"{job.name}: trained as worker {workers.index}; the chief goes on alone"


def _wait_until_completed(run: str, timeout_seconds: float) -> None:
    """Returns when the chief has brought the run to its end: until then it might have to go on with all workers."""
    deadline = time.monotonic() + timeout_seconds
    while not run_folder.is_completed(storage.to_path(run)):
        if time.monotonic() > deadline:
            raise PeerLostError(
                f"the chief did not complete {run} within {timeout_seconds:g} s; start all workers again"
            )
        time.sleep(_POLL_SECONDS)


def promote(job: Job, run: str) -> str:
    """Sends the model of a finished run through the gate and serves it if it passes; says in one line what came out."""
    folder = storage.to_path(run)
    results = run_folder.read_results(folder)
    manifest = manifests.read(storage.to_path(job.train.data))
    if results.run_info.get("data_fingerprint") != manifest.data_fingerprint:
        raise InputError(f"--run {run}: was trained on other data than {job.train.data} holds now")
    with lock.held(job.folder):
        end = _decide_and_promote(job, replace(job.train, run_dir=run), progress.unrecorded)
    return f"{job.name}: {end.outcome}: {end.reason}"


@dataclass(frozen=True)
class _End:
    outcome: Literal["promoted", "refused", "kept"]
    reason: str
    version: int | None
    """That is served now."""


def _decide_and_promote(job: Job, config: TrainConfig, step: Steps) -> _End:
    """What comes of the model of a finished run."""
    import_tensorflow()
    for _ in range(_ROUNDS):
        end = _compare_and_promote(job, config, step)
        if not isinstance(end, Lost):
            return end
        _log.info("the model in use was replaced meanwhile; comparing again")
    raise FailedError(f"{job.serving_folder}: the model in use was replaced {_ROUNDS} times meanwhile; start again")


def _compare_and_promote(job: Job, config: TrainConfig, step: Steps) -> _End | Lost:
    """One round of it: against the model that is in use at its beginning."""
    from deploy.gate import comparison

    folder = storage.to_path(config.run_dir)
    source = folder / run_folder.SAVED_MODEL
    serving = servings.read(job.serving_folder)
    servings.sync_models_config(serving.folder)  # a job may have been killed before it did
    in_use = serving.current.version if serving.current else None
    if in_use and serving.current.models[in_use].fingerprint == servings.fingerprint(source):
        return _End("kept", f"version {in_use} is this very model", in_use)
    with step("evaluate") as result:
        evaluation, trained_on, result.was_done = comparison.evaluate(config, serving, folder / EVALUATION)
        result.text = f"{evaluation.is_gate.sum():,} of {len(evaluation.labels):,} test examples decide"
    with step("gate") as result:
        decision, result.was_done = _gate(job, evaluation, serving, folder / GATE)
        result.text = decision.outcome
    if decision.outcome == "refuse":
        return _End("refused", decision.reason, in_use)
    with step("promote") as result:
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
    """The decision, which is left in the run folder; and whether it was there already."""
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
    """A decision that was left at `path`, as plain data; empty where there is none."""
    try:
        return dict(json.loads(_content(path) or b"{}"))
    except (ValueError, TypeError):
        raise InputError(f"{path}: is damaged; remove it") from None
