"""The task of recognising one isolated character: one class per image."""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.dataset.manifest import Manifest
from common.dataset.schema import IMAGE, LABEL, Batch, ImageSize, Schema
from common.errors import FailedError
from common.normalize import picture
from common.normalize.character import LEAST_CONTRAST
from trainer.config.settings import TrainConfig
from trainer.data import augmentation
from trainer.data.examples import Examples
from trainer.distributed.randomness import StepRng
from trainer.evaluation import metrics, novelty, photographs
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.novelty import Answers, Novelty
from trainer.evaluation.scores import Scores
from trainer.models import networks
from trainer.prediction import characters as reading
from trainer.runs.run_folder import Results
from trainer.serving import conversion
from trainer.serving import novelty as novelty_graph
from trainer.serving.runtimes import Arrays, Portable
from trainer.tasks.task import Loss, Predictions, Task, Tensors

_LABELS, _PROBABILITIES = "labels", "probabilities"
"""The keys of predictions: int64 [N] and float32 [N, C]."""
_HAS_PROBLEM, _IS_CHARACTER = "has_problem", "is_character"
"""Those of photographs only: bool [N], and the probability that one character is shown, float32 [N]."""
_PICTURES_SEARCHED = 10_000
_IMAGES_AT_ONCE = 512
_NOVELTY_EXAMPLES, _NOVELTY_UNSEEN = 10_000, 1_000


def head(network: keras.Model) -> Callable[[Tensors, bool], tf.Tensor]:
    """The network without its softmax: a loss from logits is exact where a softmax would underflow."""
    up_to_logits = keras.Model(network.input, network.get_layer("logits").output)
    return lambda batch, training: up_to_logits(batch[IMAGE], training=training)


def augment(batch: Tensors, steps: tuple[tuple[str, float], ...], rng: StepRng) -> Tensors:
    return batch | {IMAGE: augmentation.augment(batch[IMAGE], steps, rng)}


def up_to_features(network: keras.Model) -> keras.Model:
    """The network up to the features that its logits are a linear function of; returns both, [N, F] and [N, C]."""
    logits = network.get_layer("logits")
    return keras.Model(network.input, [logits.input, logits.output])


def make_loss(config: TrainConfig, manifest: Manifest) -> Loss:
    """The cross-entropy in nats; the training objective may add label smoothing and class weights."""
    num_classes, smoothing = len(manifest.schema.vocabulary), config.loss.label_smoothing
    weights = None
    if config.loss.class_weights == "balanced":
        weights = tf.constant(balanced_class_weights(manifest.splits["train"].class_histogram))

    def loss(batch: Tensors, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch[LABEL], logits)
        objective = losses
        if smoothing:
            targets = tf.one_hot(batch[LABEL], num_classes) * (1 - smoothing) + smoothing / num_classes
            objective = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        if weights is not None:
            objective *= tf.gather(weights, batch[LABEL])
        return objective, losses

    return loss


def balanced_class_weights(class_histogram: tuple[int, ...]) -> np.ndarray:
    """float32 [C]: inverse to the class' number of examples, 1 on average over examples, 0 for an empty class."""
    counts = np.array(class_histogram, np.float64)
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)


def errors(batch: Tensors, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    wrong = tf.cast(tf.argmax(logits, axis=1) != batch[LABEL], tf.int64)
    return wrong, tf.ones_like(wrong)


def answer(batch: Tensors, logits: tf.Tensor) -> Tensors:
    return {_LABELS: batch[LABEL], _PROBABILITIES: tf.nn.softmax(logits)}


def measure(predictions: Predictions) -> metrics.Metrics:
    return metrics.compute(predictions[_LABELS], predictions[_PROBABILITIES])


def fit_temperature(predictions: Predictions) -> float:
    is_read = ~_has_problem(predictions)
    if not is_read.any():
        return 1.0
    return metrics.fit_temperature(predictions[_LABELS][is_read], predictions[_PROBABILITIES][is_read])


def read_photographs(model: tf.Module, examples: Examples, most: int) -> Predictions:
    """The predictions for photographs of a sample, all kinds equally often; of some examples there is none to make."""
    order = np.random.default_rng(0).permutation(examples.num_examples)
    batch = examples.take(order[:most])
    drawable = np.flatnonzero([photographs.can_be_drawn(image) for image in batch[IMAGE]])
    images, labels = batch[IMAGE][drawable], batch[LABEL][drawable]
    converted, problems = np.empty((len(images), *examples.schema.image_shape), np.uint8), np.empty(len(images), object)
    for number, image in enumerate(images):
        # The reference decides as the model's own graph does, and needs no seconds to start.
        file = photographs.of_example(image, number)
        converted[number, ..., 0], problems[number] = picture.read(file, examples.schema.image_shape[:2])
    starts = range(0, max(len(images), 1), _IMAGES_AT_ONCE)
    answers = [model.answer_pictures(converted[start : start + _IMAGES_AT_ONCE]) for start in starts]
    probabilities, is_character = (np.concatenate(column) for column in zip(*answers, strict=True))
    return {
        _LABELS: labels,
        _PROBABILITIES: probabilities,
        _HAS_PROBLEM: problems != "",
        _IS_CHARACTER: is_character,
    }


def fit_novelty(network: keras.Model, training: Examples, unseen: Examples) -> Novelty | None:
    """What tells characters from others, by examples that the network has learned from and others; None if it cannot.

    It needs unseen examples with strokes. Of both splits, whose order is random, the first examples suffice.
    """
    to_features = up_to_features(network)

    def answers(images: np.ndarray) -> Answers:
        parts = [
            to_features(images[start : start + _IMAGES_AT_ONCE].astype(np.float32), training=False)
            for start in range(0, len(images), _IMAGES_AT_ONCE)
        ]
        return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    learned = training.take(np.arange(min(training.num_examples, _NOVELTY_EXAMPLES)))
    images = unseen.take(np.arange(min(unseen.num_examples, _NOVELTY_UNSEEN)))[IMAGE]
    images = images[np.array([photographs.can_be_drawn(image) for image in images])]
    if not len(images):
        return None
    characters, pairs = novelty.as_of_pictures(images), novelty.overlaid(images, np.random.default_rng(0))
    return novelty.fit(answers(learned[IMAGE]), learned[LABEL], answers(characters), answers(pairs))


def _has_problem(predictions: Predictions) -> np.ndarray:
    return predictions.get(_HAS_PROBLEM, np.zeros(len(predictions[_LABELS]), bool))


def calibrate(predictions: Predictions, temperature: float) -> Predictions:
    return predictions | {_PROBABILITIES: metrics.calibrate(predictions[_PROBABILITIES], temperature)}


def score(predictions: Predictions, vocabulary: tuple[str, ...], schema: Schema) -> Scores:
    """The scores of predictions; a predicted class that the examples' schema lacks is always wrong.

    A photograph with a problem counts as wrong, too, and the model has no confidence in it, and little in what it
    hardly takes for a character.
    """
    numbers = {name: number for number, name in enumerate(schema.vocabulary)}
    translation = np.array([numbers.get(name, -1) for name in vocabulary])
    probabilities = predictions[_PROBABILITIES]
    predicted = translation[probabilities.argmax(axis=1)]
    if _IS_CHARACTER in predictions:
        probabilities = novelty.soften(probabilities, predictions[_IS_CHARACTER])
    has_problem = _has_problem(predictions)
    wrong = ((predicted != predictions[_LABELS]) | has_problem).astype(np.int64)
    return Scores(wrong, np.ones_like(wrong), np.where(has_problem, 0, probabilities.max(axis=1)))


def figures(predictions: Predictions, schema: Schema, temperature: float) -> dict[str, Any]:
    return metrics.compute_all(predictions[_LABELS], predictions[_PROBABILITIES], schema.vocabulary, temperature)


def titles(batch: Batch, schema: Schema) -> list[str]:
    return [schema.vocabulary[label] for label in batch[LABEL]]


def remarks(predictions: Predictions, schema: Schema, numbers: np.ndarray) -> list[str]:
    """For each example its label, the most probable class and its probability."""
    names, rows = schema.vocabulary, predictions[_PROBABILITIES][numbers]
    labels = predictions[_LABELS][numbers]
    return [
        f"{names[label]}, looks like {names[row.argmax()]} ({row.max():.1%})"
        for label, row in zip(labels, rows, strict=True)
    ]


def signatures(
    network: keras.Model, schema: Schema, calibration: Calibration, novelty: Novelty | None
) -> dict[str, Callable]:
    """The SavedModel's functions.

    `serving_default` takes PNG or JPEG files, string [N], and converts them to images; it also returns
    `problem`, string [N], a code of `common.normalize.problems` or empty. `image_tensor` takes images like EMNIST's,
    uint8 [N, H, W, 1], light on dark and upright. Both return `probabilities` float32 [N, C], calibrated, `class_index`
    int64 [N] and `class_name` string [N]. `convert` takes files and returns images and problems, so that a batch job
    learns of all bad files; `convert_pixels` does so for one decoded picture, uint8 [H, W, 1, 3 or 4].
    `recognise_pictures` takes these images and returns their probabilities, calibrated for pictures, the more even the
    less an image looks like a character; `answer_pictures` returns what these are made of: the probabilities if it is
    a character, and the probability that it is one, float32 [N].
    """
    to_features, class_names, size = up_to_features(network), schema.vocabulary, schema.image_shape[:2]

    convert, convert_pixels = converters(size)
    images = tf.TensorSpec([None, *schema.image_shape], tf.uint8, name="image")

    def in_graph(signature: list[tf.TensorSpec]) -> Callable[[Callable], Callable]:
        return tf.function(input_signature=signature, autograph=False)

    def answer(image: tf.Tensor) -> list[tf.Tensor]:
        return to_features(tf.cast(image, tf.float32), training=False)

    def named(probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
        class_index = tf.argmax(probabilities, axis=1)
        class_name = tf.gather(tf.constant(class_names), class_index)
        return {_PROBABILITIES: probabilities, "class_index": class_index, "class_name": class_name}

    @in_graph([images])
    def image_tensor(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return named(tf.nn.softmax(answer(image)[1] / calibration.temperature))

    @in_graph([images])
    def answer_pictures(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, logits = answer(image)
        is_character = novelty_graph.score(novelty, features, logits) if novelty else tf.ones_like(logits[:, 0])
        return tf.nn.softmax(logits / calibration.picture_temperature), is_character

    @in_graph([images])
    def recognise_pictures(image: tf.Tensor) -> tf.Tensor:
        return novelty_graph.soften(*answer_pictures(image))

    @in_graph([tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image, codes = convert(image_bytes)
        codes = conversion.check(codes)
        probabilities = recognise_pictures(image)
        # Where nothing is written, one class is as good as another.
        shows_ink = tf.reduce_any(image > 0, axis=(1, 2, 3))[:, None]
        return named(tf.where(shows_ink, probabilities, 1 / len(class_names))) | {"problem": codes}

    return {
        "serving_default": serving_default,
        "image_tensor": image_tensor,
        "convert": convert,
        "convert_pixels": convert_pixels,
        "conversion_version": in_graph([])(lambda: tf.constant(picture.VERSION)),
        "answer_pictures": answer_pictures,
        "recognise_pictures": recognise_pictures,
    }


@cache
def converters(size: ImageSize) -> tuple[tf.types.experimental.ConcreteFunction, ...]:
    """The graphs that convert files and pixels, the same for each model; as concrete ones, they are traced once."""
    files, pixels = tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None, None], tf.uint8)
    return tuple(
        tf.function(partial(function, size=size), input_signature=[spec], autograph=False).get_concrete_function()
        for function, spec in ((conversion.convert, files), (conversion.convert_pixels, pixels))
    )


def serve(model: tf.Module) -> Callable[[Tensors], Tensors]:
    image_tensor = model.signatures["image_tensor"]

    def predictions(batch: Tensors) -> Tensors:
        image = tf.cast(tf.round(tf.cast(batch[IMAGE], tf.float32)), tf.uint8)
        return {_LABELS: batch[LABEL], _PROBABILITIES: image_tensor(image=image)[_PROBABILITIES]}

    return predictions


def probe(model: tf.Module, examples: Examples) -> str:
    """Requests one PNG picture of each class."""
    batch = examples.take(np.arange(min(examples.num_examples, _PICTURES_SEARCHED)))
    has_ink = np.flatnonzero(np.ptp(batch[IMAGE], axis=(1, 2, 3)) > LEAST_CONTRAST)
    firsts = has_ink[np.unique(batch[LABEL][has_ink], return_index=True)[1]]
    pictures = [tf.io.encode_png(image) for image in batch[IMAGE][firsts]]
    probabilities = model.signatures["serving_default"](image_bytes=tf.stack(pictures))[_PROBABILITIES].numpy()
    expected = (len(firsts), len(examples.schema.vocabulary))
    if probabilities.shape != expected or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-4):
        raise FailedError(
            f"does not return probabilities for PNG pictures; its answer has the shape {probabilities.shape}"
        )
    return f"PNG pictures of {len(firsts)} classes"


def request(model: tf.Module, image: np.ndarray) -> Callable[[], object]:
    """A request with one PNG picture."""
    picture = tf.reshape(tf.io.encode_png(image), [1])
    return lambda: model.signatures["serving_default"](image_bytes=picture)[_PROBABILITIES].numpy()


def image_tensor_of(model: tf.Module) -> Callable:
    signature = model.signatures["image_tensor"]
    specs = list(signature.structured_input_signature[1].values())
    return tf.function(lambda image: signature(image=image), input_signature=specs, autograph=False)


def carried(batch: Batch, results: Arrays, class_names: tuple[str, ...]) -> Predictions:
    """The predictions of a file for another runtime, which has the class names in it."""
    probabilities = results[_PROBABILITIES]
    names = [name.decode() if isinstance(name, bytes) else name for name in results["class_name"]]
    if names != [class_names[index] for index in probabilities.argmax(axis=1)]:
        raise FailedError("its class names are not those of the most probable classes")
    return {_LABELS: batch[LABEL], _PROBABILITIES: probabilities}


PORTABLE = Portable(
    signature="image_tensor",
    function=image_tensor_of,
    inputs=lambda batch: {IMAGE: batch[IMAGE]},
    predictions=carried,
    read=lambda predictions, vocabulary: [vocabulary[index] for index in predictions[_PROBABILITIES].argmax(axis=1)],
    figures=lambda predictions, schema: asdict(measure(predictions)),
    compared=_PROBABILITIES,
    tolerance=1e-4,
    # An 8-bit softmax would round probabilities to 256ths and the smallest to 0, and leave ties for the most probable
    # class.
    float_operations=("SOFTMAX", "ARG_MAX"),
)


def card(results: Results) -> str:
    from trainer.reporting import model_card

    return model_card.render(results)


def page(results: Results, price_per_hour: float | None) -> str:
    from trainer.reporting import character_page

    return character_page.render(results, price_per_hour)


TASK = Task(
    build=networks.build,
    last_layers=("logits",),
    augment=augment,
    head=head,
    make_loss=make_loss,
    can_compile_loss=True,
    errors=errors,
    answer=answer,
    measure=measure,
    accuracy_in_words=lambda accuracy: f"accuracy {100 * accuracy:.2f} %",
    show_epoch=lambda predictions, schema: [],
    plateau=-1,
    fit_temperature=fit_temperature,
    fit_novelty=fit_novelty,
    read_photographs=read_photographs,
    calibrate=calibrate,
    score=score,
    figures=figures,
    headlines=metrics.headlines,
    text=None,
    titles=titles,
    remarks=remarks,
    signatures=signatures,
    serve=serve,
    probe=probe,
    request=request,
    make_predict=reading.make_predict,
    portable=PORTABLE,
    conversion=picture.VERSION,
    card=card,
    page=page,
)
