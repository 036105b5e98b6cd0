"""The exported model is the trained network, and runs without our code."""

import base64
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw

from common.dataset.schema import characters
from common.normalize import picture as pictures
from tests.support import ROOT
from tests.support.settings import train_config
from trainer.evaluation import metrics
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.novelty import Novelty
from trainer.models import networks
from trainer.serving import saved_model
from trainer.tasks.characters import TASK

NAMES = tuple("0123456789")
TEMPERATURE, PICTURE_TEMPERATURE = 1.5, 3.0
CALIBRATION = Calibration(TEMPERATURE, PICTURE_TEMPERATURE, (0.5, 0.75, math.inf), (0.9, math.inf, math.inf), 340)


pytestmark = pytest.mark.xdist_group("export")  # what is saved once serves them all


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return networks.build(train_config("d", "r"), characters(NAMES))


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    saved_model.save_keras(network, folder / "model.keras")
    module = saved_model.to_module(network, TASK, characters(NAMES), CALIBRATION)
    saved_model.save_saved_model(module, folder / "model")
    return folder


def test_nothing_incomplete_is_left(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["model", "model.keras"]


def test_the_saved_model_loads_where_this_package_is_not(saved, network, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    program = (
        "import sys, numpy as np, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "signature = model.signatures['image_tensor']\n"
        "assert [name.decode() for name in model.class_names().numpy()] == list('0123456789')\n"
        "assert model.temperature().numpy() == 1.5\n"
        "out = signature(image=tf.constant(np.load('images.npy')))\n"
        "out = {name: value.numpy() for name, value in out.items()}\n"
        "np.savez('out.npz', **out | {'class_name': out['class_name'].astype(str)})\n"
        "assert not {'trainer', 'preprocess'} & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-I", "-c", program, str(saved / "model")], cwd=tmp_path, check=True, capture_output=True
    )
    out = np.load(tmp_path / "out.npz")
    expected = metrics.calibrate(np.asarray(network(images.astype(np.float32), training=False)), TEMPERATURE)
    np.testing.assert_allclose(out["probabilities"], expected, atol=1e-6)
    assert out["class_index"].tolist() == expected.argmax(axis=1).tolist()
    assert out["class_name"].tolist() == [NAMES[index] for index in out["class_index"]]


def test_keras_loads_the_layers(saved, network):
    loaded = keras.models.load_model(saved / "model.keras")
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in network.layers]


def test_the_batch_dimension_is_free(saved):
    served = tf.saved_model.load(saved / "model")
    for count in (1, 7):
        out = served.signatures["image_tensor"](image=tf.zeros((count, 28, 28, 1), tf.uint8))
        assert out["probabilities"].shape == (count, 10)


def test_a_picture_of_any_size_is_served_as_its_28_by_28_image_is(saved):
    """Dark ink on light paper, off-centre; converted by the reference beforehand, or by the model."""
    served = tf.saved_model.load(saved / "model")
    picture = Image.new("L", (300, 200), 250)
    ImageDraw.Draw(picture).line([(120, 30), (60, 90), (140, 160)], 20, 15)
    content = io.BytesIO()
    picture.save(content, "PNG")
    image, _ = pictures.read(content.getvalue())
    by_bytes = served.signatures["serving_default"](image_bytes=tf.constant([content.getvalue()] * 2))
    by_image = served.signatures["image_tensor"](image=tf.constant(image[None, ..., None]))
    as_of_picture = metrics.calibrate(by_image["probabilities"].numpy(), PICTURE_TEMPERATURE / TEMPERATURE)
    assert by_bytes["probabilities"].shape == (2, 10)
    np.testing.assert_allclose(by_bytes["probabilities"][:1], as_of_picture, atol=0.01)
    assert set(by_image) == {"probabilities", "class_index", "class_name"}
    assert set(by_bytes) == set(by_image) | {"problem"}


def test_what_hardly_looks_like_a_character_is_read_with_little_confidence_if_it_is_a_picture(network):
    features = network.get_layer("logits").input.shape[1]
    nothing = np.zeros((1, features), np.float32)
    novelty = Novelty(np.eye(features, dtype=np.float32), nothing[0], nothing, np.zeros(2, np.float32), bias=-1.0)
    plain, module = (saved_model.to_module(network, TASK, characters(NAMES), CALIBRATION, of) for of in (None, novelty))
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
    certain, softened = (part.recognise_pictures(images).numpy() for part in (plain, module))
    is_character = 1 / (1 + np.e)
    np.testing.assert_allclose(softened, is_character * certain + (1 - is_character) / len(NAMES), atol=1e-6)
    assert softened.argmax(axis=1).tolist() == certain.argmax(axis=1).tolist()
    of_pixels = (part.image_tensor(images)["probabilities"].numpy() for part in (plain, module))
    np.testing.assert_array_equal(*of_pixels)


def test_a_server_names_the_picture_that_it_cannot_take(saved):
    served = tf.saved_model.load(saved / "model")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"picture 0 \(counted from 0\) is not a picture"):
        served.signatures["serving_default"](image_bytes=tf.constant([b"no picture"]))


def test_the_signatures_read_well(saved):
    command = [Path(sys.executable).with_name("saved_model_cli"), "show", "--dir", saved / "model", "--all"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in (
        "signature_def['serving_default']",
        "inputs['image_bytes'] tensor_info",
        "inputs['image'] tensor_info",
    ):
        assert line in shown


def test_the_request_in_the_docs_is_one_that_the_model_takes_and_answers_so(saved, tmp_path):
    """With REST's rules for rows: https://www.tensorflow.org/tfx/serving/api_rest."""
    text = (ROOT / "docs" / "serve.md").read_text()
    picture = io.BytesIO()
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(picture, "PNG")
    body = re.search(r'-d "(.*)"', text)[1].replace("\\", "")
    body = re.sub(r"\$\(base64 -w0 .*?\)", base64.b64encode(picture.getvalue()).decode(), body)
    (instance,) = json.loads(body)["instances"]
    (name, value) = instance.popitem()
    assert name.endswith("_bytes"), "or the server would take base64 for the very value"
    served = tf.saved_model.load(saved / "model")
    answer = served.signatures["serving_default"](**{name: tf.constant([base64.b64decode(value["b64"])])})
    (shown,) = json.loads(re.search(r'\{"predictions".*', text)[0].replace(", …", ""))["predictions"]
    assert shown.keys() == answer.keys()
    for key, kind in (("class_index", np.int64), ("class_name", object), ("probabilities", np.float32)):
        assert answer[key].numpy().dtype == kind
        assert isinstance(shown[key], {np.int64: int, object: str, np.float32: list}[kind])
