"""The task of reading a line of text: a character for some of the steps along the line, by CTC."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.dataset.manifest import Manifest
from common.dataset.schema import GROUP, IMAGE, TEXT, TEXT_LENGTH, WIDTH, Batch, Schema
from common.errors import FailedError, InputError
from common.normalize.line import COLUMNS_PER_STEP, NO_INK, VERSION, WIDTH_STEP
from trainer.config.settings import TrainConfig
from trainer.data import line_augmentation
from trainer.data.examples import Examples
from trainer.evaluation import decoder as decoders
from trainer.evaluation import readings
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.decoder import KEPT_OUTPUTS, Decoder, Outputs
from trainer.evaluation.line_predictions import (
    ERRORS,
    LOG_CONFIDENCE,
    LOG_PROBABILITIES,
    LOSS,
    OUTPUTS,
    READINGS,
    STEPS,
    read,
    truths,
)
from trainer.evaluation.metrics import Metrics
from trainer.evaluation.novelty import Novelty
from trainer.evaluation.scores import Scores
from trainer.models import line_networks
from trainer.models.networks import LayerFactory
from trainer.prediction import lines as predicting
from trainer.runs.run_folder import Results
from trainer.serving import conversion, line_conversion, reading
from trainer.serving.runtimes import Arrays, Portable
from trainer.tasks.task import Loss, Predictions, Task, Tensors, TextFunctions

_LOGITS = "logits"
_SHORTCUT_WEIGHT = 0.1
_LEAST_LIKELY = 80  # how far, in nats, an output may be below the likeliest
_NETWORKS = ("article_lines", "lines")
_PROBED_LINES = 16
_SHOWN_LINES = 3
_PLATEAU = 0.1


def build(config: TrainConfig, schema: Schema, factory: LayerFactory | None) -> keras.Model:
    if config.model not in _NETWORKS:
        raise InputError(f"--model {config.model}: recognises characters; lines are read by {' and '.join(_NETWORKS)}")
    return line_networks.build(config, schema, factory)


def head(network: keras.Model) -> Callable[[Tensors, bool], list[tf.Tensor]]:
    """The logits, and those of the shortcut, if there is one."""
    return lambda batch, training: as_list(network([batch[IMAGE], batch[WIDTH]], training=training))


def as_list(outputs: tf.Tensor | list[tf.Tensor]) -> list[tf.Tensor]:
    """Outputs of a Keras model, which does not put a single one into a list."""
    return outputs if isinstance(outputs, list) else [outputs]


def make_loss(config: TrainConfig, manifest: Manifest) -> Loss:
    """CTC's loss: the objective, in nats a line, adds a share of the shortcut's; reported are nats a character."""

    def loss(batch: Tensors, outputs: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        losses, lengths = losses_of(batch, outputs[0])
        of_shortcuts = [losses_of(batch, shortcut)[0] for shortcut in outputs[1:]]
        return tf.add_n([losses, *(_SHORTCUT_WEIGHT * shortcut for shortcut in of_shortcuts)]), losses / lengths

    return loss


def losses_of(batch: Tensors, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """CTC's loss of each line in nats, and the characters that it is of, float32 [N] both.

    The loss is 0 where a line has too few steps for its text: TensorFlow's operation refuses that, and empty texts. It
    computes probabilities in float32, which end at exp(-87), so that without a bound the loss could become infinite.
    Characters that the model does not know are left out of the text.
    """
    num_outputs = logits.shape[-1]
    is_known = tf.sequence_mask(batch[TEXT_LENGTH], batch[TEXT].shape[1]) & (batch[TEXT] < num_outputs - 1)
    known = tf.ragged.boolean_mask(batch[TEXT], is_known)
    fits = (line_augmentation.columns_needed(batch) <= batch[WIDTH]) & (known.row_lengths() > 0)
    texts = tf.RaggedTensor.from_tensor(
        known.to_tensor(shape=batch[TEXT].shape), tf.where(fits, known.row_lengths(), 1)
    )
    steps = tf.maximum(reading.steps_of(batch[WIDTH]), 1)
    losses = tf.nn.ctc_loss(
        tf.cast(texts, tf.int32).to_sparse(),
        tf.maximum(logits, tf.stop_gradient(tf.reduce_max(logits, axis=-1, keepdims=True)) - _LEAST_LIKELY),
        None,
        tf.cast(steps, tf.int32),
        logits_time_major=False,
        blank_index=-1,
    )
    return tf.where(fits, losses, 0), tf.cast(texts.row_lengths(), tf.float32)


def errors(batch: Tensors, outputs: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    path = reading.best_path(outputs[0], reading.steps_of(batch[WIDTH]))
    return reading.errors(path, batch[TEXT], batch[TEXT_LENGTH]), batch[TEXT_LENGTH]


def answer(batch: Tensors, outputs: list[tf.Tensor]) -> Tensors:
    logits, steps = outputs[0], reading.steps_of(batch[WIDTH])
    path = reading.best_path(logits, steps)
    losses, lengths = losses_of(batch, logits)
    best = tf.math.top_k(tf.nn.log_softmax(logits), min(KEPT_OUTPUTS, logits.shape[-1]))
    return {
        **{name: batch[name] for name in (TEXT, TEXT_LENGTH, GROUP, WIDTH)},
        OUTPUTS: best.indices,
        LOG_PROBABILITIES: best.values,
        STEPS: steps,
        LOSS: losses / lengths,
        ERRORS: reading.errors(path, batch[TEXT], batch[TEXT_LENGTH]),
        LOG_CONFIDENCE: reading.log_confidence(path),
    }


def texts_of(examples: Examples) -> list[str]:
    """The texts of a split."""
    return truths({name: examples.values(name) for name in (TEXT, TEXT_LENGTH)}, examples.schema.characters)


def fit_decoder(texts: list[str], validation: Predictions, schema: Schema) -> Decoder:
    return decoders.fit(texts, schema.vocabulary, _outputs(validation), truths(validation, schema.characters))


def decode(decoder: Decoder, predictions: Predictions) -> Predictions:
    decoded = decoders.decode(decoder, _outputs(predictions))
    return predictions | {READINGS: np.array(decoded.texts), LOG_CONFIDENCE: decoded.log_confidence}


def _outputs(predictions: Predictions) -> Outputs:
    return Outputs(*(predictions[name] for name in (OUTPUTS, LOG_PROBABILITIES, STEPS)))


def measure(predictions: Predictions) -> Metrics:
    """Accuracy is 1 minus the character error rate, and may be negative."""
    wrong = predictions[ERRORS]
    accuracy = 1 - wrong.sum() / predictions[TEXT_LENGTH].sum()
    return Metrics(len(wrong), float(accuracy), float(predictions[LOSS].mean(dtype=np.float64)))


def show_epoch(predictions: Predictions, schema: Schema) -> list[str]:
    """Some readings, and, while hardly anything is read, what that means."""
    shown = {name: values[:_SHOWN_LINES] for name, values in predictions.items()}
    pairs = zip(truths(shown, schema.characters), read(shown, schema.vocabulary), strict=True)
    lines = [f"  {truth!r} is read as {text!r}" for truth, text in pairs]
    if measure(predictions).accuracy <= _PLATEAU:
        of_steps = np.arange(predictions[OUTPUTS].shape[1]) < predictions[STEPS][:, None]
        blanks = (predictions[OUTPUTS][..., 0] == len(schema.vocabulary))[of_steps].mean()
        lines.append(
            f"  {blanks:.0%} of all steps are blank. CTC trainings begin with such a plateau. If it lasts for many "
            "epochs, texts and pictures may not belong together."
        )
    return lines


def fit_temperature(predictions: Predictions) -> float:
    return readings.fit_temperature(predictions[LOG_CONFIDENCE], predictions[ERRORS], predictions[TEXT_LENGTH])


def calibrate(predictions: Predictions, temperature: float) -> Predictions:
    return predictions | {LOG_CONFIDENCE: (predictions[LOG_CONFIDENCE] / temperature).astype(np.float32)}


def score(predictions: Predictions, vocabulary: tuple[str, ...], schema: Schema) -> Scores:
    wrong = readings.errors(truths(predictions, schema.characters), read(predictions, vocabulary))
    return Scores(wrong, predictions[TEXT_LENGTH], np.exp(predictions[LOG_CONFIDENCE]), predictions[GROUP])


def figures(predictions: Predictions, schema: Schema, temperature: float) -> dict[str, Any]:
    calibrated = calibrate(predictions, temperature)
    measured = readings.compute_all(
        truths(predictions, schema.characters),
        read(predictions, schema.vocabulary),
        np.exp(calibrated[LOG_CONFIDENCE]),
        predictions[GROUP],
        list(map(str, range(predictions[GROUP].max() + 1))),
    )
    return measured | {"loss": float(predictions[LOSS].mean(dtype=np.float64))}


def titles(batch: Batch, schema: Schema) -> list[str]:
    return truths(batch, schema.characters)


def remarks(predictions: Predictions, schema: Schema, numbers: np.ndarray) -> list[str]:
    """For each line its text, what was read, and the confidence."""
    chosen = {name: values[numbers] for name, values in predictions.items()}
    lines = zip(truths(chosen, schema.characters), read(chosen, schema.vocabulary), chosen[LOG_CONFIDENCE], strict=True)
    return [f"{truth}, reads {text} ({np.exp(confidence):.1%})" for truth, text, confidence in lines]


def signatures(
    network: keras.Model, schema: Schema, calibration: Calibration, novelty: Novelty | None
) -> dict[str, Callable]:
    """The SavedModel's functions.

    `serving_default` takes PNG or JPEG files, string [N]; `image_tensor` images as a dataset has them, uint8 [N, H, W,
    1], light on dark, and their widths, int64 [N]. Both return `text`, string [N], and `confidence`, float32 [N], the
    expected share of right characters; and for each character of the text its `probability`, float32 [N, L], and the
    columns of the picture from `left` to `right`, float32 [N, L], that it was read from. `serving_default` also returns
    `problem`, string [N], a code of `common.normalize.problems` or empty. `convert` and `convert_pixels` return images
    and problems, `logits_of` the network's answer, float32 [N, ceil(W/4), C+1], the blank last.
    """
    height = schema.image_shape[0]
    image_spec = tf.TensorSpec([None, height, None, 1], tf.uint8, name="image")
    width_spec = tf.TensorSpec([None], tf.int64, name="width")

    def in_graph(*signature: tf.TensorSpec) -> Callable[[Callable], Callable]:
        return tf.function(input_signature=signature, autograph=False)

    @in_graph(image_spec, width_spec)
    def logits_of(image: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(image)
        # So that LiteRT, which cannot pad by what is not known, and ONNX, whose remainders may be negative, take it.
        padding = WIDTH_STEP - 1 - (shape[2] - 1) % WIDTH_STEP
        right = tf.zeros(tf.stack([shape[0], height, padding, 1]))
        images = tf.concat([tf.cast(image, tf.float32), right], axis=2)
        return as_list(network([images, width], training=False))[0][:, : reading.steps_of(shape[2])]

    def answers(image: tf.Tensor, width: tf.Tensor, columns: tf.Tensor) -> dict[str, tf.Tensor]:
        path = reading.best_path(logits_of(image, width), reading.steps_of(width))
        probability, first, behind = reading.characters(path)
        per_step = tf.cast(COLUMNS_PER_STEP, tf.float32) * columns[:, None]
        return {
            "text": reading.texts(path, schema.vocabulary),
            "confidence": tf.exp(reading.log_confidence(path) / calibration.temperature),
            "probability": probability,
            "left": tf.cast(first, tf.float32) * per_step,
            "right": tf.minimum(tf.cast(behind, tf.float32), tf.cast(width[:, None], tf.float32)) * per_step,
        }

    @in_graph(image_spec, width_spec)
    def image_tensor(image: tf.Tensor, width: tf.Tensor) -> dict[str, tf.Tensor]:
        return answers(image, width, tf.ones_like(width, tf.float32))

    @in_graph(tf.TensorSpec([None], tf.string, name="image_bytes"))
    def serving_default(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        lines = line_conversion.convert(image_bytes, height)
        with tf.control_dependencies([conversion.check(lines["problem"])]):
            read = answers(lines["image"], lines["width"], lines["columns"])
        has_ink = lines["problem"] != NO_INK
        read |= {"text": tf.where(has_ink, read["text"], ""), "confidence": tf.where(has_ink, read["confidence"], 0)}
        return read | {"problem": lines["problem"]}

    return {
        "serving_default": serving_default,
        "image_tensor": image_tensor,
        "logits_of": logits_of,
        "convert": tf.function(
            lambda encoded: line_conversion.convert(encoded, height),
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        ),
        "convert_pixels": tf.function(
            lambda pixels: line_conversion.convert_pixels(pixels, height),
            input_signature=[tf.TensorSpec([None, None, None], tf.uint8)],
            autograph=False,
        ),
        "conversion_version": in_graph()(lambda: tf.constant(VERSION)),
    }


def serve(model: tf.Module) -> Callable[[Tensors], Tensors]:
    temperature = model.temperature()

    def predictions(batch: Tensors) -> Tensors:
        image = tf.cast(tf.round(tf.cast(batch[IMAGE], tf.float32)), tf.uint8)
        answered = answer(batch, [model.logits_of(image, batch[WIDTH])])
        return answered | {LOG_CONFIDENCE: answered[LOG_CONFIDENCE] / temperature}

    return predictions


def probe(model: tf.Module, examples: Examples) -> str:
    """Requests PNG pictures of some lines."""
    batch = examples.take(np.arange(min(examples.num_examples, _PROBED_LINES)))
    lines = zip(batch[IMAGE], batch[WIDTH], strict=True)
    pictures = [tf.io.encode_png(255 - image[:, :width]) for image, width in lines]
    answered = model.signatures["serving_default"](image_bytes=tf.stack(pictures))
    if answered["text"].shape != (len(pictures),) or not np.isfinite(answered["confidence"]).all():
        raise FailedError(f"does not return texts for PNG pictures; its answer has the shape {answered['text'].shape}")
    return f"PNG pictures of {len(pictures)} lines"


def request(model: tf.Module, image: np.ndarray) -> Callable[[], object]:
    """A request with one PNG picture."""
    picture = tf.reshape(tf.io.encode_png(255 - image), [1])
    return lambda: model.signatures["serving_default"](image_bytes=picture)["text"].numpy()


def logits_of(model: tf.Module) -> Callable:
    _, height, _, _ = model.signatures["image_tensor"].structured_input_signature[1][IMAGE].shape
    specs = [tf.TensorSpec([None, height, None, 1], tf.uint8, IMAGE), tf.TensorSpec([None], tf.int64, WIDTH)]
    return tf.function(
        lambda image, width: {_LOGITS: model.logits_of(image, width)}, input_signature=specs, autograph=False
    )


def carried_inputs(batch: Batch) -> Arrays:
    """Images as wide as the widest line, and the lines' widths."""
    width = -(-batch[WIDTH].max() // WIDTH_STEP) * WIDTH_STEP
    return {IMAGE: batch[IMAGE][:, :, :width], WIDTH: batch[WIDTH]}


def carried(batch: Batch, results: Arrays, vocabulary: tuple[str, ...]) -> Predictions:
    """The predictions of a file for another runtime, without what only reports need."""
    answered = answer({name: tf.constant(values) for name, values in batch.items()}, [tf.constant(results[_LOGITS])])
    kept = (TEXT, TEXT_LENGTH, STEPS, LOSS, ERRORS)
    return {OUTPUTS: answered[OUTPUTS][..., :1].numpy()} | {name: answered[name].numpy() for name in kept}


def carried_figures(predictions: Predictions, schema: Schema) -> dict[str, Any]:
    pair = truths(predictions, schema.characters), read(predictions, schema.vocabulary)
    return asdict(measure(predictions)) | readings.error_rates(*pair)


PORTABLE = Portable(
    signature=_LOGITS,
    function=logits_of,
    inputs=carried_inputs,
    predictions=carried,
    read=read,
    figures=carried_figures,
    compared=_LOGITS,
    tolerance=1e-3,
)


def card(results: Results) -> str:
    from trainer.reporting import line_card

    return line_card.render(results)


def page(results: Results, price_per_hour: float | None) -> str:
    from trainer.reporting import line_page

    return line_page.render(results, price_per_hour)


TASK = Task(
    build=build,
    last_layers=(line_networks.LOGITS, line_networks.SHORTCUT),
    augment=line_augmentation.augment,
    head=head,
    make_loss=make_loss,
    can_compile_loss=False,
    errors=errors,
    answer=answer,
    measure=measure,
    accuracy_in_words=lambda accuracy: f"CER {100 * (1 - accuracy):.2f} %",
    show_epoch=show_epoch,
    plateau=_PLATEAU,
    fit_temperature=fit_temperature,
    fit_novelty=None,
    read_photographs=None,
    calibrate=calibrate,
    score=score,
    figures=figures,
    headlines=readings.headlines,
    text=TextFunctions(texts_of, fit_decoder, decode),
    titles=titles,
    remarks=remarks,
    signatures=signatures,
    serve=serve,
    probe=probe,
    request=request,
    make_predict=predicting.make_predict,
    portable=PORTABLE,
    conversion=VERSION,
    card=card,
    page=page,
)
