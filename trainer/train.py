"""The training run: from a dataset folder to a run folder."""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common import config_io, provenance, storage
from common.dataset import manifest as manifests
from common.dataset.schema import IMAGE, WIDTH, Schema
from common.errors import InputError, PeerLostError
from common.signals import deferred_stop
from trainer import tasks
from trainer.config import settings as configs
from trainer.config import vertex
from trainer.config.settings import TrainConfig
from trainer.data import augmentation_steps, datasets, feeds
from trainer.data.datasets import Dataset
from trainer.data.examples import Examples
from trainer.data.order import by_width, make_order
from trainer.distributed import cluster, devices, supervisor
from trainer.distributed.cluster import Cluster
from trainer.distributed.randomness import StepRng
from trainer.evaluation.inference import make_predict
from trainer.evaluation.metrics import Metrics
from trainer.models import networks
from trainer.reporting import pictures
from trainer.runs import ancestry, results, run_folder
from trainer.runs.ancestry import Ancestry
from trainer.runs.uploader import Uploader
from trainer.tasks.task import Task
from trainer.training import build, checkpoints, initial, training_step
from trainer.training.checkpoints import Checkpoint, Progress
from trainer.training.epochs import make_plan
from trainer.training.hooks import CheckpointSaver, EpochLog, Hook, Throttle
from trainer.training.loop import Training
from trainer.training.setup import Setup
from trainer.training.tensorboard import Events
from trainer.training.training_step import TrainState

_LOST_PEER_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
_SHOWN_EXAMPLES, _SHOWN_LINES, _SHOWN_VERSIONS = 16, 4, 6

_log = logging.getLogger(__name__)


def run(config: TrainConfig, workers: Cluster | None = None) -> str:
    """Trains, evaluates on the test split, exports and checks the export; returns the path of the run folder.

    Resumes an interrupted run. Each worker of a cluster (by default the one in the environment) calls this; only the
    chief writes. Raises `InputError` for bad input, `FailedError` if the training failed, `PeerLostError` if a worker
    is missing, and `StoppedError` if it was stopped: then a checkpoint is saved, but no model.
    """
    configs.check(config)
    config = configs.resolve(config)
    workers = workers or cluster.from_environment()
    if not workers.is_alone and not supervisor.is_supervised():
        cluster.wait_for_peers(workers, config.execution.cluster_timeout)
    tf.config.experimental.enable_op_determinism()
    strategy = devices.make_strategy(config, workers)
    dataset = _open_dataset(config)
    run_dir, uploader = _local_run_dir(config, workers)
    with storage.lock(run_dir) if workers.is_chief else nullcontext():
        if uploader:
            uploader.pull()
        if run_folder.is_complete(run_dir, config, dataset.manifest.data_fingerprint):
            _log.info("%s: this run is already complete; nothing to do", config.run_dir)
            return str(storage.to_path(config.run_dir))
        with ExitStack() as stack:
            if workers.is_chief:
                if uploader:
                    stack.enter_context(uploader.running())
                stack.enter_context(_recorded_end(run_dir))
            stack.enter_context(_translate_lost_peers(workers))
            task = tasks.of(dataset.schema)
            saved = checkpoints.restore_latest(run_dir / run_folder.CHECKPOINTS)
            model, lineage = _make_model(config, task, dataset.schema, strategy, run_dir if saved else None)
            execution = _choose_execution(config, strategy, model, dataset.schema)
            setup = Setup(config, dataset, task, workers, strategy, execution, run_dir, lineage)
            _carry_out(setup, model, saved, uploader)
    return str(storage.to_path(config.run_dir))


def _local_run_dir(config: TrainConfig, workers: Cluster) -> tuple[Path, Uploader | None]:
    """The local folder that the run is written to, and, if the run folder lies in a bucket, its uploader."""
    run_dir = storage.to_path(config.run_dir)
    if isinstance(run_dir, Path):
        return run_dir, None
    name = hashlib.sha256(config.run_dir.encode()).hexdigest()[:32]
    worker = "" if workers.is_alone else f"-{workers.index}"  # several workers may share a machine
    local = Path(config.data.cache_dir).expanduser() / "runs" / f"{name}{worker}"
    board = vertex.event_folder()
    is_elsewhere = board and storage.to_path(board) != run_dir / run_folder.LOGS
    return local, Uploader(local, run_dir, storage.to_path(board) / run_dir.name if is_elsewhere else None)


@contextmanager
def _recorded_end(run_dir: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if (run_dir / run_folder.RUN).exists():
            message = next(iter(str(storage.to_user_error(error) or error).splitlines()), "")
            run_folder.mark_finished(run_dir, f"{type(error).__name__}: {message}".rstrip(": "))
        raise
    run_folder.mark_finished(run_dir, run_folder.COMPLETED)


@contextmanager
def _translate_lost_peers(workers: Cluster) -> Iterator[None]:
    try:
        yield
    except _LOST_PEER_ERRORS as error:
        if workers.is_alone:
            raise
        raise PeerLostError(f"another worker was lost ({type(error).__name__}); start all workers again") from error


def _open_dataset(config: TrainConfig) -> Dataset:
    dataset = datasets.open(config.data.folder, config.data.cache_dir, config.data.cache_limit_gb)
    folder, splits = dataset.folder, dataset.manifest.splits
    for split in ("train", "test"):
        if split not in splits:
            raise InputError(f"{folder}: has no {split} split")
    augmentation_steps.check_fits(config.augmentation.steps, dataset.schema)
    batch, examples = config.global_batch_size, splits["train"].num_examples
    if batch > examples:
        raise InputError(f"--global-batch-size {batch}: is more than the {examples} training examples")
    if "validation" not in splits and (config.select == "best" or config.early_stopping_epochs):
        flag = "--select best" if config.select == "best" else "--early-stopping-epochs"
        raise InputError(f"{flag}: needs a validation split, and {folder} has none")
    dataset.warn_of_another_conversion(tasks.of(dataset.schema).conversion)
    return dataset


def _make_model(
    config: TrainConfig, task: Task, schema: Schema, strategy: tf.distribute.Strategy, resumed_dir: Path | None
) -> tuple[keras.Model, Ancestry]:
    """The network with its first weights, and where they come from.

    A run that is resumed, in `resumed_dir`, has its weights in a checkpoint, and needs no other run for them.
    """
    if config.initialize_from is None or resumed_dir:
        lineage = ancestry.read(resumed_dir) if config.initialize_from else Ancestry()
        return build.export_model(config, task, schema, strategy), lineage
    origin = initial.open_run(config, schema)
    model = build.export_model(config, task, schema, strategy)
    initial.carry_over(model, origin, config, schema, task.last_layers)
    return model, ancestry.of_run(config.initialize_from, origin)


def _choose_execution(
    config: TrainConfig, strategy: tf.distribute.Strategy, model: keras.Model, schema: Schema
) -> devices.ExecutionPlan:
    num_replicas, batch = strategy.num_replicas_in_sync, config.global_batch_size
    if batch % num_replicas:
        raise InputError(f"--global-batch-size {batch}: cannot be divided evenly among {num_replicas} devices")
    parameters, flops = model.count_params(), networks.count_flops(model, schema.image_shape)
    _log.info("%s: %s parameters, %s floating-point operations an image", config.model, f"{parameters:,}", f"{flops:,}")
    obstacle = ""
    if networks.has_max_pooling(model):  # whose gradient is not deterministic there
        obstacle = f"{config.model} has max pooling"
    elif not tasks.of(schema).can_compile_loss:
        obstacle = f"it has no operation for the loss of {schema.task}"
    return devices.choose_execution(config, num_replicas, obstacle, flops)


def _carry_out(setup: Setup, model: keras.Model, saved: Checkpoint | None, uploader: Uploader | None) -> None:
    """Opens the data, trains, evaluates and publishes.

    `model` is the network that is evaluated and exported, `saved` the checkpoint to go on from, if any.
    """
    splits = _open_splits(setup)
    train_state = build.training_model(setup, model)
    events = Events(setup.run_dir / run_folder.LOGS) if setup.workers.is_chief else None
    if events:
        run_folder.begin(setup.run_dir, setup.config, _run_info(setup, model))
        if setup.ancestry.runs:
            ancestry.write(setup.run_dir, setup.ancestry)
    training = _make_training(setup, splits["train"], train_state, saved, _make_hooks(setup, events, uploader))
    if events:
        run_folder.truncate_history(setup.run_dir, training.progress.epochs)
        _show_augmentation(setup, splits["train"], events)
    devices.check_agreement(setup.workers, setup.strategy, training.progress.step)

    head = setup.task.head(model)
    with deferred_stop() as stop:
        predict = make_predict(
            lambda batch: setup.task.answer(batch, head(batch, False)),
            setup.strategy,
            stop.raise_if_made,
        )

        def validate() -> Metrics:
            build.set_weights(model, training.weights_to_evaluate())
            predictions = predict(splits["validation"])
            for line in setup.task.show_epoch(predictions, setup.dataset.schema):
                _log.info("%s", line)
            return setup.task.measure(predictions)

        train_steps = training_step.make_train_steps(setup, train_state, training.schedule)
        make_blocks = _make_feed(setup, splits["train"], training.progress.shuffle_window)
        training.run(train_steps, make_blocks, validate if "validation" in splits else None, stop)

    build.set_weights(model, training.selected_weights())
    predictions = {split: predict(splits[split]) for split in ("validation", "test") if split in splits}
    if events:
        results.publish(setup, model, training.progress, predictions, splits)
        events.close()
    devices.wait_for_all(setup.workers, setup.strategy)


def _open_splits(setup: Setup) -> dict[str, Examples]:
    """Opens and checks all splits. Splits in a bucket are fetched first, except a training split that is streamed.

    Those that figures are measured on have no examples that the first weights have seen.
    """
    max_examples, dataset = configs.max_examples(setup.config), setup.dataset
    splits = {}
    for name in dataset.manifest.splits:
        open_split = dataset.streamed_examples if name == "train" and _is_streamed(setup) else dataset.examples
        splits[name] = open_split(name, max_examples)
        if name != "train":
            splits[name] = ancestry.leave_out_seen(setup.ancestry, name, splits[name])
    return splits


def _is_streamed(setup: Setup) -> bool:
    size_bytes = setup.dataset.manifest.splits["train"].num_examples * setup.dataset.schema.example_bytes
    return size_bytes > 1e6 * setup.config.data.in_memory_limit_mb


def _run_info(setup: Setup, model: keras.Model) -> dict[str, Any]:
    """The content of `run.json`."""
    commit, manifest, ancestors = provenance.commit(), setup.dataset.manifest, setup.ancestry.runs
    of_ancestors = {ancestry.INITIALIZED_FROM: [dataclasses.asdict(run) for run in ancestors]} if ancestors else {}
    return of_ancestors | {
        "commit": commit.id,
        "dirty": commit.dirty,
        "versions": provenance.tool_versions("tensorflow", "tensorflow-cpu", "keras", "numpy"),
        "devices": devices.describe(),
        "strategy": type(setup.strategy).__name__,
        "num_replicas": setup.num_replicas,
        "execution": dataclasses.asdict(setup.execution),
        "parameters": model.count_params(),
        "flops_per_image": networks.count_flops(model, manifest.schema.image_shape),
        "seed": setup.config.seed,
        "dataset": config_io.to_plain(manifest.request),
        "schema": config_io.to_plain(manifest.schema),
        "num_examples": {name: split.num_examples for name, split in manifest.splits.items()},
        "data_fingerprint": manifest.data_fingerprint,
        "test_fingerprint": manifests.fingerprint(manifest.schema, {"test": manifest.splits["test"]}),
        "class_names": manifest.class_names,
    }


def _make_hooks(setup: Setup, events: Events | None, uploader: Uploader | None) -> list[Hook]:
    """The hooks of the chief; the other workers write nothing and have none."""
    if events is None:
        return []
    throttle = [Throttle(uploader)] if uploader else []
    return [EpochLog(setup.run_dir), events, CheckpointSaver(setup.run_dir), *throttle]


def _make_training(
    setup: Setup, examples: Examples, train_state: TrainState, saved: Checkpoint | None, hooks: list[Hook]
) -> Training:
    """The training, restored from the last checkpoint, if any. All workers read the run folder's checkpoints."""
    config, fingerprint = setup.config, setup.dataset.manifest.data_fingerprint
    num_examples = examples.num_examples
    shuffle_window = min(config.data.shuffle_buffer_examples, num_examples) if _is_streamed(setup) else num_examples
    state, weights = Progress(fingerprint, shuffle_window), None
    if saved:
        state, weights = saved
        if state.data_fingerprint != fingerprint:
            folder = setup.run_dir / run_folder.CHECKPOINTS
            raise InputError(f"{folder}: holds checkpoints of a run on other data; give another --run-dir")
    training = Training(
        setup, make_plan(config, num_examples, setup.execution.steps_per_execution), train_state, state, hooks
    )
    if weights:
        training.restore(weights)
        _log.info("resuming from step %d, in epoch %d", state.step, len(state.epochs) + 1)
    return training


def _make_feed(
    setup: Setup, examples: Examples, shuffle_window: int
) -> Callable[[Iterator[tuple[int, int]]], Iterator[feeds.StepBlock]]:
    is_streamed, config = _is_streamed(setup), setup.config
    size = f"{examples.num_examples:,} training examples, {examples.size_bytes / 1e6:,.0f} MB,"
    _log.info("%s are %s", size, "streamed" if is_streamed else "held in memory")
    order, widths = make_order(examples.shard_sizes, shuffle_window, config.seed), None
    if examples.has_known_widths:
        widths = examples.values(WIDTH)
        order = by_width(order, widths, config.global_batch_size, config.seed)
    elif examples.schema.has_width:
        _log.warning("the examples are streamed from a bucket, so batches are not sorted by width, and are slower")
    feed = feeds.Feed(
        examples,
        order,
        config.global_batch_size,
        setup.execution.steps_per_execution,
        devices.local_replicas(setup.strategy),
        widths,
    )
    return feed.streamed if is_streamed else feed.in_memory


def _show_augmentation(setup: Setup, examples: Examples, events: Events) -> None:
    config = setup.config
    if not config.augmentation.steps:
        return
    shown, draw = _SHOWN_EXAMPLES, pictures.draw_augmentation
    if examples.schema.has_width:
        shown, draw = _SHOWN_LINES, pictures.draw_augmentation_of_lines
    batch = examples.take(np.arange(min(shown, examples.num_examples)))
    steps = augmentation_steps.parse(config.augmentation.steps)
    versions = [
        setup.task.augment(batch, steps, StepRng(config.seed, tf.constant(step, tf.int64), tf.constant(0)))[
            IMAGE
        ].numpy()
        for step in range(_SHOWN_VERSIONS)
    ]
    path = setup.run_dir / run_folder.AUGMENTATION
    titles = setup.task.titles(batch, setup.dataset.schema)
    draw(batch[IMAGE], versions, titles, config.augmentation.steps, path)
    events.picture("augmentation", path)
    _log.info("augmentation  %s", path)
