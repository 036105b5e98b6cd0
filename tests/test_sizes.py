"""Images of any height and width with custom classes: from IDX files to a model that reads them."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common.dataset import manifest
from common.errors import InputError
from common.formats import idx
from common.normalize import character
from common.normalize import picture as pictures
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from tests.support.datasets import read_split
from tests.support.settings import train_config
from trainer import evaluate, predict, train
from trainer.config.commands import EvaluateConfig, PredictConfig
from trainer.serving import loading

STROKES = 4


def strokes(count: int, height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W] of as many upright strokes as their labels, 0 to 3, and one, say."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % STROKES
    images = np.zeros((count, height, width), np.uint8)
    for image, label in zip(images, labels, strict=True):
        for place in range(label + 1):
            column = round((place + 0.7) * width / (STROKES + 0.4)) + random.integers(-1, 2)
            top, bottom = random.integers(1, height // 4), random.integers(3 * height // 4, height - 1)
            image[top:bottom, max(column, 0) : max(column, 0) + 1 + width // 28] = random.integers(160, 256)
    return images, labels.astype(np.uint8)


def joined(image: np.ndarray) -> np.ndarray:
    """The strokes with a bar across, one character: strokes beside each other are several."""
    columns, middle = np.flatnonzero(image.any(axis=0)), len(image) // 2
    image = image.copy()
    image[middle - 1 : middle + 1, columns[0] : columns[-1] + 1] = image.max()
    return image


def write_source(folder: Path, height: int, width: int, prefix: str = "") -> Path:
    folder.mkdir()
    for seed, (split, name) in enumerate({"train": "train", "test": "test" if prefix else "t10k"}.items()):
        images, labels = strokes({"train": 640, "test": 160}[split], height, width, seed)
        stored = images.transpose(0, 2, 1) if prefix.startswith("emnist-") else images
        (folder / f"{prefix}{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx.write(stored)))
        (folder / f"{prefix}{name}-labels-idx1-ubyte").write_bytes(idx.write(labels))
    return folder


def mapped(folder: Path, name: str = "mapping.txt") -> Path:
    (folder / name).write_text("".join(f"{label} {ord(character)}\n" for label, character in enumerate("abcd")))
    return folder


def config(source: Path, data_dir: Path, **settings) -> PreprocessConfig:
    return PreprocessConfig("mine/strokes", (str(source),), str(data_dir), **settings)


CLASSES = ("one stroke", "two", "three", "four")


@pytest.mark.parametrize(
    ("size", "network"),
    [
        ((15, 15), "dense"),
        ((20, 36), "cnn"),
        pytest.param((20, 20), "cnn", marks=pytest.mark.thorough),
        pytest.param((64, 64), "dense", marks=pytest.mark.thorough),
    ],
)
def test_idx_files_of_any_size_train_end_to_end(tmp_path, size, network):
    source = write_source(tmp_path / "source", *size)
    folder = Path(pipeline.run(config(source, tmp_path / "data", classes=CLASSES)))
    loaded = manifest.read(folder)
    assert (loaded.schema.image_shape, loaded.class_names) == ((*size, 1), CLASSES)
    images, _ = strokes(160, *size, seed=1)
    assert {image.tobytes() for image in read_split(folder, "test")[0]} == {image.tobytes() for image in images}
    assert (folder / "preview.png").is_file()

    run = tmp_path / "run"
    settings = {"model": network, "epochs": 3, "global_batch_size": 32, "learning_rate": 0.003}
    train.run(
        train_config(str(folder), str(run), augmentation=("shift(1)",), verify_export=size[0] != size[1], **settings)
    )
    figures = json.loads(evaluate.run(EvaluateConfig(str(run), str(folder))))
    assert figures["per_class"].keys() == set(CLASSES)
    assert figures["accuracy"] > 0.4, "far more than one in four"
    assert f"uint8 [N, {size[0]}, {size[1]}, 1]" in (run / "model" / "README.md").read_text()
    assert "use `image_tensor`" in (run / "model" / "README.md").read_text()

    model = loading.load(str(run))
    assert loading.image_size(model) == size
    picture = io.BytesIO()
    Image.fromarray(255 - np.pad(joined(images[3]), 20)).save(picture, "PNG")
    (tmp_path / "picture.png").write_bytes(picture.getvalue())
    converted, codes = model.convert(tf.constant([picture.getvalue()]))
    expected, _ = pictures.read(picture.getvalue(), size)
    assert codes.numpy().tolist() == [b""]
    assert np.abs(converted[0, ..., 0].numpy().astype(int) - expected).max() <= 2

    output = str(tmp_path / "out.jsonl")
    inputs = (str(tmp_path / "picture.png"), str(source / "t10k-images-idx3-ubyte.gz"), str(folder))
    predict.run(PredictConfig(str(run), inputs, output, html=str(tmp_path / "out.html")))
    lines = [json.loads(line) for line in Path(output).read_text().splitlines()]
    assert len(lines) == 1 + 160 + 160
    assert {line["character"] for line in lines} <= set(CLASSES)
    assert np.mean([line["character"] == line["label"] for line in lines[161:]]) == figures["accuracy"]


def test_pictures_are_brought_to_the_size_that_is_asked_for(tmp_path):
    images, labels = strokes(80, 40, 40, seed=0)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "pictures" / "abcd"[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - np.pad(joined(image), 10)).save(folder / f"{number}.png")
    make = [config(tmp_path / "pictures", tmp_path / str(size), image_size=size) for size in (None, "28x28", "64x48")]
    plain, same, other = (manifest.read(Path(pipeline.run(settings))) for settings in make)
    assert plain.schema.image_shape == (28, 28, 1)
    assert (same.request, same.data_fingerprint) == (plain.request, plain.data_fingerprint)
    assert (other.schema.image_shape, other.request.image_size) == ((64, 48, 1), "64x48")
    resized = read_split(tmp_path / "64x48" / "mine" / "strokes" / "1.0.0", "train")[0]
    reach = np.flatnonzero(resized.max(axis=(0, 2)))  # ink comes near all four edges, and not at them
    assert reach[0] in range(3, 9)
    assert reach[-1] in range(55, 61)


def test_a_larger_image_is_the_smaller_one_with_more_detail():
    canvas = np.zeros((512, 512), np.uint8)
    canvas[100:400, 200:260] = 255
    small = np.asarray(Image.fromarray(canvas).resize((128, 128), Image.Resampling.BOX))
    large, usual = character.to_image(canvas, (112, 112)), character.to_image(small)
    assert large.shape == (112, 112)
    difference = np.asarray(Image.fromarray(large).resize((28, 28), Image.Resampling.BOX)).astype(int) - usual
    assert np.abs(difference).mean() < 8
    wide = character.to_image(small, (28, 56))
    assert wide.shape == (28, 56)
    assert np.abs(wide[:, 14:42].astype(int) - usual).mean() < 8, "the same character, with paper on both sides"


def test_files_named_as_emnists_are_turned_upright_and_a_mapping_file_names_the_classes(tmp_path, caplog):
    source = mapped(write_source(tmp_path / "source", 20, 36, "emnist-strokes-"), "emnist-strokes-mapping.txt")
    with caplog.at_level("INFO", "preprocess"):
        folder = Path(pipeline.run(config(source, tmp_path / "data")))
    assert "the files are named like EMNIST's, so their height and width are swapped" in caplog.text
    assert manifest.read(folder).schema.image_shape == (20, 36, 1)
    assert "".join(manifest.read(folder).class_names) == "abcd"
    images, _ = strokes(160, 20, 36, seed=1)
    assert {image.tobytes() for image in read_split(folder, "test")[0]} == {image.tobytes() for image in images}


@pytest.mark.parametrize(
    ("change", "settings", "complaint"),
    [
        (None, {}, "mapping.txt: no such file; give it, or name the classes with --classes"),
        (mapped, {"classes": CLASSES}, "--classes: .*source has mapping.txt, which names the classes"),
        (mapped, {"image_size": "28x28"}, "--image-size 28x28: the images of --source .* stay 15x20"),
        (mapped, {"image_size": "28"}, "--image-size 28: must be height and width, both from 8 to 1024, as in 28x28"),
        (mapped, {"image_size": "28x2000"}, "--image-size 28x2000: must be height and width"),
        (None, {"classes": ("a", "a")}, "--classes a a: must be different printable names"),
        (None, {"classes": ("a", "b")}, "labels-idx1-ubyte: label 2 of example 2 is outside"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, change, settings, complaint):
    source = write_source(tmp_path / "source", 15, 20)
    if change:
        change(source)
    with pytest.raises(InputError, match=complaint):
        pipeline.run(config(source, tmp_path / "data", **settings))
    assert not (tmp_path / "data").exists()


def test_splits_of_different_sizes_are_refused(tmp_path):
    source = mapped(write_source(tmp_path / "source", 15, 20))
    other = write_source(tmp_path / "other", 20, 15)
    (other / "t10k-images-idx3-ubyte.gz").rename(source / "t10k-images-idx3-ubyte.gz")
    with pytest.raises(
        InputError, match=r"t10k-images.*: holds uint8 of shape \(160, 20, 15\); images are uint8 \[N, 15"
    ):
        pipeline.run(config(source, tmp_path / "data"))


def test_a_model_refuses_images_of_another_size(finished_run, tmp_path):
    source = mapped(write_source(tmp_path / "source", 15, 20))
    folder = pipeline.run(config(source, tmp_path / "data"))
    with pytest.raises(InputError, match=r"its images are 15×20, this model takes 28×28"):
        predict.run(PredictConfig(str(finished_run), (folder,), str(tmp_path / "out.jsonl")))
    with pytest.raises(InputError, match=r"\(160, 15, 20\); images are uint8 \[N, 28, 28\]"):
        images = str(source / "t10k-images-idx3-ubyte.gz")
        predict.run(PredictConfig(str(finished_run), (images,), str(tmp_path / "out.jsonl")))
