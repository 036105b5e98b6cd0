"""What is no character is told from characters by a network that has only seen characters."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from common.dataset.schema import EMNIST_SIZE
from common.normalize import arrays, picture
from preprocess.catalogue import find
from preprocess.sources import synthetic
from tests.support import non_characters
from tests.support.non_characters import Material
from trainer.evaluation import novelty
from trainer.evaluation.novelty import Answers, Novelty
from trainer.serving import novelty as in_graph

_PER_CLASS = 60


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = synthetic.draw_split(find("emnist/digits"), "train", _PER_CLASS, 0, 1)
    return images[..., None], labels


@pytest.fixture(scope="module")
def answers(digits) -> Callable[[np.ndarray], Answers]:
    """A network of one hidden layer, trained on the first half."""
    images, labels = (part[: len(part) // 2] for part in digits)
    network = MLPClassifier(64, max_iter=40, random_state=0).fit(_pixels(images), labels)
    (into_hidden, into_logits), (hidden_bias, bias) = network.coefs_, network.intercepts_

    def answer(images: np.ndarray) -> Answers:
        features = np.maximum(_pixels(images) @ into_hidden + hidden_bias, 0)
        return Answers(features.astype(np.float32), (features @ into_logits + bias).astype(np.float32))

    return answer


@pytest.fixture(scope="module")
def fitted(digits, answers) -> Novelty:
    images, labels = digits
    half = len(images) // 2
    unseen = images[half:-100]
    overlaid = novelty.overlaid(unseen, np.random.default_rng(0))
    return novelty.fit(
        answers(images[:half]), labels[:half], answers(novelty.as_of_pictures(unseen)), answers(overlaid)
    )


@pytest.mark.parametrize("kind", ["scribbles", "touching characters", "shapes"])
def test_kinds_that_it_has_never_seen_are_told_from_digits(kind, digits, answers, fitted):
    rng, material = np.random.default_rng(1), Material(digits[0][..., 0], [])
    drawings = [non_characters.KINDS[kind](material, rng) for _ in range(40)]
    others = [picture.to_image(arrays, drawing[..., None], EMNIST_SIZE)[0] for drawing in drawings]
    of_digits = novelty.score(fitted, answers(novelty.as_of_pictures(digits[0][-100:])))
    of_others = novelty.score(fitted, answers(np.stack(others)[..., None]))
    is_digit = np.arange(len(of_digits) + len(of_others)) < len(of_digits)
    assert roc_auc_score(is_digit, np.concatenate([of_digits, of_others])) > 0.9


def test_most_unseen_digits_are_held_for_characters(digits, answers, fitted):
    assert np.median(novelty.score(fitted, answers(digits[0][-100:]))) > 0.9


def test_softening_keeps_the_order_of_classes_and_makes_a_non_character_uncertain():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), 3)
    softened = novelty.soften(probabilities, np.array([1.0, 0.5, 0.0]))
    np.testing.assert_allclose(softened.sum(axis=1), 1)
    np.testing.assert_array_equal(softened[:2].argsort(axis=1), probabilities[:2].argsort(axis=1))
    np.testing.assert_allclose(softened[0], probabilities[0])
    np.testing.assert_allclose(softened[1], probabilities[1] / 2 + 0.1)
    np.testing.assert_allclose(softened[2], 0.2)


@pytest.mark.tensorflow
def test_the_graph_computes_the_same(digits, answers, fitted):
    some = answers(digits[0][:50])
    is_character = novelty.score(fitted, some)
    np.testing.assert_allclose(in_graph.score(fitted, some.features, some.logits), is_character, atol=1e-4)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), 50)
    softened = in_graph.soften(tf.constant(probabilities), tf.constant(is_character))
    np.testing.assert_allclose(softened, novelty.soften(probabilities, is_character), atol=1e-6)


def test_features_that_never_vary_do_no_harm(answers, digits):
    images, labels = digits
    some = answers(images[:200])
    with_constant = Answers(np.c_[some.features, np.zeros(200, np.float32)], some.logits)
    others = Answers(with_constant.features[::-1] * 3, some.logits)
    fitted = novelty.fit(with_constant, labels[:200], with_constant, others)
    assert np.isfinite(novelty.score(fitted, with_constant)).all()


def test_images_of_any_size_can_be_laid_on_top_of_each_other():
    images = np.zeros((3, 32, 48, 1), np.uint8)
    images[:, 8:24, 10:30] = 255
    pairs = novelty.overlaid(images, np.random.default_rng(0))
    assert pairs.shape == images.shape
    assert pairs.max(axis=(1, 2, 3)).tolist() == [255] * 3


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255
