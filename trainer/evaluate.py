"""The evaluation of a finished model: from a SavedModel and a dataset folder to figures."""

import json
import logging
from pathlib import Path

import tensorflow as tf

from common.dataset import manifest as manifests
from common.errors import InputError
from common.storage import make_folder, to_path, write_atomically
from trainer.config import EvaluateConfig
from trainer.data import augmentation_steps, cache, input_pipeline
from trainer.data.augmentation import augment
from trainer.distributed.randomness import Draws
from trainer.evaluation import label_issues, metrics
from trainer.evaluation.inference import make_predict
from trainer.runs import run_folder
from trainer.serving import loading

_log = logging.getLogger(__name__)


def run(config: EvaluateConfig) -> str:
    """Returns the path of the file of figures, or the figures as JSON. Raises `InputError` for bad input.

    The keys are those that `metrics.json` has for a split, with `split` and `temperature`, the one in the model.
    """
    steps = augmentation_steps.parse(config.augmentation)
    if config.views < 1:
        raise InputError(f"--views {config.views}: must be at least 1")
    folder = to_path(config.data)
    manifest = manifests.read(folder)
    if config.split not in manifest.splits:
        raise InputError(f"--split {config.split}: {folder} has only {', '.join(manifest.splits)}")
    cache_dir, limit_bytes = Path(config.cache_dir), 1e9 * config.cache_limit_gb
    folder = cache.stage(folder, manifest, (config.split,), cache_dir, limit_bytes)
    model = loading.load(config.model)
    class_names = loading.class_names(model)
    if class_names != manifest.class_names:
        raise InputError(
            f"--model {config.model}: knows the classes {' '.join(class_names)}; {folder} has the classes "
            f"{' '.join(manifest.class_names)}"
        )
    loading.check_size(model, manifest.schema, config.model)
    temperature = float(model.temperature().numpy())
    signature = model.signatures["image_tensor"]

    def probabilities(pixels: tf.Tensor) -> tf.Tensor:
        views = [pixels]
        for number in range(1, config.views):
            # By the view and the example's place in its batch: the same command gives the same figures.
            draws = Draws(0, tf.constant(number, tf.int64), tf.constant(0))
            views.append(augment(pixels, steps, draws))
        found = [signature(image=tf.cast(tf.round(view), tf.uint8))["probabilities"] for view in views]
        return tf.add_n(found) / len(found)

    gpus = tf.config.list_logical_devices("GPU")
    predict = make_predict(probabilities, tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0"))
    examples = input_pipeline.open_split(folder, manifest, config.split)
    labels, calibrated = predict(examples)
    # The model gives calibrated probabilities; the reciprocal temperature undoes that.
    raw = metrics.calibrate(calibrated, 1 / temperature)
    figures = metrics.compute_all(labels, raw, class_names, temperature)
    for line in metrics.headlines(figures):
        _log.info("%s %s", config.split, line)
    if config.suspects is not None:
        text = label_issues.listed(examples, labels, calibrated, class_names)
        write_atomically(to_path(config.suspects), text.encode())
        _log.info("%d labels are doubtful: %s", len(text.splitlines()), config.suspects)
    figures = {"split": config.split, "temperature": temperature, **figures}
    if config.output is None:
        return json.dumps(figures, ensure_ascii=False)
    output = to_path(config.output)
    make_folder(output.parent)
    run_folder.write_predictions(output.with_suffix(".npz"), labels, raw)
    run_folder.write_json(output, figures)
    return config.output
