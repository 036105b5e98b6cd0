"""Checks that the exported models of a run are the network that was trained, from the run folder alone."""

import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import keras
import tensorflow as tf

from common.errors import FailedError
from common.storage import local_copy, to_path
from trainer import tasks
from trainer.config.commands import CheckConfig
from trainer.data import datasets
from trainer.evaluation.inference import make_predict
from trainer.runs import run_folder

_TOLERANCE = 1e-6
_TOLERANCE_OF_GPU = 1e-3  # its convolutions round to TF32, differently for each batch size

_log = logging.getLogger(__name__)


def in_fresh_process(run_dir: Path) -> None:
    """Checks a run as `run` does, in a fresh process. Raises `FailedError` with that process' error."""
    package = str(Path(__file__).resolve().parent.parent)
    paths = filter(None, [package, os.environ.get("PYTHONPATH")])
    # On the CPU, because this process holds the GPUs' memory.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "trainer", "check", str(run_dir)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines() or [f"{run_dir}: the check exited with code {done.returncode} and no message"]
    for line in lines if done.returncode == 0 else lines[:-1]:
        _log.info("%s", line)
    if done.returncode:
        raise FailedError(lines[-1].removeprefix("error: "))


def run(config: CheckConfig) -> str:
    """Loads both exported models, logs the layers, and evaluates both on the test split; returns the run folder.

    Raises `FailedError` if accuracy or loss differs from that of the run's predictions by more than 1e-6 (1e-3 if they
    were made on a GPU), or if the SavedModel fails on pictures. Raises `InputError` if run or dataset are missing.
    """
    folder = to_path(config.run)
    results = run_folder.read_results(folder)
    examples = datasets.test_examples_of(results)
    is_of_gpu = not all(device.startswith("/device:CPU") for device in results.run_info["devices"])
    tolerance = _TOLERANCE_OF_GPU if is_of_gpu else _TOLERANCE
    task, predictions = tasks.of(results.schema), results.predictions
    calibrated = task.calibrate(predictions, results.metrics["temperature"])
    with local_copy(folder) as local:
        keras_model, saved_model = local / run_folder.KERAS_MODEL, local / run_folder.SAVED_MODEL
        network = keras.models.load_model(keras_model)
        _log.info("%s, loaded again: %s parameters", keras_model.name, f"{network.count_params():,}")
        for layer in network.layers:
            _log.info("  %-16s %-16s %s", layer.name, type(layer).__name__, tuple(layer.output.shape))
        served = tf.saved_model.load(saved_model)  # keep the reference: the weights are freed with it
    head = task.head(network)
    exports = (
        (keras_model.name, lambda batch: task.answer(batch, head(batch, False)), predictions),
        (saved_model.name, task.serve(served), calibrated),
    )
    for name, answer, expected in exports:
        measured = task.measure(make_predict(answer, tf.distribute.OneDeviceStrategy("/cpu:0"))(examples))
        wanted = task.measure(expected)
        same_loss = math.isclose(measured.loss, wanted.loss, rel_tol=tolerance, abs_tol=tolerance)
        if not same_loss or abs(measured.accuracy - wanted.accuracy) > tolerance:
            raise FailedError(f"{folder / name}: gives {measured} after loading, but the trained network gave {wanted}")
        _log.info("%s, loaded again, reproduces the test figures", name)
    try:
        taken = task.probe(served, examples)
    except FailedError as error:
        raise FailedError(f"{folder / saved_model.name}: {error}") from None
    _log.info("%s, loaded again, takes %s", saved_model.name, taken)
    return str(folder)
