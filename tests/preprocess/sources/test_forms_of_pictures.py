"""Pictures in folders, in archives and in Parquet files: the same pictures give the same shards."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from common import storage
from common.dataset import manifest
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from preprocess.sources import pictures, synthetic
from preprocess.sources.base import Block, Source
from preprocess.sources.discover import discover

NAMES = ("upper_A", "lower_a", "7")


def png(character: str, number: int) -> bytes:
    buffer = io.BytesIO()
    ink = np.pad(synthetic.draw(character, np.random.default_rng([6, ord(character), number])), 8)
    Image.fromarray(255 - ink).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures of three classes, divided into splits, and what does not belong to them; tests leave it as it is."""
    root = tmp_path_factory.mktemp("forms") / "mine"
    for name in NAMES:
        for number in range(12):
            path = root / ("test" if number % 4 == 3 else "train") / name / "anna" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(name[-1], number))
    (root / "train" / "7" / "notes.txt").write_text("no picture")
    (root / "train" / ".DS_Store").write_bytes(b"")
    (root / "train" / "empty").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._0.png").write_bytes(b"")
    (root / "readme.md").write_text("about these")
    return root


def as_zip(root: Path, target: Path) -> Path:
    """With entries for folders, and all in a folder, as most programs write it."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(root.rglob("*"), reverse=True):
            out.write(path, Path(root.name) / path.relative_to(root))
    return target


def as_tar(root: Path, target: Path, mode: str = "w") -> Path:
    with tarfile.open(target, mode) as out:
        out.add(root, ".")
    return target


def as_parquet(root: Path, target: Path) -> Path:
    """With names of classes in the metadata and small groups of rows, in two files for training."""
    (target / "data").mkdir(parents=True)
    (target / "README.md").write_text("about these")
    for split in ("train", "test"):
        paths = sorted((root / split).rglob("*.png"))
        for number in range(2):
            rows = paths[number::2]
            table = pa.table(
                {
                    "image": [{"bytes": path.read_bytes(), "path": path.name} for path in rows],
                    "label": [NAMES.index(path.parent.parent.name) for path in rows],
                }
            )
            features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": NAMES}}
            about = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": about})
            path = target / "data" / f"{split}-{number:05d}-of-00002.parquet"
            parquet.write_table(table, path, row_group_size=5)
    return target


FORMS = {
    "zip": lambda root, place: as_zip(root, place / "mine.bin"),
    "tar": lambda root, place: as_tar(root, place / "mine"),
    "tar.gz": lambda root, place: as_tar(root, place / "mine.zip", "w:gz"),
    "tar.xz": lambda root, place: as_tar(root, place / "mine.jpg", "w:xz"),
    "parquet": lambda root, place: as_parquet(root, place / "mine"),
}
"""Makes a form of a folder, archives under names that say nothing of it."""


def config(location: object, data_dir: Path, **changes) -> PreprocessConfig:
    return PreprocessConfig("mine/letters", (str(location),), str(data_dir), **changes)


@pytest.fixture(scope="module")
def shards_of_folder(folder, tmp_path_factory) -> dict[str, bytes]:
    return shards(pipeline.run(config(folder, tmp_path_factory.mktemp("made"))))


def shards(made: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(made).glob("*.tfrecord-*"))}


@pytest.mark.xdist_group("alone")
@pytest.mark.parametrize(
    ("form", "workers", "place"),
    [
        ("zip", 2, "disk"),
        ("tar", 1, "disk"),
        ("tar.gz", 1, "bucket"),
        ("tar.xz", 1, "disk"),
        ("parquet", 2, "bucket"),
    ],
)
def test_any_form_gives_the_shards_of_the_folder(
    folder, shards_of_folder, tmp_path, bucket, monkeypatch, form, workers, place
):
    monkeypatch.setattr(pictures, "_PICTURES_PER_PART", 4)
    location = FORMS[form](folder, tmp_path)
    if place == "bucket":
        location = storage.to_path(f"{bucket}/{location.name}").upload_from(location)
    made = pipeline.run(config(location, tmp_path / "data", local_workers=workers))
    assert shards(made) == shards_of_folder


def problems(source: Source) -> list[str]:
    return sorted(one.problem for one in source.left_out)


def images(source: Source) -> set[tuple[str, int, bytes]]:
    """Each example: its split, label and pixels."""
    found = set()
    for split in source.splits:
        for block in split.read(5):
            assert isinstance(block, Block), block
            examples = zip(block.examples["label"], block.examples["image"], strict=True)
            found |= {(split.split, int(label), image.tobytes()) for label, image in examples}
    return found


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_what_an_archive_holds_besides_is_left_out_as_from_the_folder(folder, tmp_path, form):
    of_folder = discover(config(folder, tmp_path / "data"))
    location = FORMS[form](folder, tmp_path)
    of_archive = discover(config(location, tmp_path / "data"))
    expected = {(one.path.removeprefix(f"{folder}/"), one.problem) for one in of_folder.left_out}
    top = "mine/" if form == "zip" else ""
    assert {(one.path.removeprefix(f"{location}::{top}"), one.problem) for one in of_archive.left_out} == expected
    assert problems(of_archive) == [
        "beside-splits",
        "empty-folder",
        "hidden",
        "hidden",
        "no-picture",
    ]
    assert images(of_archive) == images(of_folder)


def test_each_example_has_its_origin_in_the_order_of_the_records(folder, tmp_path):
    for form, key in (("zip", "mine/"), ("parquet", "data/")):
        (tmp_path / form).mkdir()
        made = Path(pipeline.run(config(FORMS[form](folder, tmp_path / form), tmp_path / form / "data")))
        for name, split in manifest.read(made).splits.items():
            origins = [
                json.loads(line)
                for line in gzip.decompress((made / f"examples-{name}.jsonl.gz").read_bytes()).splitlines()
            ]
            assert len(origins) == split.num_examples
            assert all(origin["source"].startswith(key) for origin in origins)
            assert all(("#" in origin["source"]) == (form == "parquet") for origin in origins)
