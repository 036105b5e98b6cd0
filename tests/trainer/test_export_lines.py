"""Models of lines in other runtimes read what the SavedModel reads."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.dataset import manifest as manifests
from common.dataset.schema import IMAGE, WIDTH, Batch, Schema
from common.errors import FailedError, InputError
from tests.support.docs import blocks
from tests.support.settings import train_config
from trainer import export
from trainer.config.commands import ExportConfig
from trainer.data.examples import open_split
from trainer.evaluation.calibration import Calibration
from trainer.models import line_networks
from trainer.serving import loading, runtimes, saved_model
from trainer.serving.runtimes import FORMATS
from trainer.tasks import lines

RUNTIMES = {
    "litert": "from ai_edge_litert.interpreter import Interpreter\n"
    "recognise = Interpreter(sys.argv[1]).get_signature_runner('logits')\n",
    "onnx": "import onnxruntime\nsession = onnxruntime.InferenceSession(sys.argv[1])\n"
    "recognise = lambda **inputs: dict(zip(['logits'], session.run(['logits'], inputs)))\n",
}
RUNTIMES["litert_int8"] = RUNTIMES["litert"]

pytestmark = [pytest.mark.usefixtures("models_loaded_once"), pytest.mark.tensorflow]


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    monkeypatch.setattr(export, "_SECONDS_OF_TIMING", 0.01)


@pytest.fixture(scope="module")
def schema(composed_lines) -> Schema:
    return manifests.read(composed_lines).schema


@pytest.fixture(scope="module")
def exported(numbers_run, shared_folder) -> Path:
    def build(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(export, "_SECONDS_OF_TIMING", 0.01)
            export.run(ExportConfig(str(numbers_run), output_dir=str(folder / "formats")))

    return shared_folder("export_lines", build) / "formats"


@pytest.fixture(scope="module")
def examples(composed_lines) -> Batch:
    return open_split(composed_lines, manifests.read(composed_lines), "test").take(np.arange(75))


@pytest.fixture(scope="module")
def expected(numbers_run, examples) -> tuple[np.ndarray, list[str]]:
    """The logits and texts of the SavedModel."""
    model = tf.saved_model.load(numbers_run / "model")
    image, width = examples[IMAGE], examples[WIDTH]
    texts = model.signatures["image_tensor"](image=tf.constant(image), width=tf.constant(width))["text"]
    return model.logits_of(image, width).numpy(), [text.decode() for text in texts.numpy()]


def load(exported: Path, name: str) -> runtimes.Recognise:
    return FORMATS[name].load((exported / FORMATS[name].file).read_bytes())


@pytest.mark.parametrize("name", ["litert", "onnx"])
def test_five_lines_of_python_read_each_text_as_the_saved_model(exported, examples, expected, tmp_path, name):
    """Those of the page on serving, where neither TensorFlow nor this package is."""
    reader = next(block.text for block in blocks("docs/serve.md") if "pairwise" in block.text)
    assert reader.count("\n") == 5
    np.savez(tmp_path / "lines.npz", images=examples[IMAGE], widths=examples[WIDTH])
    prepared = "images, widths = (np.load('lines.npz')[name] for name in ('images', 'widths'))\n"
    reader = reader.replace('"formats.json"', repr(str(exported / "formats.json")))
    program = f"import itertools, json, sys, numpy as np\n{RUNTIMES[name]}{prepared}{reader}"
    program += "assert not {'tensorflow', 'trainer', 'preprocess'} & set(sys.modules)\n"
    command = [sys.executable, "-I", "-W", "ignore", "-c", program, exported / FORMATS[name].file]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == expected[1]
    assert len(set(expected[1])) > 50


@pytest.mark.parametrize("name", FORMATS)
def test_number_and_width_of_lines_are_free(exported, examples, expected, name):
    recognise, order = load(exported, name), np.argsort(examples[WIDTH])[:6]
    image, width = examples[IMAGE][order], examples[WIDTH][order]
    whole = recognise(image=image, width=width)["logits"]
    assert whole.dtype == np.float32
    assert whole.shape == (6, -(-image.shape[2] // 4), expected[0].shape[2])
    narrow = int(width.max())
    assert narrow % 32, "also if it is no round number"
    cropped = recognise(image=image[:, :, :narrow], width=width)["logits"]
    assert cropped.shape[1] == -(-narrow // 4)
    alone = [recognise(image=image[row : row + 1], width=width[row : row + 1])["logits"] for row in range(6)]
    for row, steps in enumerate(-(-width // 4)):
        for other in (cropped[row], alone[row][0]):
            np.testing.assert_allclose(other[:steps], whole[row, :steps], atol=1e-4)
        if FORMATS[name].is_exact:
            np.testing.assert_allclose(whole[row], expected[0][order[row]], atol=1e-3)


def test_the_figures_are_error_rates_on_whole_splits(exported, numbers_run, schema):
    figures = json.loads((exported / "formats.json").read_text())
    run = json.loads((numbers_run / "metrics.json").read_text())
    assert tuple(figures["vocabulary"]) == schema.vocabulary
    assert list(figures["formats"]) == ["saved_model", "litert", "litert_int8", "onnx"]
    for name, measured in figures["formats"].items():
        assert all(speed > 0 for speed in measured["examples_per_second"].values())
        for split in ("validation", "test"):
            assert measured[split]["num_examples"] == run[split]["num_examples"]
            if name != "litert_int8":
                for rate in ("character_error_rate", "word_error_rate", "loss"):
                    assert measured[split][rate] == pytest.approx(run[split][rate], abs=1e-4)
                assert measured.get("different_readings", 0) == 0
                assert measured.get("largest_difference", 0) < 1e-3


def test_the_integers_are_calibrated_and_cost_little(exported):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(exported / "model_int8.tflite"))
    types = [tensor["dtype"] for tensor in interpreter.get_tensor_details()]
    assert types.count(np.int8) > 20
    figures = json.loads((exported / "formats.json").read_text())["formats"]
    assert figures["litert_int8"]["size_bytes"] < 0.75 * figures["litert"]["size_bytes"]
    rates = [figures[name]["test"]["character_error_rate"] for name in ("litert", "litert_int8")]
    assert 0 < rates[0] < 0.7
    assert abs(rates[1] - rates[0]) < 0.03


@pytest.mark.parametrize("fault", [0.002, np.nan])
def test_a_file_that_gives_other_logits_is_not_left(numbers_run, exported, tmp_path, monkeypatch, fault):
    """Whatever batch and line they are in."""
    content, load = (exported / "model.onnx").read_bytes(), FORMATS["onnx"].load

    def load_faulty(content: bytes) -> runtimes.Recognise:
        recognise, calls = load(content), itertools.count()
        return lambda **inputs: {"logits": recognise(**inputs)["logits"] + (fault if next(calls) == 3 else 0)}

    faulty = replace(FORMATS["onnx"], convert=lambda *_: content, load=load_faulty)
    monkeypatch.setitem(FORMATS, "onnx", faulty)
    config = ExportConfig(str(numbers_run), formats=("onnx",), output_dir=str(tmp_path / "formats"))
    with pytest.raises(
        FailedError, match=r"model.onnx: its logits differ from the SavedModel's by up to .* than 1e-03"
    ):
        export.run(config)
    assert not (tmp_path / "formats").exists()


def test_recurrent_layers_are_refused_for_litert(numbers_run, tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "is_recurrent", lambda *_: True)
    with pytest.raises(InputError, match=r"--formats litert: LiteRT has recurrent layers .*; give --formats onnx"):
        export.run(ExportConfig(str(numbers_run), output_dir=str(tmp_path / "formats")))


@pytest.mark.thorough
def test_recurrent_layers_are_recognised_and_run_in_onnx_runtime(numbers_run, examples, schema, tmp_path):
    assert not runtimes.is_recurrent(loading.load(str(numbers_run)), lines.PORTABLE)
    small = {"filters": (4, 8, 8, 8, 8), "units": 8}
    keras.utils.set_random_seed(0)
    network = line_networks.build(train_config("data", "run", model="article_lines", article_lines=small), schema)
    module = saved_model.to_module(network, lines.TASK, schema, Calibration())
    saved_model.save_saved_model(module, tmp_path / "model")
    model = loading.load(str(tmp_path / "model"))
    assert runtimes.is_recurrent(model, lines.PORTABLE)
    onnx = FORMATS["onnx"].load(FORMATS["onnx"].convert(model, lines.PORTABLE, None))
    inputs = lines.PORTABLE.inputs({name: examples[name][:5] for name in (IMAGE, WIDTH)})
    np.testing.assert_allclose(onnx(**inputs)["logits"], model.logits_of(**inputs), atol=1e-3)
