"""Tells images of one character from others, by what a network makes of them: a character looks like those it learned.

Two figures of an image are combined by logistic regression. One is the distance of its features (the input of the last
layer) to the nearest class: Mahalanobis', with one covariance for all classes, after Lee et al., "A simple unified
framework for detecting out-of-distribution samples", 2018. The other is the free energy of its logits, after Liu et
al., "Energy-based out-of-distribution detection", 2020. The regression learns from characters, and from pairs of them
laid on top of each other; that suffices to know scribbles, touching letters and the like without having seen any.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps
from scipy.special import expit, logsumexp
from sklearn.linear_model import LogisticRegression

from common.dataset.schema import ImageSize
from common.normalize import arrays, picture
from common.normalize.view import SIDE

_SHRINKAGE = 0.01
"""The part of the covariance that is replaced by a multiple of the identity, for features that hardly vary."""
_SHARE_OF_CHARACTERS = 0.9
"""Of the pictures that a model is given, whatever the regression learned from."""
_LEAST_VARIANCE = 1e-12
_REACH = 8 / 28
"""How far the second of two characters is moved at most, as a part of the image's side."""


@dataclass(frozen=True)
class Answers:
    """What a network answers for N images."""

    features: np.ndarray
    """The input of its last layer, float32 [N, F]."""
    logits: np.ndarray
    """Float32 [N, C]."""


@dataclass(frozen=True)
class Novelty:
    """What tells characters from others."""

    whitening: np.ndarray
    """Float32 [F, F]: features times this, minus `offset`, have the identity as covariance within a class, over F."""
    offset: np.ndarray
    """Float32 [F]."""
    centres: np.ndarray
    """The means of the classes that have examples, so transformed: float32 [K, F]."""
    weights: np.ndarray
    """Of the distance and of the free energy in the regression, float32 [2]."""
    bias: float


def fit(examples: Answers, labels: np.ndarray, characters: Answers, others: Answers) -> Novelty:
    """Fits the classes to training examples and their labels, int64 [N], and the regression to the other two.

    `characters` and `others` should be images that the network has not learned from.
    """
    features = examples.features.astype(np.float64)
    middle = features.mean(axis=0)
    classes, numbers = np.unique(labels, return_inverse=True)
    means = np.stack([features[numbers == number].mean(axis=0) for number in range(len(classes))]) - middle
    within = features - middle - means[numbers]
    size = features.shape[1]
    covariance = within.T @ within / len(within)
    typical = max(np.trace(covariance) / size, _LEAST_VARIANCE)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * typical * np.eye(size)
    whitening = np.linalg.cholesky(np.linalg.inv(covariance)) / np.sqrt(size)
    transform = [part.astype(np.float32) for part in (whitening, middle @ whitening, means @ whitening)]
    return _regress(Novelty(*transform, np.zeros(2, np.float32), 0.0), characters, others)


def _regress(classes: Novelty, characters: Answers, others: Answers) -> Novelty:
    figures = np.concatenate([_figures(classes, characters), _figures(classes, others)])
    is_character = np.arange(len(figures)) < len(characters.features)
    weight = np.where(
        is_character, _SHARE_OF_CHARACTERS / is_character.sum(), (1 - _SHARE_OF_CHARACTERS) / (~is_character).sum()
    )
    mean, spread = figures.mean(axis=0), np.maximum(figures.std(axis=0), _LEAST_VARIANCE)
    regression = LogisticRegression(C=100).fit((figures - mean) / spread, is_character, weight * len(figures))
    weights = regression.coef_[0] / spread
    bias = float(regression.intercept_[0] - weights @ mean)
    return Novelty(classes.whitening, classes.offset, classes.centres, weights.astype(np.float32), bias)


def score(novelty: Novelty, answers: Answers) -> np.ndarray:
    """The probability that each image shows one character, float64 [N]."""
    return expit(_figures(novelty, answers) @ novelty.weights + novelty.bias)


def _figures(novelty: Novelty, answers: Answers) -> np.ndarray:
    """The squared distance to the nearest class, over the number of features, and the free energy: float64 [N, 2]."""
    features = answers.features.astype(np.float64) @ novelty.whitening - novelty.offset
    products = features @ novelty.centres.T
    distances = (features**2).sum(axis=1)[:, None] - 2 * products + (novelty.centres**2).sum(axis=1)
    return np.stack([distances.min(axis=1), logsumexp(answers.logits, axis=1)], axis=1)


def soften(probabilities: np.ndarray, is_character: np.ndarray) -> np.ndarray:
    """Probabilities [N, C], the less certain the less an image is a character; the order of classes stays."""
    return is_character[:, None] * probabilities + (1 - is_character)[:, None] / probabilities.shape[1]


def as_of_pictures(images: np.ndarray) -> np.ndarray:
    """Images, uint8 [N, H, W, 1], brought to their size as pictures are; each has some ink."""
    return np.stack([_convert(image[..., 0], image.shape[:2]) for image in images])[..., None]


def overlaid(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many images, uint8 [N, H, W, 1], each two of `images` on top of each other, the second moved or transposed."""
    size = images.shape[1:3]
    partners = images[rng.permutation(len(images)), ..., 0]
    return np.stack([_overlay(*pair, rng, size) for pair in zip(images[..., 0], partners, strict=True)])[..., None]


def _overlay(first: np.ndarray, second: np.ndarray, rng: np.random.Generator, size: ImageSize) -> np.ndarray:
    if size[0] == size[1] and rng.random() < 0.5:
        second = second.T
    reach = [round(_REACH * side) for side in size]
    sheet = np.pad(first, [(margin, margin) for margin in reach])
    top, left = (rng.integers(2 * margin + 1) for margin in reach)
    part = sheet[top : top + size[0], left : left + size[1]]
    np.maximum(part, second, out=part)
    return _convert(sheet, size)


def _convert(character: np.ndarray, size: ImageSize) -> np.ndarray:
    """The last step of the conversion of pictures."""
    sheet = ImageOps.pad(Image.fromarray(character), (SIDE, SIDE), Image.Resampling.BICUBIC)
    return picture.drawn(arrays, np.asarray(sheet, np.int32), size).astype(np.uint8)
