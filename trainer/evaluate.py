"""Evaluates a SavedModel on a split of a dataset folder."""

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from common import flags
from common.dataset.schema import Schema
from common.errors import InputError
from common.formats.table import decode, lines_of
from common.normalize.line import normalized
from common.storage import make_folder, read, to_path, write_atomically
from trainer import tasks
from trainer.config.commands import EvaluateConfig
from trainer.data import augmentation_steps, datasets
from trainer.data.datasets import Dataset
from trainer.data.examples import Examples
from trainer.distributed.randomness import StepRng
from trainer.evaluation import calibrating, label_issues
from trainer.evaluation import decoder as decoders
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.decoder import Decoder
from trainer.evaluation.inference import best_device, make_predict
from trainer.runs import run_folder
from trainer.serving import loading
from trainer.tasks.task import Predictions, Task, Tensors

_FROM_TRAINING = "from-training-text"
_TELLING = 20  # characters, from which on a text is hardly the same as another by chance

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
    if task.text is not None and config.tta_views > 1:  # their steps are not the same columns
        raise InputError(f"--tta-views {config.tta_views}: is for characters; {dataset.folder} holds {schema.task}")
    model = loading.load(config.model)
    loading.check_fits(model, schema, config.model)
    dataset.warn_of_another_conversion(loading.conversion_version(model))

    predict = make_predict(_seen_in_views(task, model, config), best_device())
    predictions = predict(examples)
    calibration = loading.calibration(model)
    raw = _raw(task, predictions, calibration)
    figures = task.figures(raw, schema, calibration.temperature)
    if calibration.thresholds is None:
        _log.warning("--model %s: was exported before models had thresholds; train again to have them", config.model)
    else:
        pictures = _read_photographs(config, task, model, examples, calibration)
        figures |= calibrating.figures(task, predictions, pictures, schema, calibration)
    decoder = None
    if config.language_model is not None:
        decoder = _fit_decoder(config, task, dataset, lambda split: _raw(task, predict(split), calibration))
        decoded = task.text.decode(decoder, raw)
        figures["language_model"] = _figures_with(decoder, task, decoded, schema)
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
    if decoder:
        decoders.save(output.with_suffix(".lm.npz"), decoder)
    run_folder.write_json(output, figures)
    return config.output


def _raw(task: Task, predictions: Predictions, calibration: Calibration) -> Predictions:
    """The predictions before calibration, which the SavedModel's are after."""
    return task.calibrate(predictions, 1 / calibration.temperature)


def _fit_decoder(
    config: EvaluateConfig, task: Task, dataset: Dataset, predict: Callable[[Examples], Predictions]
) -> Decoder:
    """The decoder that `--language-model` asks for. Raises `InputError` if its texts are missing, or the test's."""
    if task.text is None:
        raise InputError(f"--language-model: is for lines; {dataset.folder} holds {dataset.schema.task}")
    if "validation" not in dataset.manifest.splits:
        raise InputError(f"--language-model: needs a validation split, and {dataset.folder} has none")
    if config.language_model == _FROM_TRAINING:
        texts = task.text.texts(dataset.examples("train"))
    else:
        texts = _read_texts(config.language_model)
        for split in ("validation", "test"):  # the one decides how much it counts, the other measures it
            held_out = task.text.texts(dataset.examples(split)) if split in dataset.manifest.splits else []
            if known := set(texts) & {text for text in held_out if len(text) >= _TELLING}:
                raise InputError(
                    f"--language-model {config.language_model}: has {len(known)} texts of the {split} split; "
                    f"the first: {min(known)!r}"
                )
    return task.text.fit_decoder(texts, predict(dataset.examples("validation")), dataset.schema)


def _read_texts(location: str) -> list[str]:
    path = to_path(location)
    if not path.is_file():
        raise InputError(f"--language-model {location}: is neither {_FROM_TRAINING} nor a file of texts")
    if not (texts := list(filter(None, map(normalized, lines_of(decode(read(path), location)))))):
        raise InputError(f"--language-model {location}: holds no text")
    return texts


def _figures_with(decoder: Decoder, task: Task, decoded: Predictions, schema: Schema) -> dict[str, Any]:
    """The figures of readings with a language model, and what was chosen for it; logs the most important ones."""
    figures = task.figures(decoded, schema, decoder.temperature)
    for line in task.headlines(figures):
        _log.info("with a language model: %s", line)
    return {**vars(decoder.fusion), "temperature": decoder.temperature, **figures}


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
