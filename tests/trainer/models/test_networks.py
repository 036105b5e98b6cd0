"""The networks are those of the source article, layer by layer."""

import keras
import numpy as np
import pytest

from common.dataset.schema import characters
from tests.support.datasets import DIGITS
from tests.support.settings import train_config
from trainer.distributed import randomness
from trainer.models import networks, normalization
from trainer.models.settings import Cnn5Config, DenseConfig


@pytest.mark.parametrize("name", ["dense", "cnn", "cnn5", "resnet_small"])
@pytest.mark.parametrize("size", [(15, 15), (64, 64), (20, 36)])
def test_every_network_takes_the_size_of_its_schema(name, size):
    schema = characters(("a", "b", "c"), *size)
    network = networks.build(train_config("d", "r", model=name), schema)
    assert network(np.zeros((2, *size, 1), np.uint8)).shape == (2, 3)


def build(name: str, num_classes: int, **settings) -> keras.Model:
    return networks.build(
        train_config("d", "r", model=name, **settings), characters(tuple(map(str, range(num_classes))))
    )


def shapes(model: keras.Model) -> list[tuple[str, tuple]]:
    return [(type(layer).__name__, layer.output.shape[1:]) for layer in model.layers]


def test_dense_is_the_articles():
    assert shapes(build("dense", 10)) == [
        ("InputLayer", (28, 28, 1)),
        ("Rescaling", (28, 28, 1)),
        ("Flatten", (784,)),
        ("Dense", (50,)),
        ("Dense", (50,)),
        ("Dense", (10,)),
        ("Softmax", (10,)),
    ]


def test_cnn_is_the_articles():
    model = build("cnn", 62)
    assert shapes(model) == [
        ("InputLayer", (28, 28, 1)),
        ("Rescaling", (28, 28, 1)),
        ("Conv2D", (12, 12, 32)),
        ("Conv2D", (10, 10, 64)),
        ("MaxPooling2D", (5, 5, 64)),
        ("Dropout", (5, 5, 64)),
        ("Flatten", (1600,)),
        ("Dense", (128,)),
        ("Dropout", (128,)),
        ("Dense", (62,)),
        ("Softmax", (62,)),
    ]
    # 5·5·1·32+32, 3·3·32·64+64, 1600·128+128, 128·62+62
    assert model.count_params() == 832 + 18_496 + 204_928 + 7_998
    activations = [layer.activation.__name__ for layer in model.layers if hasattr(layer, "kernel")]
    assert activations == ["relu", "relu", "relu", "linear"]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.25, 0.25]


def test_hyper_parameters_are_fields():
    assert [shape for _, shape in shapes(build("dense", 10, dense=DenseConfig((7, 8, 9))))[3:6]] == [(7,), (8,), (9,)]


def test_cnn5_is_the_articles_on_a_character():
    model = build("cnn5", 62)
    assert [shape for kind, shape in shapes(model) if kind != "Conv2D"][2:] == [
        (14, 14, 32),
        (7, 7, 64),
        (4, 7, 128),
        (2, 7, 128),
        (1, 7, 256),
        (7, 256),
        (256,),
        (62,),
        (62,),
    ]
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.kernel_size for layer in convolutions] == [(5, 5), (5, 5), (3, 3), (3, 3), (3, 3)]
    assert {layer.activation.__name__ for layer in convolutions} == {"relu"}
    pools = [layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert [layer.pool_size for layer in pools] == [(2, 2), (2, 2), (2, 1), (2, 1), (2, 1)]
    assert {layer.padding for layer in [*convolutions, *pools]} == {"same"}


def test_cnn5_turns_a_strip_of_text_into_32_positions_of_256_features():
    strip = keras.Input((32, 128, 1))
    assert networks.cnn5(strip, Cnn5Config()).shape == (None, 32, 256)


def test_a_networks_operations_are_counted_as_by_hand():
    dense = build("dense", 10)
    assert networks.count_flops(dense, (28, 28, 1)) == 2 * (784 * 50 + 50 * 50 + 50 * 10)
    convolutions = 12 * 12 * 32 * 5 * 5 * 1 + 10 * 10 * 64 * 3 * 3 * 32
    assert networks.count_flops(build("cnn", 62), (28, 28, 1)) == 2 * (convolutions + 1600 * 128 + 128 * 62)


@pytest.mark.parametrize("name", ["dense", "cnn", "cnn5", "resnet_small"])
def test_layers_are_replaced_for_training_without_changing_the_weights(name):
    parts = networks.LayerFactory(randomness.Dropout, normalization.BatchNormalization)
    stock, training = build(name, 10), networks.build(train_config("d", "r", model=name), DIGITS, parts)
    assert [weight.path for weight in training.weights] == [weight.path for weight in stock.weights]


@pytest.mark.parametrize("name", ["dense", "cnn", "cnn5", "resnet_small"])
def test_pixels_in_0_to_255_give_probabilities(name):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), dtype=np.uint8)
    probabilities = np.asarray(build(name, 47)(images))
    assert probabilities.shape == (5, 47)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities >= 0).all()


def test_the_same_seed_gives_the_same_weights():
    weights = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        weights.append(build("cnn", 10).get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
