"""Publishes the results of a finished training: predictions, models, metrics, model card and report."""

import logging

import keras

from common.storage import write_atomically
from trainer import check, report
from trainer.config.commands import ReportConfig
from trainer.reporting import pictures
from trainer.runs import run_folder
from trainer.serving import saved_model
from trainer.tasks.task import Predictions
from trainer.training.checkpoints import Progress
from trainer.training.setup import Setup

CARD = "README.md"

_log = logging.getLogger(__name__)


def publish(setup: Setup, model: keras.Model, progress: Progress, predictions: dict[str, Predictions]) -> None:
    """Writes all results. `predictions` are those of the test and, if any, validation split, before calibration."""
    config, task, schema, run_dir = setup.config, setup.task, setup.dataset.schema, setup.run_dir
    temperature = task.fit_temperature(predictions["validation"]) if "validation" in predictions else 1.0
    figures = {split: task.figures(some, schema, temperature) for split, some in predictions.items()}
    run_folder.write_predictions(run_dir / run_folder.PREDICTIONS, predictions["test"])
    pictures.draw_curves(progress.epochs, run_dir / run_folder.CURVES)

    keras_file, export = run_dir / run_folder.KERAS_MODEL, run_dir / run_folder.SAVED_MODEL
    saved_model.save_keras(model, keras_file)
    saved_model.save_saved_model(keras.models.load_model(keras_file), task, schema, temperature, export)

    epoch = progress.best_epoch if config.select == "best" else len(progress.epochs)
    figures |= {"train": progress.epochs[epoch - 1]["train"], "selected_epoch": epoch, "temperature": temperature}
    run_folder.write_json(run_dir / run_folder.METRICS, figures)
    if config.verify_export:
        check.in_fresh_process(run_dir)
    write_atomically(export / CARD, task.card(run_folder.read_results(run_dir)).encode())
    report.run(ReportConfig((str(run_dir),)))
    for line in task.headlines(figures["test"]):
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
