"""Pictures in folders, in archives and in Parquet files: the same pictures give the same shards."""

import gzip
import hashlib
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
from common.errors import InputError
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


def write_rows(path: Path, columns: dict[str, object], names: tuple[str, ...] = ()) -> Path:
    """A Parquet file, its column `label` with names of classes."""
    table = pa.table(columns)
    if names:
        features = {"label": {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


BYTES = [png("A", number) for number in range(4)]
STRUCTS = [{"bytes": content, "path": None} for content in BYTES]
TEXTS = ["A", "b", "A", "b"]


@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        ({"image": STRUCTS, "label": TEXTS}, {}),
        ({"img": BYTES, "kind": pa.array(TEXTS).dictionary_encode()}, {}),
        ({"image": BYTES, "thumbnail": BYTES, "label": TEXTS, "writer": [1, 2, 3, 4]}, {}),
        ({"image": STRUCTS, "label": [0, 1, 0, 1]}, {"classes": ("A", "b")}),
        ({"image": STRUCTS, "label": [1, 0, 1, 0]}, {"classes": ("lower_B", "A")}),
    ],
    ids=range(5),
)
def test_columns_are_found_by_their_type_and_labels_may_be_texts_or_numbers(tmp_path, columns, settings):
    source = discover(config(write_rows(tmp_path / "train.parquet", columns), tmp_path / "data", **settings))
    assert source.schema.vocabulary == ("A", "b")
    found = {(picture.index, picture.name) for split in source.splits for picture in split.pictures}
    assert found == set(enumerate(TEXTS))


@pytest.mark.parametrize(
    ("columns", "settings", "complaint"),
    [
        ({"image": STRUCTS, "label": [0, 1, 0, 1]}, {}, r"'label' are numbers without names; .* --classes 0 1 2"),
        ({"image": STRUCTS, "label": [0, 2, 0, 1]}, {"classes": ("A", "b")}, "#1: its label 2 is none of the 2"),
        ({"image": STRUCTS, "label": TEXTS}, {"classes": ("A", "b")}, "--classes: .* names the classes; give only one"),
        ({"a": BYTES, "b": BYTES, "label": TEXTS}, {}, r"which column holds the pictures\? It may be 'a', 'b'"),
        ({"image": BYTES, "x": TEXTS, "y": [1, 2, 3, 4]}, {}, r"which column holds the labels\? It may be 'x', 'y'"),
        ({"pixels": [[1, 2]] * 4, "label": TEXTS}, {}, "has no column of pictures; a dataset of pictures has"),
        ({"image": STRUCTS}, {}, "has no column of labels"),
        ({"image": STRUCTS, "label": ["A", "b", "A", "\n"]}, {}, r"#3: its label '' is no name of a class"),
    ],
    ids=range(8),
)
def test_columns_that_are_not_clear_are_named(tmp_path, columns, settings, complaint):
    path = write_rows(tmp_path / "train.parquet", columns)
    with pytest.raises(InputError, match=complaint) as caught:
        discover(config(path, tmp_path / "data", **settings))
    assert "\n" not in str(caught.value)


def test_the_names_of_files_tell_their_splits(tmp_path):
    names = ("train-00000-of-00001", "validation/0000", "mine_test", "extra")
    for number, name in enumerate(names):
        rows = {"image": [png("A", 10 * number), png("b", 10 * number)], "label": ["A", "b"]}
        write_rows(tmp_path / "mine" / f"{name}.parquet", rows)
    source = discover(config(tmp_path / "mine", tmp_path / "data"))
    assert [split.split for split in source.splits] == ["train", "validation", "test"]
    assert [(Path(one.path).name, one.problem) for one in source.left_out] == [("extra.parquet", "beside-splits")]
    write_rows(tmp_path / "mine" / "train-test.parquet", {"image": BYTES, "label": TEXTS})
    with pytest.raises(InputError, match=r"train-test.parquet: is of which split\? Its name has test and train"):
        discover(config(tmp_path / "mine", tmp_path / "data"))


def test_rows_without_label_are_left_out_and_those_without_picture_are_rejected(tmp_path):
    images = [*STRUCTS[:2], {"bytes": None, "path": "a.png"}, None, STRUCTS[2], STRUCTS[3]]
    rows = {"image": pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()}))}
    rows["label"] = [0, 1, 0, 1, -1, None]
    source = discover(config(write_rows(tmp_path / "train.parquet", rows, ("A", "b")), tmp_path / "data"))
    assert problems(source) == ["no-labels", "no-labels"]
    assert [one.path.rpartition("#")[2] for one in source.rejected] == ["2", "3"]
    assert sum(len(split.pictures) for split in source.splits) == 2


def test_a_class_that_a_known_dataset_does_not_have_is_refused_in_any_form(tmp_path):
    path = write_rows(tmp_path / "train.parquet", {"image": BYTES, "label": ["0", "1", "A", "0"]})
    with pytest.raises(InputError, match=r"train.parquet#2: class 'A' is none of mnist/original"):
        discover(PreprocessConfig("mnist/original", (str(path),), str(tmp_path / "data")))
    path = write_rows(tmp_path / "train.parquet", {"image": BYTES, "label": [5, 0, 4, 1]})
    source = discover(PreprocessConfig("mnist/original", (str(path),), str(tmp_path / "data")))
    labels = {
        picture.index: label
        for split in source.splits
        for picture, label in zip(split.pictures, split.labels, strict=True)
    }
    assert labels == {0: 5, 1: 0, 2: 4, 3: 1}


@pytest.mark.parametrize("damage", ["cut", "middle"])
def test_a_damaged_parquet_file_is_named(tmp_path, damage):
    path = write_rows(tmp_path / "train.parquet", {"image": BYTES, "label": TEXTS})
    content = path.read_bytes()
    cut = content[: len(content) // 2]
    path.write_bytes(cut if damage == "cut" else b"PAR1" + bytes(len(cut)) + content[len(cut) + 4 :])
    with pytest.raises(InputError, match=r"train.parquet: is no complete Parquet file \(.*\); fetch it again"):
        discover(config(path, tmp_path / "data"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"train.parquet: is a pointer of Git LFS; fetch the file itself"):
        discover(config(tmp_path / "folder", tmp_path / "data"))


def test_what_is_too_large_in_an_archive_is_rejected_by_its_code(folder, tmp_path):
    path = as_zip(folder, tmp_path / "mine.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as out, out.open("mine/train/7/bomb.png", "w") as member:
        for _ in range(600):
            member.write(bytes(1 << 20))
    source = discover(config(path, tmp_path / "data"))
    assert [(one.path, one.problem) for one in source.rejected] == [(f"{path}::mine/train/7/bomb.png", "too-large")]


def test_a_table_within_an_archive_names_the_classes(folder, tmp_path):
    root = tmp_path / "mine"
    root.mkdir()
    for number, content in enumerate(BYTES):
        (root / f"{number}.png").write_bytes(content)
    (root / "labels.csv").write_text("file,label\n0.png,/\n1.png,A\n")
    for location in (as_zip(root, tmp_path / "a.zip"), as_tar(root, tmp_path / "a.tar", "w:gz")):
        source = discover(config(location, tmp_path / "data"))
        assert source.schema.vocabulary == ("/", "A")
        assert images(source) == images(discover(config(root, tmp_path / "data")))
    (root / "labels.csv").write_text("file,label\n../0.png,A\n")
    with pytest.raises(InputError, match=r"a.zip::mine/labels.csv, line 2: '../0.png' is not a path below this folder"):
        discover(config(as_zip(root, tmp_path / "a.zip"), tmp_path / "data"))


def test_the_last_of_equal_names_counts_as_when_unpacking(tmp_path):
    with tarfile.open(tmp_path / "mine.tar", "w") as out:
        for name, content in (("A/1.png", BYTES[0]), ("b/1.png", BYTES[1]), ("A/1.png", BYTES[2])):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    source = discover(config(tmp_path / "mine.tar", tmp_path / "data"))
    assert problems(source) == ["replaced"]
    hashes = {picture.content.sha256 for split in source.splits for picture in split.pictures}
    assert hashes == {hashlib.sha256(content).digest() for content in BYTES[1:3]}


def test_an_array_of_mnist_in_parquet_as_hugging_face_has_it(real_data, tmp_path):
    cases = real_data / "cases" / "26-csv-npz-parquet" / "mnist"
    if not cases.is_dir():
        pytest.skip("the cases are not here")
    with pytest.raises(InputError, match="numbers without names"):
        discover(config(cases, tmp_path))
    source = discover(config(cases, tmp_path, classes=tuple("0123456789")))
    assert sum(len(split.pictures) for split in source.splits) == 300
