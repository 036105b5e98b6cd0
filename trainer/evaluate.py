"""Evaluates a SavedModel on a split of a dataset folder."""

import json
import logging
from collections.abc import Callable
from functools import partial

import tensorflow as tf

from common import flags
from common.storage import make_folder, to_path, write_atomically
from trainer import tasks
from trainer.config.commands import EvaluateConfig
from trainer.data import augmentation_steps, datasets
from trainer.data.examples import Examples
from trainer.distributed.randomness import StepRng
from trainer.evaluation import calibrating, label_issues
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.inference import best_device, make_predict
from trainer.runs import run_folder
from trainer.serving import loading
from trainer.tasks.task import Predictions, Task, Tensors

_log = logging.getLogger(__name__)


def run(config: EvaluateConfig) -> str:
    """Evaluates the model; returns the path of the JSON file, or, without `output`, the figures as JSON.

    The keys are those of a split in `metrics.json`, plus `split` and the model's temperatures. Raises `InputError` for
    bad input.
    """
    flags.check(config)
    dataset = datasets.open(config.data, config.cache_dir, config.cache_limit_gb)
    schema, task = dataset.schema, tasks.of(dataset.schema)
    examples = dataset.examples(config.split)
    model = loading.load(config.model)
    loading.check_fits(model, schema, config.model)
    dataset.warn_of_another_conversion(loading.conversion_version(model))

    predictions = make_predict(_seen_in_views(task, model, config), best_device())(examples)
    calibration = loading.calibration(model)
    # The SavedModel's predictions are calibrated; the reciprocal temperature undoes that.
    raw = task.calibrate(predictions, 1 / calibration.temperature)
    figures = task.figures(raw, schema, calibration.temperature)
    if calibration.thresholds is None:
        _log.warning("--model %s: was exported before models had thresholds; train again to have them", config.model)
    else:
        pictures = _read_photographs(config, task, model, examples, calibration)
        figures |= calibrating.figures(task, predictions, pictures, schema, calibration)
    for line in (*task.headlines(figures), *calibrating.headlines(figures)):
        _log.info("%s %s", config.split, line)
    if config.label_issues is not None:
        scores = task.score(predictions, schema.vocabulary, schema)
        text = label_issues.listed(examples, scores, partial(task.remarks, predictions, schema))
        write_atomically(to_path(config.label_issues), text.encode())
        _log.info("%d likely label errors: %s", len(text.splitlines()), config.label_issues)
    temperatures = {name: getattr(calibration, name) for name in ("temperature", "picture_temperature")}
    figures = {"split": config.split, **temperatures, **figures}
    if config.output is None:
        return json.dumps(figures, ensure_ascii=False)
    output = to_path(config.output)
    make_folder(output.parent)
    run_folder.write_predictions(output.with_suffix(".npz"), raw)
    run_folder.write_json(output, figures)
    return config.output


def _read_photographs(
    config: EvaluateConfig, task: Task, model: tf.Module, examples: Examples, calibration: Calibration
) -> Predictions | None:
    """As many as the model was calibrated by; None, and a warning, if it converts pictures in another way."""
    if not calibration.num_pictures:
        return None
    if (version := loading.conversion_version(model)) != task.conversion:
        message = (
            "--model %s: converts pictures by version %d, which this code is not (%d): its photographs are left out"
        )
        _log.warning(message, config.model, version, task.conversion)
        return None
    return task.read_photographs(model, examples, calibration.num_pictures)


def _seen_in_views(task: Task, model: tf.Module, config: EvaluateConfig) -> Callable[[Tensors], Tensors]:
    """Test-time augmentation: the mean prediction over `tta_views` views of each image, itself and augmented ones."""
    steps, answer = augmentation_steps.parse(config.augmentation), task.serve(model)

    def answer_views(batch: Tensors) -> Tensors:
        views = [batch]
        for number in range(1, config.tta_views):
            # Seeded by the view and the row in the batch, so that the same command gives the same figures.
            rng = StepRng(0, tf.constant(number, tf.int64), tf.constant(0))
            views.append(task.augment(batch, steps, rng))
        answers = [answer(view) for view in views]
        return {
            name: tf.add_n([part[name] for part in answers]) / len(answers) if values.dtype.is_floating else values
            for name, values in answers[0].items()
        }

    return answer_views
