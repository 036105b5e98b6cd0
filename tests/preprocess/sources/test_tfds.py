"""Datasets of TFDS; offline: MNIST from files placed among its downloads, others as it prepares them."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.dataset import manifest
from common.errors import InputError
from common.formats import idx
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from preprocess.sources import synthetic
from preprocess.sources.discover import discover
from tests.support.datasets import as_set, read_split
from tests.support.sources import telling_images

COUNTS = {"train": 3000, "test": 2500}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder with TFDS' downloads of an MNIST of fewer examples, of which few are different."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import resource

    for split, count in COUNTS.items():  # it reads so many, whatever the files say
        monkeypatch.setattr(f"tensorflow_datasets.image_classification.mnist._{split.upper()}_EXAMPLES", count)

    downloads = tmp_path / "cache" / "tfds" / "downloads"
    downloads.mkdir(parents=True)
    builder = tfds.builder("mnist", data_dir=tmp_path / "cache" / "tfds")
    for url, info in builder.url_infos.items():
        split = "test" if "t10k" in url else "train"
        count = COUNTS[split]
        array = telling_images(20)[np.arange(count) % 20] if "images" in url else np.arange(count) % 10
        path = downloads / resource.get_dl_fname(url, info.checksum)
        path.write_bytes(gzip.compress(idx.write(array.astype(np.uint8)), 1))
        resource.write_info_file(url=url, path=path, dataset_name="mnist", original_fname=Path(url).name, url_info=info)
    return tmp_path / "cache"


@pytest.mark.tensorflow
def test_mnist_arrives_as_tfds_has_it_and_is_not_transposed_a_second_time(cache, tmp_path):
    config = PreprocessConfig(
        "mnist/original",
        ("tfds:mnist",),
        str(tmp_path / "data"),
        cache_dir=str(cache),
        max_examples_per_split=2000,
    )
    folder = Path(pipeline.run(config))
    assert manifest.read(folder).class_names == tuple("0123456789")
    expected = as_set(telling_images(20), np.arange(20) % 10)
    for split in ("train", "validation", "test"):
        assert as_set(*read_split(folder, split)) <= expected
    assert as_set(*read_split(folder, "train")) == expected
    assert sum(split.num_examples for split in manifest.read(folder).splits.values()) == 4000
    # As commit 0653fc2 wrote it.
    fingerprint = "66968c55fda14ca0562ef0fdef802ad80aae53b4918ecad355237d9a79249d06"
    assert manifest.read(folder).data_fingerprint == fingerprint


@pytest.mark.parametrize(("dataset", "name"), [("emnist/letters", "mnist"), ("mnist/original", "kmnist")])
def test_a_known_dataset_is_only_read_from_what_tfds_has_right(tmp_path, dataset, name):
    config = PreprocessConfig(dataset, (f"tfds:{name}",), str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(InputError, match="known: --dataset mnist/original --source tfds:mnist"):
        pipeline.run(config)


@pytest.mark.parametrize("dataset", ["emnist/letters", "mine/letters"])
@pytest.mark.parametrize("name", ["emnist", "emnist/letters", "emnist:3.1.0"])
def test_emnist_is_refused_since_tfds_has_it_wrong(tmp_path, dataset, name):
    with pytest.raises(InputError, match=r"drops a third of EMNIST's Letters .* use NIST's own files"):
        discover(PreprocessConfig(dataset, (f"tfds:{name}",), str(tmp_path)))


@pytest.mark.parametrize("name", ["../secret", "a/../../b", "/etc", "a/.b", "", "A", "a b", "a:latest"])
def test_a_name_cannot_lead_out_of_the_folder(tmp_path, name):
    with pytest.raises(InputError, match=r"must be tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:1.0.0"):
        discover(PreprocessConfig("mine/own", (f"tfds:{name}",), str(tmp_path)))


def test_what_is_not_prepared_is_named_with_how_to_prepare_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "own"))
    with pytest.raises(InputError) as caught:
        discover(PreprocessConfig("mine/own", ("tfds:kmnist",), str(tmp_path), cache_dir=str(tmp_path / "cache")))
    assert str(caught.value) == (
        f"--source tfds:kmnist: is not prepared in {tmp_path}/cache/tfds or {tmp_path}/own; prepare it with "
        "`tfds build kmnist`, or name the folder of prepared datasets by TFDS_DATA_DIR"
    )


def prepare(data_dir: Path, name: str, image: Any, splits: dict[str, list[tuple[Any, int]]], version="1.0.0") -> None:
    """Writes a dataset as TFDS prepares it: images with their labels, by split."""
    import tensorflow_datasets as tfds

    label = tfds.features.ClassLabel(names=["upper_B", "A"])
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        features=tfds.features.FeaturesDict({"image": image, "label": label}),
        split_datasets={
            split: [(key, {"image": pixels, "label": label}) for key, (pixels, label) in enumerate(examples)]
            for split, examples in splits.items()
        },
        data_dir=data_dir,
        disable_shuffling=True,
    )


@pytest.mark.tensorflow
def test_any_grey_dataset_of_one_size_is_taken_as_it_is(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    images = np.random.default_rng(0).integers(0, 256, (90, 12, 10, 1), np.uint8)
    examples = [(image, number % 2) for number, image in enumerate(images)]
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "own"))
    grey = tfds.features.Image(shape=(12, 10, 1))
    prepare(tmp_path / "own", "tiny", grey, {"train": examples[:3]}, version="1.9.0")
    prepare(
        tmp_path / "own",
        "tiny",
        grey,
        {"train": examples[:60], "test": examples[60:80], "extra": examples[80:]},
        version="1.10.0",
    )
    source = discover(PreprocessConfig("mine/own", ("tfds:tiny",), str(tmp_path), cache_dir=str(tmp_path / "cache")))
    assert source.schema.vocabulary == ("upper_B", "A")
    assert source.schema.image_shape == (12, 10, 1)
    assert [one.problem for one in source.left_out] == ["beside-splits"]
    read = {split.split: list(split.read(32)) for split in source.splits}
    assert np.array_equal(np.concatenate([block.examples["image"] for block in read["train"]]), images[:60])
    assert np.array_equal(np.concatenate([block.examples["label"] for block in read["test"]]), np.arange(60, 80) % 2)


@pytest.mark.tensorflow
def test_a_dataset_of_colours_gives_the_examples_of_a_folder_of_its_pictures(tmp_path):
    import tensorflow_datasets as tfds

    splits = {"train": [], "test": []}
    for number in range(24):
        character = "BA"[number % 2]
        ink = np.pad(synthetic.draw(character, np.random.default_rng([6, ord(character), number])), 8)
        content = io.BytesIO()
        Image.fromarray(255 - ink).convert("RGB").resize((160, 150 + number)).save(content, "PNG")
        split = "test" if number % 4 > 1 else "train"
        path = tmp_path / "folder" / split / character / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getvalue())
        splits[split].append((io.BytesIO(content.getvalue()), number % 2))
    colours = tfds.features.Image(shape=(None, None, 3))
    prepare(tmp_path / "cache" / "tfds", "tiny", colours, splits)
    made = {}
    for source in ("tfds:tiny", str(tmp_path / "folder")):
        config = PreprocessConfig("mine/own", (source,), str(tmp_path / source[:4]), cache_dir=str(tmp_path / "cache"))
        folder = Path(pipeline.run(config))
        made[source] = {path.name: path.read_bytes() for path in folder.glob("*.tfrecord-*")}
    assert len(made) == 2
    assert made["tfds:tiny"] == made[str(tmp_path / "folder")]
