"""The training run: from a dataset folder to a run folder.

The loop is our own because Keras' `fit` does not work under every strategy (keras#20585). Several steps run in one
call of a `tf.function`; each divides its global batch among the replicas, and the gradients of all replicas are summed
before the update.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from preprocess import manifest as manifests
from preprocess import provenance
from preprocess.errors import FailedError, InputError
from preprocess.manifest import Manifest
from trainer import config as configs
from trainer import curves, evaluation, export, input_pipeline, models, run_folder
from trainer.config import TrainConfig
from trainer.devices import make_strategy
from trainer.evaluation import Metrics
from trainer.run_folder import append_json_line, write_json

_STEPS_PER_CALL = 8

_log = logging.getLogger(__name__)


def run(config: TrainConfig) -> str:
    """Trains, evaluates on the test split, exports and checks the export; returns the path of the run folder.

    Raises `InputError` for bad input; then there is no model.
    """
    configs.check(config)
    folder, manifest = _open_dataset(config)
    strategy = make_strategy(config.num_virtual_devices)
    _check_batch_size(config, manifest, strategy.num_replicas_in_sync)
    model, optimizer = _build(config, len(manifest.class_names), strategy)
    run_dir = Path(config.run_dir).expanduser()
    commit = provenance.commit()
    is_new = run_folder.start(
        run_dir,
        config,
        {
            "commit": commit.id,
            "dirty": commit.dirty,
            "versions": provenance.tool_versions("tensorflow", "tensorflow-cpu", "keras", "numpy"),
            "devices": [device.name for device in tf.config.list_logical_devices()],
            "seed": config.seed,
            "dataset": manifest.request.dataset,
            "data_fingerprint": manifest.data_fingerprint,
        },
    )
    if not is_new:
        _log.info("%s already holds this run, complete; nothing to do", run_dir)
        return str(run_dir)
    try:
        _train_and_export(config, folder, manifest, model, optimizer, strategy, run_dir)
    except BaseException as error:
        run_folder.end(run_dir, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
        raise
    run_folder.end(run_dir, run_folder.COMPLETED)
    return str(run_dir)


def _open_dataset(config: TrainConfig) -> tuple[Path, Manifest]:
    folder = Path(config.data).expanduser()
    manifest = manifests.read(folder)
    manifests.check_shards(folder, manifest)
    for split in ("train", "test"):
        if split not in manifest.splits:
            raise InputError(f"{folder}: has no {split} split")
    return folder, manifest


def _check_batch_size(config: TrainConfig, manifest: Manifest, num_replicas: int) -> None:
    batch, examples = config.global_batch_size, manifest.splits["train"].num_examples
    if batch > examples:
        raise InputError(f"--global-batch-size {batch}: is more than the {examples} training examples")
    if batch % num_replicas:
        raise InputError(f"--global-batch-size {batch}: cannot be divided evenly among {num_replicas} devices")


def _build(
    config: TrainConfig, num_classes: int, strategy: tf.distribute.Strategy
) -> tuple[keras.Model, keras.Optimizer]:
    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        try:
            model = models.build(config, num_classes)
        except ValueError as error:  # as Keras says that layers do not fit on each other
            raise InputError(f"--model {config.model}: {' '.join(str(error).split())}") from None
        optimizer = keras.optimizers.Adam(config.learning_rate)
        optimizer.build(model.trainable_variables)
    return model, optimizer


def _train_and_export(
    config: TrainConfig,
    folder: Path,
    manifest: Manifest,
    model: keras.Model,
    optimizer: keras.Optimizer,
    strategy: tf.distribute.Strategy,
    run_dir: Path,
) -> None:
    replicas = strategy.num_replicas_in_sync
    evaluation_batch_size = math.ceil(evaluation.GLOBAL_BATCH_SIZE / replicas) * replicas
    predict = evaluation.make_predict(lambda pixels: model(pixels, training=False), strategy)

    def predict_split(name: str) -> tuple[np.ndarray, np.ndarray]:
        return predict(input_pipeline.evaluation_batches(folder, manifest, name, evaluation_batch_size))

    batches = input_pipeline.training_batches(
        folder, manifest, config.global_batch_size, config.shuffle_buffer_examples, config.seed
    )
    steps_of_epochs = _steps_of_epochs(config, manifest.splits["train"].num_examples)
    epochs = []
    for epoch, seconds, metrics in _train(model, optimizer, strategy, batches, steps_of_epochs):
        line = {"epoch": epoch, "train": dataclasses.asdict(metrics)}
        if "validation" in manifest.splits:
            line["validation"] = dataclasses.asdict(evaluation.compute_metrics(*predict_split("validation")))
        epochs.append(line)
        append_json_line(run_dir / run_folder.METRICS_BY_EPOCH, line)
        rate = metrics.num_examples / seconds
        timing = {"epoch": epoch, "seconds": seconds, "examples_per_second": rate}
        append_json_line(run_dir / run_folder.TIMINGS_BY_EPOCH, timing)
        _log.info("epoch %d/%d  %s  %s examples/s", epoch, config.epochs, _describe(line), f"{rate:,.0f}")

    labels, probabilities = predict_split("test")
    test = evaluation.compute_metrics(labels, probabilities)
    np.savez_compressed(run_dir / run_folder.PREDICTIONS, labels=labels, probabilities=probabilities)
    curves.draw(epochs, run_dir / run_folder.CURVES)
    keras_model, saved_model = run_dir / run_folder.KERAS_MODEL, run_dir / run_folder.SAVED_MODEL
    export.save_keras(model, keras_model)
    export.save_saved_model(keras.models.load_model(keras_model), manifest.class_names, saved_model)
    test_batches = input_pipeline.evaluation_batches(folder, manifest, "test", evaluation.GLOBAL_BATCH_SIZE)
    export.check(keras_model, saved_model, test_batches, test)
    last_epoch = {split: figures for split, figures in epochs[-1].items() if split != "epoch"}
    write_json(run_dir / run_folder.METRICS, {"test": dataclasses.asdict(test), **last_epoch})
    _log.info("test accuracy %.2f %%, loss %.4f, on %s examples", 100 * test.accuracy, test.loss, f"{len(labels):,}")
    _log.info("SavedModel    %s", saved_model)
    _log.info("Keras model   %s", keras_model)
    _log.info("metrics       %s", run_dir / run_folder.METRICS)
    _log.info("curves        %s", run_dir / run_folder.CURVES)


def _steps_of_epochs(config: TrainConfig, num_examples: int) -> list[int]:
    """How many steps each epoch takes. Batches run on across its end, so the numbers may differ by one."""
    ends = [epoch * num_examples // config.global_batch_size for epoch in range(config.epochs + 1)]
    return [end - start for start, end in pairwise(ends)]


def _train(
    model: keras.Model,
    optimizer: keras.Optimizer,
    strategy: tf.distribute.Strategy,
    batches: tf.data.Dataset,
    steps_of_epochs: list[int],
) -> Iterator[tuple[int, float, Metrics]]:
    """Trains `model` in place. After each epoch yields its number, its seconds and its figures while training."""
    global_batch_size = batches.element_spec[1].shape[0]
    network = keras.Model(model.input, model.get_layer("logits").output)

    def replica_step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = network(tf.cast(images, tf.float32), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            # Divided by the global batch size, because the optimizer sums over replicas.
            loss = tf.reduce_sum(losses) / global_batch_size
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        correct = tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.int64))
        return tf.reduce_sum(losses), correct

    @tf.function
    def steps(iterator: Iterator, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct = tf.constant(0.0), tf.constant(0, tf.int64)
        for _ in tf.range(count):
            losses, corrects = strategy.run(replica_step, next(iterator))
            loss += strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)
            correct += strategy.reduce(tf.distribute.ReduceOp.SUM, corrects, axis=None)
        return loss, correct

    iterator = iter(strategy.experimental_distribute_dataset(batches))
    for epoch, num_steps in enumerate(steps_of_epochs, start=1):
        loss, correct, examples, start = 0.0, 0, 0, time.monotonic()
        # On a terminal only: in a log, the line after each epoch is enough.
        with tqdm(
            total=num_steps * global_batch_size,
            unit=" examples",
            unit_scale=True,
            leave=False,
            disable=None,
            desc=f"epoch {epoch}/{len(steps_of_epochs)}",
            dynamic_ncols=True,
        ) as bar:
            for first in range(0, num_steps, _STEPS_PER_CALL):
                count = min(_STEPS_PER_CALL, num_steps - first)
                sums = steps(iterator, tf.constant(count))
                loss, correct = loss + float(sums[0]), correct + int(sums[1])
                if not math.isfinite(loss):
                    raise FailedError(
                        f"the loss became {loss} in epoch {epoch}, at step {first + count} of {num_steps}; "
                        f"a learning rate below {optimizer.learning_rate.numpy():g} may help"
                    )
                examples += count * global_batch_size
                bar.update(count * global_batch_size)
                bar.set_postfix(loss=f"{loss / examples:.3f}", accuracy=f"{correct / examples:.1%}")
        yield epoch, time.monotonic() - start, Metrics(examples, correct / examples, loss / examples)


def _describe(line: dict) -> str:
    return "  ".join(
        f"{split} loss {line[split]['loss']:.4f} accuracy {100 * line[split]['accuracy']:.2f} %"
        for split in ("train", "validation")
        if split in line
    )
