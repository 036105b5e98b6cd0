"""Publishes the results of a finished training: predictions, models, metrics, model card and report."""

import logging
from typing import Any

import keras
import numpy as np

from common.storage import write_atomically
from trainer import check, report
from trainer.config.commands import ReportConfig
from trainer.data.examples import Examples
from trainer.evaluation import calibrating, holdout
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.novelty import Novelty
from trainer.reporting import pictures
from trainer.runs import run_folder
from trainer.serving import saved_model
from trainer.tasks.task import Predictions
from trainer.training.checkpoints import Progress
from trainer.training.setup import Setup

CARD = "README.md"

_log = logging.getLogger(__name__)


def publish(
    setup: Setup,
    model: keras.Model,
    progress: Progress,
    predictions: dict[str, Predictions],
    examples: dict[str, Examples],
) -> None:
    """Writes all results. `predictions` are those of the test and, if any, validation split, before calibration.

    `examples` are the splits themselves.
    """
    config, task, schema, run_dir = setup.config, setup.task, setup.dataset.schema, setup.run_dir
    run_folder.write_hashes(run_dir / run_folder.TRAINED_ON, _trained_on(setup, examples))
    run_folder.write_predictions(run_dir / run_folder.PREDICTIONS, predictions["test"])
    pictures.draw_curves(progress.epochs, run_dir / run_folder.CURVES)

    keras_file, export = run_dir / run_folder.KERAS_MODEL, run_dir / run_folder.SAVED_MODEL
    saved_model.save_keras(model, keras_file)
    network = keras.models.load_model(keras_file)
    novelty = None
    if task.fit_novelty and "validation" in examples:
        novelty = task.fit_novelty(network, examples["train"], examples["validation"])
    calibration, figures = _calibrate(setup, network, novelty, predictions, examples)
    saved_model.save_saved_model(saved_model.to_module(network, task, schema, calibration, novelty), export)

    epoch = progress.best_epoch if config.select == "best" else len(progress.epochs)
    figures |= {"train": progress.epochs[epoch - 1]["train"], "selected_epoch": epoch}
    figures |= {name: getattr(calibration, name) for name in ("temperature", "picture_temperature")}
    if setup.ancestry.runs:
        figures["left_out"] = {split: _left_out(examples[split]) for split in predictions}
    run_folder.write_json(run_dir / run_folder.METRICS, figures)
    if config.verify_export:
        check.in_fresh_process(run_dir)
    write_atomically(export / CARD, task.card(run_folder.read_results(run_dir)).encode())
    report.run(ReportConfig((str(run_dir),)))
    for line in (*task.headlines(figures["test"]), *calibrating.headlines(figures["test"])):
        _log.info("test %s", line)
    for name, file in (
        ("SavedModel", run_folder.SAVED_MODEL),
        ("Keras model", run_folder.KERAS_MODEL),
        ("metrics", run_folder.METRICS),
        ("model card", f"{run_folder.SAVED_MODEL}/{CARD}"),
        ("report", run_folder.REPORT),
        ("TensorBoard", run_folder.LOGS),
    ):
        _log.info("%-13s %s", name, run_dir / file)


def _trained_on(setup: Setup, examples: dict[str, Examples]) -> np.ndarray:
    """The pixel hashes of all that the weights have seen; a training split that is streamed is read once more."""
    if examples["train"].is_streamed:
        _log.info("reading the training examples once more, to record which they are")
    own = holdout.trained_on(examples[split] for split in examples if split != "test")
    return np.union1d(setup.ancestry.seen, own)


def _left_out(examples: Examples) -> dict[str, Any]:
    numbers = examples.left_out.tolist()
    return {"num_examples": len(numbers), "of": len(numbers) + examples.num_examples, "numbers": numbers}


def _calibrate(
    setup: Setup,
    network: keras.Model,
    novelty: Novelty | None,
    predictions: dict[str, Predictions],
    examples: dict[str, Examples],
) -> tuple[Calibration, dict[str, Any]]:
    """Fits the calibration on the validation split, if there is one; also returns all figures of each split."""
    task, schema = setup.task, setup.dataset.schema
    calibration, pictures, most = Calibration(), {}, setup.config.calibration_pictures
    if "validation" in predictions:
        if most and task.read_photographs:
            most = min(most, examples["validation"].num_examples)
            model = saved_model.to_module(network, task, schema, calibration, novelty)
            pictures = {split: task.read_photographs(model, examples[split], most) for split in predictions}
        calibration = calibrating.fit(task, schema, predictions["validation"], pictures.get("validation"))
    figures = {}
    for split, raw in predictions.items():
        of_pictures = None
        if calibration.num_pictures:
            of_pictures = task.calibrate(pictures[split], calibration.picture_temperature)
        calibrated = task.calibrate(raw, calibration.temperature)
        figures[split] = task.figures(raw, schema, calibration.temperature)
        figures[split] |= calibrating.figures(task, calibrated, of_pictures, schema, calibration)
    return calibration, figures
