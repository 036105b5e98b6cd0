"""Exports for other runtimes give the same predictions as the SavedModel, or are not written."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.dataset import manifest
from common.dataset import schema as schemas
from common.errors import FailedError, InputError
from common.storage import to_path
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from tests.support.commands import run_command
from tests.support.datasets import read_split
from tests.support.settings import train_config
from trainer import export, main
from trainer.config.commands import ExportConfig
from trainer.evaluation.calibration import Calibration
from trainer.models import networks
from trainer.serving import loading, saved_model
from trainer.serving.runtimes import FORMATS
from trainer.tasks import characters

LITERT = (
    "from ai_edge_litert.interpreter import Interpreter\n"
    "recognise = Interpreter(model_path=sys.argv[1]).get_signature_runner('image_tensor')\n"
)
ONNX = (
    "import onnxruntime\n"
    "session = onnxruntime.InferenceSession(sys.argv[1])\n"
    "names = [output.name for output in session.get_outputs()]\n"
    "recognise = lambda image: dict(zip(names, session.run(None, {'image': image})))\n"
)
RUNTIMES = {"model.tflite": LITERT, "model_int8.tflite": LITERT, "model.onnx": ONNX}

pytestmark = pytest.mark.usefixtures("models_loaded_once")


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    monkeypatch.setattr(export, "_SECONDS_OF_TIMING", 0.01)


@pytest.fixture(scope="module")
def exported(finished_run, shared_folder):
    def build(folder: Path) -> None:
        output = str(folder / "formats")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(export, "_SECONDS_OF_TIMING", 0.01)
            assert export.run(ExportConfig(str(finished_run), output_dir=output)) == output

    return shared_folder("export", build) / "formats"


@pytest.fixture(scope="module")
def images(synthetic_digits) -> np.ndarray:
    return read_split(synthetic_digits, "test")[0][..., None]


@pytest.fixture(scope="module")
def expected(finished_run, images) -> dict[str, np.ndarray]:
    """What the SavedModel says of them."""
    model = tf.saved_model.load(finished_run / "model")
    return {name: value.numpy() for name, value in model.signatures["image_tensor"](image=images).items()}


def save_untrained(model: str, class_names: tuple[str, ...], path: Path) -> None:
    keras.utils.set_random_seed(0)
    schema = schemas.characters(class_names)
    network = networks.build(train_config("d", "r", model=model), schema)
    saved_model.save_saved_model(saved_model.to_module(network, characters.TASK, schema, Calibration(1.5)), path)


@pytest.mark.parametrize("file", RUNTIMES)
def test_a_file_runs_where_neither_tensorflow_nor_this_package_is(exported, images, expected, tmp_path, file):
    np.save(tmp_path / "images.npy", images[:100])
    program = (
        f"import sys, numpy as np\n{RUNTIMES[file]}"
        "out = recognise(image=np.load('images.npy'))\n"
        "names = [name if isinstance(name, str) else name.decode() for name in out['class_name']]\n"
        "np.savez('out.npz', **out | {'class_name': names})\n"
        "assert not {'tensorflow', 'trainer', 'preprocess'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program, exported / file], cwd=tmp_path, check=True)
    out = np.load(tmp_path / "out.npz")
    if file != "model_int8.tflite":
        np.testing.assert_allclose(out["probabilities"], expected["probabilities"][:100], atol=1e-5)
    assert out["probabilities"].dtype == np.float32
    np.testing.assert_allclose(out["probabilities"].sum(axis=1), 1, atol=1e-5)
    assert out["class_index"].dtype == np.int64
    assert out["class_index"].tolist() == out["probabilities"].argmax(axis=1).tolist()
    assert out["class_name"].tolist() == [str(index) for index in out["class_index"]]


@pytest.mark.parametrize("name", FORMATS)
def test_the_batch_dimension_is_free(exported, images, name):
    recognise = FORMATS[name].load((exported / FORMATS[name].file).read_bytes())
    together = recognise(image=images[:7])["probabilities"]
    alone = np.concatenate([recognise(image=images[index : index + 1])["probabilities"] for index in range(7)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_figures_are_measured_on_whole_splits(exported, finished_run, synthetic_digits):
    figures = json.loads((exported / "formats.json").read_text())
    run = json.loads((finished_run / "metrics.json").read_text())
    fingerprint = manifest.read(synthetic_digits).data_fingerprint
    assert (figures["run"], figures["data_fingerprint"]) == (str(finished_run), fingerprint)
    assert list(figures["formats"]) == ["saved_model", "litert", "litert_int8", "onnx"]
    for name, measured in figures["formats"].items():
        assert all(speed > 0 for speed in measured["examples_per_second"].values())
        for split in ("validation", "test"):
            assert measured[split]["num_examples"] == run[split]["num_examples"]
            if name != "litert_int8":
                assert measured[split]["accuracy"] == pytest.approx(run[split]["accuracy"], abs=1e-6)
                assert measured[split]["loss"] == pytest.approx(run[split]["loss_calibrated"], abs=1e-5)
        if name != "saved_model":
            assert measured["size_bytes"] == (exported / measured["file"]).stat().st_size


def test_the_integers_are_calibrated_and_cost_little(exported, images, expected):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(exported / "model_int8.tflite"))
    interpreter.allocate_tensors()
    weights = [tensor for tensor in interpreter.get_tensor_details() if len(tensor["shape"]) == 2]
    inner = [tensor["dtype"] for tensor in weights if tensor["quantization_parameters"]["scales"].size]
    assert inner.count(np.int8) >= 6  # three layers' kernels, and what goes in or comes out
    assert (exported / "model_int8.tflite").stat().st_size < (exported / "model.tflite").stat().st_size / 2
    figures = json.loads((exported / "formats.json").read_text())["formats"]
    assert abs(figures["litert_int8"]["test"]["accuracy"] - figures["litert"]["test"]["accuracy"]) < 0.02
    # Eight bits would have made them 0.
    recognise = FORMATS["litert_int8"].load((exported / "model_int8.tflite").read_bytes())
    probabilities = recognise(image=images)["probabilities"]
    improbable = expected["probabilities"] < 1 / 1024
    assert improbable.sum() > 1000
    assert probabilities[improbable].min() > 0


@pytest.mark.parametrize(
    "model", [*(pytest.param(name, marks=pytest.mark.thorough) for name in ("dense", "cnn")), "cnn5", "resnet_small"]
)
def test_every_network_can_be_exported(images, tmp_path, model):
    names = ("é", "字", *"abcdef")
    save_untrained(model, names, tmp_path / "model")
    loaded = loading.load(str(tmp_path / "model"))
    expected = loaded.signatures["image_tensor"](image=images[:50])
    for fmt in FORMATS.values():
        samples = [{"image": image[None]} for image in images[:100]]
        answers = fmt.load(fmt.convert(loaded, characters.PORTABLE, samples))(image=images[:50])
        tolerance = 1e-5 if fmt.is_exact else 0.05
        np.testing.assert_allclose(answers["probabilities"], expected["probabilities"], atol=tolerance)
        assert {name if isinstance(name, str) else name.decode() for name in answers["class_name"]} <= set(names)
        if fmt.is_exact:
            assert answers["class_index"].tolist() == expected["class_index"].numpy().tolist()


def test_the_same_training_examples_give_the_same_integers(exported, finished_run, tmp_path):
    config = ExportConfig(str(finished_run), formats=("litert_int8",), output_dir=str(tmp_path))
    again = Path(export.run(config)) / "model_int8.tflite"
    assert again.read_bytes() == (exported / "model_int8.tflite").read_bytes()


def test_from_the_command_line_the_folder_is_the_last_line(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    done = run_command("trainer", "export", "--model", str(run), "--formats", "litert")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{run / 'formats'}\n"
    assert sorted(path.name for path in (run / "formats").iterdir()) == ["formats.json", "model.tflite"]
    figures = json.loads((run / "formats" / "formats.json").read_text())["formats"]
    assert {name: measured["threads"] for name, measured in figures.items()} == {"saved_model": 1, "litert": 1}
    assert f"{100 * figures['litert']['test']['accuracy']:.2f} %" in done.stderr.splitlines()[-1]


def test_a_second_export_leaves_nothing_of_the_first(finished_run, tmp_path):
    for name in ("onnx", "litert"):
        export.run(ExportConfig(str(finished_run), formats=(name,), output_dir=str(tmp_path)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["formats.json", "model.tflite"]


def test_run_data_and_files_may_lie_in_a_bucket(bucket, finished_run, synthetic_digits, tmp_path):
    to_path(f"{bucket}/run").upload_from(finished_run)
    to_path(f"{bucket}/digits").upload_from(synthetic_digits)
    config = ExportConfig(f"{bucket}/run", f"{bucket}/digits", formats=("litert",), cache_dir=str(tmp_path))
    assert export.run(config) == f"{bucket}/run/formats"
    figures = json.loads(to_path(f"{bucket}/run/formats/formats.json").read_text())["formats"]
    assert figures["litert"]["size_bytes"] == to_path(f"{bucket}/run/formats/model.tflite").stat().st_size
    local = sum(path.stat().st_size for path in (finished_run / "model").rglob("*") if path.is_file())
    assert figures["saved_model"]["size_bytes"] == local


def test_a_file_that_gives_other_probabilities_is_not_left(finished_run, tmp_path, monkeypatch):
    save_untrained("dense", tuple("0123456789"), tmp_path / "model")
    make_onnx_of(tmp_path / "model", monkeypatch)
    assert_nothing_is_left(finished_run, tmp_path, "model.onnx: its probabilities differ from the SavedModel's by")


def test_a_file_that_names_other_classes_is_not_left(finished_run, tmp_path, monkeypatch):
    network = keras.models.load_model(finished_run / "model.keras")
    schema = schemas.characters(tuple("9876543210"))
    module = saved_model.to_module(network, characters.TASK, schema, Calibration())
    saved_model.save_saved_model(module, tmp_path / "model")
    make_onnx_of(tmp_path / "model", monkeypatch)
    assert_nothing_is_left(finished_run, tmp_path, "model.onnx: its class names are not those")


def test_integers_that_recognise_nothing_are_not_left(finished_run, tmp_path, monkeypatch):
    blank = {"image": np.zeros((10, 28, 28, 1), np.uint8)}
    monkeypatch.setattr(export, "_sample", lambda *_: blank)
    assert_nothing_is_left(finished_run, tmp_path, "model_int8.tflite: its accuracy is .* points below")


def make_onnx_of(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, `model.onnx` is made of another model than the run's."""
    other, convert = loading.load(str(saved)), FORMATS["onnx"].convert
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], convert=lambda _, *others: convert(other, *others)))


def assert_nothing_is_left(run: Path, folder: Path, complaint: str) -> None:
    """Not of the formats either that were fine."""
    output = folder / "export" / "formats"
    with pytest.raises(FailedError, match=complaint):
        export.run(ExportConfig(str(run), output_dir=str(output)))
    assert not output.parent.exists()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": "nowhere"}, "nowhere: holds no finished run"),
        ({"data": "nowhere"}, "nowhere: no manifest.json there"),
        ({"formats": ()}, "--formats: name at least one of litert, litert_int8, onnx"),
    ],
)
def test_bad_requests_are_refused(finished_run, changes, complaint):
    with pytest.raises(InputError, match=complaint):
        export.run(ExportConfig(**({"model": str(finished_run)} | changes)))


def test_other_data_than_the_run_was_trained_on_is_refused(finished_run, tmp_path):
    request = PreprocessConfig("synthetic/digits", ("synthetic",), str(tmp_path), max_examples_per_split=300)
    with pytest.raises(InputError, match=r"--data .*: is not the dataset that .*dense was trained on"):
        export.run(ExportConfig(str(finished_run), pipeline.run(request)))


@pytest.mark.parametrize(
    ("name", "module"), [("litert", "ai_edge_litert"), ("onnx", "tf2onnx"), ("onnx", "onnxruntime")]
)
def test_a_missing_package_is_told_with_its_extra(finished_run, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    complaint = rf"--formats {name}: cannot import {module} \(.*\); install this package's extra formats"
    with pytest.raises(InputError, match=complaint):
        export.run(ExportConfig(str(finished_run), formats=(name,)))


def test_an_unknown_format_is_one_line_and_exit_code_2(capsys):
    assert main.main(["export", "--model", "run", "--formats", "coreml"]) == 2
    error = capsys.readouterr().err
    assert "coreml" in error
    assert "litert_int8" in error
    assert error.count("\n") == 1
