"""The training run: from a dataset folder to a run folder."""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from common import config_io, provenance, storage
from common.dataset import manifest as manifests
from common.dataset.manifest import Manifest
from common.dataset.schema import IMAGE, LABEL, Schema
from common.errors import InputError, PeerLostError
from common.signals import StopRequest, deferred_stop
from trainer import check, report
from trainer import config as configs
from trainer.config import ReportConfig, TrainConfig
from trainer.data import augmentation_steps, cache, input_pipeline
from trainer.data.augmentation import augment
from trainer.data.input_pipeline import Examples
from trainer.distributed import cluster, devices, randomness
from trainer.distributed.devices import Speed
from trainer.distributed.randomness import Draws
from trainer.evaluation import metrics
from trainer.evaluation.inference import make_predict
from trainer.evaluation.metrics import Metrics
from trainer.models import networks, normalization
from trainer.reporting import model_card, pictures
from trainer.runs import run_folder
from trainer.runs.uploader import Mirror
from trainer.serving import saved_model
from trainer.training import checkpoints, optimizers, training_step
from trainer.training.checkpoints import State
from trainer.training.loop import Training, make_plan
from trainer.training.tensorboard import Events
from trainer.training.training_step import Trained

_LOST_PEER_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
_SHOWN_EXAMPLES, _SHOWN_VERSIONS = 16, 6

_log = logging.getLogger(__name__)


def run(config: TrainConfig) -> str:
    """Trains, evaluates on the test split, exports and checks the export; returns the path of the run folder.

    Goes on with an interrupted run. With several workers, each calls this; only the chief writes. Raises `InputError`
    for bad input, `FailedError` if the training failed, `PeerLostError` if a worker is missing, and `StoppedError`
    after a checkpoint was saved; then there is no model.
    """
    configs.check(config)
    config = configs.resolve(config)
    workers = cluster.from_environment()
    if workers and not cluster.is_supervised():
        cluster.wait_for_peers(workers, config.cluster_timeout)
    tf.config.experimental.enable_op_determinism()
    strategy = devices.make_strategy(config)
    manifest = _read_manifest(config)
    is_chief = cluster.is_chief()
    run_dir, mirror = _local_run_dir(config, workers)
    with storage.lock(run_dir) if is_chief else nullcontext():
        if mirror:
            mirror.pull()
        if run_folder.is_complete(run_dir, config, manifest.data_fingerprint):
            _log.info("%s already holds this run, complete; nothing to do", config.run_dir)
            return str(storage.to_path(config.run_dir))
        with ExitStack() as stack:
            if is_chief:
                if mirror:
                    stack.enter_context(mirror.running())
                stack.enter_context(_recorded_end(run_dir))
            stack.enter_context(_lost_peers_told(workers))
            _carry_out(config, manifest, strategy, run_dir, mirror)
    return str(storage.to_path(config.run_dir))


def _local_run_dir(config: TrainConfig, workers: cluster.Cluster | None) -> tuple[Path, Mirror | None]:
    """Where the run folder is written; for one in a bucket, what brings it there."""
    run_dir = storage.to_path(config.run_dir)
    if isinstance(run_dir, Path):
        return run_dir, None
    name = hashlib.sha256(config.run_dir.encode()).hexdigest()[:32]
    worker = f"-{workers.index}" if workers else ""  # several may share a machine
    local = Path(config.cache_dir).expanduser() / "runs" / f"{name}{worker}"
    board = configs.event_folder_of_vertex()
    is_elsewhere = board and storage.to_path(board) != run_dir / run_folder.LOGS
    return local, Mirror(local, run_dir, storage.to_path(board) / run_dir.name if is_elsewhere else None)


@contextmanager
def _recorded_end(run_dir: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if (run_dir / run_folder.RUN).exists():
            what = next(iter(str(storage.explained(error) or error).splitlines()), "")
            run_folder.end(run_dir, f"{type(error).__name__}: {what}".rstrip(": "))
        raise
    run_folder.end(run_dir, run_folder.COMPLETED)


@contextmanager
def _lost_peers_told(workers: cluster.Cluster | None) -> Iterator[None]:
    try:
        yield
    except _LOST_PEER_ERRORS as error:
        if not workers:
            raise
        raise PeerLostError(f"another worker was lost ({type(error).__name__}); start all workers again") from error


def _read_manifest(config: TrainConfig) -> Manifest:
    folder = storage.to_path(config.data)
    manifest = manifests.read(folder)
    for split in ("train", "test"):
        if split not in manifest.splits:
            raise InputError(f"{folder}: has no {split} split")
    augmentation_steps.check_size(config.augmentation, *manifest.schema.image_shape[:2])
    batch, examples = config.global_batch_size, manifest.splits["train"].num_examples
    if batch > examples:
        raise InputError(f"--global-batch-size {batch}: is more than the {examples} training examples")
    if "validation" not in manifest.splits and (config.select == "best" or config.early_stopping_epochs):
        flag = "--select best" if config.select == "best" else "--early-stopping-epochs"
        raise InputError(f"{flag}: {folder} has no validation split to go by")
    return manifest


def _open_splits(config: TrainConfig, manifest: Manifest) -> dict[str, Examples]:
    """All splits, checked. What lies in a bucket is fetched, but for a training split that is streamed."""
    folder, cache_dir = storage.to_path(config.data), Path(config.cache_dir)
    limit_bytes = 1e9 * config.cache_limit_gb
    max_examples = configs.max_examples(config)
    comes_later = _is_streamed(config, manifest) and not isinstance(folder, Path)
    staged = [name for name in manifest.splits if not (name == "train" and comes_later)]
    local = cache.stage(folder, manifest, staged, cache_dir, limit_bytes)
    splits = {name: input_pipeline.open_split(local, manifest, name, max_examples) for name in staged}
    if comes_later:
        window = cache.MovingWindow(
            *(folder, manifest, "train", cache_dir, limit_bytes),
            lambda path, shard: input_pipeline.open_shard(path, shard, manifest.schema),
        )
        splits["train"] = input_pipeline.open_examples(window, manifest, "train", max_examples)
    return splits


def _is_streamed(config: TrainConfig, manifest: Manifest) -> bool:
    size_bytes = manifest.splits["train"].num_examples * manifest.schema.example_bytes
    return size_bytes > 1e6 * config.in_memory_limit_mb


def _carry_out(
    config: TrainConfig, manifest: Manifest, strategy: tf.distribute.Strategy, run_dir: Path, mirror: Mirror | None
) -> None:
    splits = _open_splits(config, manifest)
    num_replicas = strategy.num_replicas_in_sync
    if config.global_batch_size % num_replicas:
        batch = config.global_batch_size
        raise InputError(f"--global-batch-size {batch}: cannot be divided evenly among {num_replicas} devices")
    served = _build_served(config, manifest.schema, strategy)
    parameters, flops = served.count_params(), networks.count_flops(served)
    _log.info("%s: %s parameters, %s floating-point operations an image", config.model, f"{parameters:,}", f"{flops:,}")
    speed = devices.choose_speed(config, num_replicas, networks.has_max_pooling(served), flops)
    trained = _build_trained(config, manifest.schema, served, speed, strategy)
    is_chief = cluster.is_chief()
    if is_chief:
        commit = provenance.commit()
        facts = {
            "commit": commit.id,
            "dirty": commit.dirty,
            "versions": provenance.tool_versions("tensorflow", "tensorflow-cpu", "keras", "numpy"),
            "devices": devices.describe(),
            "strategy": type(strategy).__name__,
            "num_replicas": num_replicas,
            "speed": dataclasses.asdict(speed),
            "parameters": parameters,
            "flops_per_image": flops,
            "seed": config.seed,
            "dataset": config_io.to_plain(manifest.request),
            "num_examples": {name: split.num_examples for name, split in manifest.splits.items()},
            "data_fingerprint": manifest.data_fingerprint,
            "test_fingerprint": manifests.fingerprint(manifest.schema, {"test": manifest.splits["test"]}),
            "class_names": manifest.class_names,
            "image_shape": manifest.schema.image_shape,
        }
        run_folder.start(run_dir, config, facts)

    events = Events(run_dir / run_folder.LOGS) if is_chief else None
    training = _make_training(config, manifest, splits["train"], speed, trained, run_dir, events, mirror)
    if is_chief:
        run_folder.go_on_from(run_dir, training.state.epochs)
        if config.augmentation:
            _show_augmentation(config, manifest, splits["train"], run_dir, events)
    devices.check_agreement(strategy, training.state.step)
    with deferred_stop() as stop:
        predict = make_predict(lambda pixels: served(pixels, training=False), strategy, stop.raise_if_made)

        def validate() -> Metrics:
            _set_weights(served, training.weights_to_evaluate())
            return metrics.compute(*predict(splits["validation"]))

        _train(config, manifest, splits, speed, strategy, trained, training, validate, stop)
    _set_weights(served, training.selected_weights())
    predictions = {split: predict(splits[split]) for split in ("validation", "test") if split in splits}
    if is_chief:
        _leave_results(config, manifest, served, training.state, predictions, run_dir)
        events.close()
    devices.wait_for_all(strategy)


def _set_weights(model: keras.Model, weights: list[np.ndarray]) -> None:
    for variable, value in zip(model.weights, weights, strict=True):
        variable.assign(value)


def _build_served(config: TrainConfig, schema: Schema, strategy: tf.distribute.Strategy) -> keras.Model:
    """The network for evaluation and export: of Keras' own layers only, in float32."""
    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        try:
            return networks.build(config, schema)
        except ValueError as error:  # as Keras says that layers do not fit on each other
            raise InputError(f"--model {config.model}: {' '.join(str(error).split())}") from None


def _build_trained(
    config: TrainConfig, schema: Schema, served: keras.Model, speed: Speed, strategy: tf.distribute.Strategy
) -> Trained:
    """The same network, with the same initial weights, as it is trained."""
    with strategy.scope():
        try:
            keras.config.set_dtype_policy("mixed_bfloat16" if speed.precision == "bfloat16" else "float32")
            network = networks.build(config, schema, _parts_for_training(strategy))
        finally:
            keras.config.set_dtype_policy("float32")
        network.set_weights(served.get_weights())
        optimizer = optimizers.make_optimizer(config)
        optimizer.build(network.trainable_variables)
        average = [tf.Variable(weight.value) for weight in network.weights] if config.ema_decay else []
    return Trained(network, optimizer, average)


def _parts_for_training(strategy: tf.distribute.Strategy) -> networks.Parts:
    """What draws and normalises over a batch so that it does not matter how many devices share it."""
    is_shared = strategy.num_replicas_in_sync > 1
    of_keras = partial(keras.layers.BatchNormalization, synchronized=True)
    return networks.Parts(randomness.Dropout, of_keras if is_shared else normalization.BatchNormalization)


def _make_training(
    config: TrainConfig,
    manifest: Manifest,
    examples: Examples,
    speed: Speed,
    trained: Trained,
    run_dir: Path,
    events: Events | None,
    mirror: Mirror | None,
) -> Training:
    """The training as its last checkpoint left it, or a new one. All workers read the run folder's checkpoints."""
    is_streamed = _is_streamed(config, manifest)
    window = min(config.shuffle_buffer_examples, examples.num_examples) if is_streamed else examples.num_examples
    state, weights = State(manifest.data_fingerprint, window), None
    checkpoints_folder = run_dir / run_folder.CHECKPOINTS
    if saved := checkpoints.restore_latest(checkpoints_folder):
        state, weights = saved
        if state.data_fingerprint != manifest.data_fingerprint:
            raise InputError(f"{checkpoints_folder}: are of a run on other data; give another --run-dir")
    plan = make_plan(config, examples.num_examples, speed.steps_per_call)
    schedule = optimizers.make_schedule(config)
    if cluster.is_chief():
        after_saving = mirror.hold_if_far_behind if mirror else None
        training = Training(config, plan, schedule, trained, state, run_dir, events, after_saving)
    else:
        training = Training(config, plan, schedule, trained, state)
    if weights:
        training.restore(weights)
        _log.info("going on from step %d, in epoch %d", state.step, len(state.epochs) + 1)
    return training


def _train(
    config: TrainConfig,
    manifest: Manifest,
    splits: dict[str, Examples],
    speed: Speed,
    strategy: tf.distribute.Strategy,
    trained: Trained,
    training: Training,
    validate: Callable[[], Metrics],
    stop: StopRequest,
) -> None:
    examples, replicas = splits["train"], devices.local_replicas(strategy)
    class_weights = None
    if config.class_weights == "balanced":
        class_weights = training_step.balanced_class_weights(manifest.splits["train"].class_histogram)
    take_steps = training_step.make_steps(
        trained, training.schedule, class_weights, config, speed, strategy, cluster.is_chief()
    )
    order = input_pipeline.make_order(examples.shard_sizes, training.state.window, config.seed)
    is_streamed = _is_streamed(config, manifest)
    size = f"{examples.num_examples:,} training examples, {examples.size_bytes / 1e6:,.0f} MB,"
    _log.info("%s are %s", size, "streamed" if is_streamed else "held in memory")
    feed = input_pipeline.streamed if is_streamed else input_pipeline.in_memory

    def make_calls(calls: Iterator[tuple[int, int]]) -> Iterator[input_pipeline.Call]:
        return feed(examples, order, calls, config.global_batch_size, speed.steps_per_call, replicas)

    training.run(take_steps, make_calls, validate if "validation" in splits else None, stop)


def _show_augmentation(
    config: TrainConfig, manifest: Manifest, examples: Examples, run_dir: Path, events: Events
) -> None:
    batch = examples.take(np.arange(min(_SHOWN_EXAMPLES, examples.num_examples)))
    steps = augmentation_steps.parse(config.augmentation)
    versions = [
        augment(batch[IMAGE], steps, Draws(config.seed, tf.constant(step, tf.int64), tf.constant(0))).numpy()
        for step in range(_SHOWN_VERSIONS)
    ]
    names = [manifest.class_names[label] for label in batch[LABEL]]
    path = run_dir / run_folder.AUGMENTATION
    pictures.draw_augmentation(batch[IMAGE], np.stack(versions), names, config.augmentation, path)
    events.picture("augmentation", path)
    _log.info("augmentation  %s", path)


def _leave_results(
    config: TrainConfig,
    manifest: Manifest,
    served: keras.Model,
    state: State,
    predictions: dict[str, tuple[np.ndarray, np.ndarray]],
    run_dir: Path,
) -> None:
    """Writes what the run is for. `predictions` are labels and probabilities by split."""
    temperature = metrics.fit_temperature(*predictions["validation"]) if "validation" in predictions else 1.0
    figures = {
        split: metrics.compute_all(*found, manifest.class_names, temperature) for split, found in predictions.items()
    }
    labels, probabilities = predictions["test"]
    run_folder.write_predictions(run_dir / run_folder.PREDICTIONS, labels, probabilities)
    pictures.draw_curves(state.epochs, run_dir / run_folder.CURVES)

    keras_file, export_folder = run_dir / run_folder.KERAS_MODEL, run_dir / run_folder.SAVED_MODEL
    saved_model.save_keras(served, keras_file)
    saved_model.save_saved_model(keras.models.load_model(keras_file), manifest.schema, temperature, export_folder)

    epoch = state.best_epoch if config.select == "best" else len(state.epochs)
    figures |= {"train": state.epochs[epoch - 1]["train"], "selected_epoch": epoch, "temperature": temperature}
    run_folder.write_json(run_dir / run_folder.METRICS, figures)
    if config.verify_export:
        check.in_fresh_process(run_dir)
    model_card.write(run_dir)
    report.run(ReportConfig((str(run_dir),)))
    for line in metrics.headlines(figures["test"]):
        _log.info("test %s", line)
    for name, file in (
        ("SavedModel", run_folder.SAVED_MODEL),
        ("Keras model", run_folder.KERAS_MODEL),
        ("metrics", run_folder.METRICS),
        ("model card", f"{run_folder.SAVED_MODEL}/{model_card.FILE_NAME}"),
        ("report", run_folder.REPORT),
        ("TensorBoard", run_folder.LOGS),
    ):
        _log.info("%-13s %s", name, run_dir / file)
