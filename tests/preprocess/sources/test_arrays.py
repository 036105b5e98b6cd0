"""Arrays of any form are found by their content, and checked before work begins; what does not fit is refused."""

import gzip
import pickle
import shutil
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common import storage
from common.dataset import manifest
from common.dataset.schema import IMAGE
from common.errors import InputError
from common.formats import arrays as formats
from common.formats import idx, pixel_table
from preprocess import pipeline
from preprocess.catalogue import find
from preprocess.config import PreprocessConfig
from preprocess.sources import arrays, mapping
from preprocess.sources.base import Wanted
from preprocess.sources.discover import discover
from tests.support.sources import telling_images, write_gzip


def inspect(source, max_examples=None):
    return arrays.inspect(source.wanted(max_examples_per_split=max_examples))


def test_a_good_folder_is_described(make_source):
    inspected = inspect(make_source("emnist/letters", train=60, test=30))
    assert inspected.schema.vocabulary == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    described = [(split.split, split.namespace, len(split.example_ids())) for split in inspected.splits]
    assert described == [("train", "emnist/letters/train", 60), ("test", "emnist/letters/test", 30)]
    assert len(inspected.files) == 5
    assert not any(file.official for file in inspected.files)


def test_official_files_are_recognised(real_data):
    dataset = find("emnist/mnist")
    folder = str(real_data / "emnist-mnist")
    inspected = arrays.inspect(Wanted(folder, dataset, PreprocessConfig(dataset.name, (folder,), "unused")))
    official = {file.name for file in inspected.files if file.official}
    assert official == {dataset.images_file("test"), dataset.labels_file("test")}


def test_another_count_than_the_official_one_is_not_bad_input(make_source, caplog):
    with caplog.at_level("INFO", "preprocess"):
        inspect(make_source("emnist/byclass", train=70))
    assert "holds 70 examples; the official file holds 697,932" in caplog.text


def test_the_official_name_may_lack_its_gz(make_source):
    source = make_source()
    for path in list(source.folder.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert inspect(source).splits[0].num_examples == 600


def test_at_most_so_many_examples_are_taken(make_source):
    assert [split.num_examples for split in inspect(make_source(train=600, test=130), 200).splits] == [200, 130]


def test_no_more_than_these_are_read(make_source):
    source = make_source(train=60)
    split = inspect(source, 50).splits[0]
    blocks = list(split.read(7))
    np.testing.assert_array_equal(np.concatenate([block.example_ids for block in blocks]), np.arange(50))
    images = np.concatenate([block.examples[IMAGE][..., 0] for block in blocks])
    np.testing.assert_array_equal(images, source.images["train"][:50])


def break_images_header(source):
    write_gzip(source.path("images", "train"), idx.write(np.zeros((600, 28, 27), np.uint8)))


def break_dtype(source):
    write_gzip(source.path("images", "train"), idx.write(np.zeros((600, 28, 28), np.int16)))


def lose_a_label(source):
    write_gzip(source.path("labels", "train"), idx.write(np.zeros(599, np.uint8)))


def give_a_label_outside(source):
    labels = np.zeros(130, np.uint8)
    labels[17] = 62
    write_gzip(source.path("labels", "test"), idx.write(labels))


def truncate_labels(source):
    path = source.path("labels", "train")
    path.write_bytes(path.read_bytes()[:-9])


def empty(source):
    write_gzip(source.path("images", "train"), idx.write(np.zeros((0, 28, 28), np.uint8)))
    write_gzip(source.path("labels", "train"), idx.write(np.zeros(0, np.uint8)))


BAD_SOURCES = {
    "no such file": lambda source: source.path("labels", "test").unlink(),
    "images are uint8": break_images_header,
    "holds >i2|holds int16": break_dtype,
    "600 images, but .* 599 labels": lose_a_label,
    "label 62 of example 17 is outside the mapping, which runs from 0 to 61": give_a_label_outside,
    "labels-idx1-ubyte.gz: the gzip stream is truncated": truncate_labels,
    "holds no image": empty,
    "is an HTML": lambda source: source.path("images", "train").write_text("<!DOCTYPE html><html></html>"),
    "wrong magic": lambda source: write_gzip(source.path("images", "test"), b"\0\0\x07\x03" + bytes(12)),
    "no such folder or file": lambda source: source.folder.rename(source.folder.with_name("elsewhere")),
}


@pytest.mark.parametrize("complaint", BAD_SOURCES)
def test_bad_sources_are_refused(make_source, complaint):
    source = make_source()
    BAD_SOURCES[complaint](source)
    with pytest.raises(InputError, match=complaint) as caught:
        inspect(source)
    assert str(source.folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_mapping_the_published_classes_of_a_known_dataset_hold(make_source):
    source = make_source("emnist/letters")
    (source.folder / source.dataset.mapping_file).unlink()
    assert inspect(source).schema.vocabulary == source.dataset.class_names


def test_shapes_say_which_file_holds_images(make_source):
    source = make_source("emnist/letters")
    expected = inspect(source).splits[0].pair.images.shape
    images, labels = source.path("images", "train"), source.path("labels", "train")
    swapped = labels.read_bytes(), images.read_bytes()
    images.write_bytes(swapped[0])
    labels.write_bytes(swapped[1])
    assert inspect(source).splits[0].pair.images.shape == expected


@pytest.fixture(scope="module")
def examples() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels, by split, of three classes."""
    return {
        split: (telling_images(count, seed), np.arange(count) % 3)
        for seed, (split, count) in enumerate({"train": 60, "test": 30}.items())
    }


def write_idx(folder, examples, images="{}-images-idx3-ubyte.gz", labels="{}-labels-idx1-ubyte.gz", test="t10k"):
    for split, (pixels, numbers) in examples.items():
        name = test if split == "test" else split
        for path, array in ((images, pixels), (labels, numbers.astype(np.uint8))):
            path = folder / path.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            content = idx.write(array)
            path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_twice_and_deep(folder, examples):
    """As torchvision leaves them, unpacked beside the packed."""
    write_idx(folder / "MNIST/raw", examples)
    write_idx(folder / "MNIST/raw", examples, "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte")


def write_as_kaggle_unpacks(folder, examples):
    write_idx(folder, examples, "{0}-images-idx3-ubyte/{0}-images-idx3-ubyte", "{0}-labels-idx1-ubyte/labels")
    write_idx(folder, examples, "{}-images.idx3-ubyte", "{}-labels.idx1-ubyte")


def write_as_qmnist(folder, examples):
    write_idx(folder, examples, "qmnist-{}-images-idx3-ubyte.gz", "unused/{}", "test")
    shutil.rmtree(folder / "unused")
    for split, (_, labels) in examples.items():
        more = np.tile(np.arange(8, dtype=np.int32), (len(labels), 1))
        more[:, 0] = labels
        write_gzip(folder / f"qmnist-{split}-labels-idx2-int.gz", idx.write(more))


def write_as_keras(folder, examples):
    arrays_of = {f"{'xy'[number]}_{split}": some[number] for split, some in examples.items() for number in (0, 1)}
    np.savez_compressed(folder / "mnist.npz", **arrays_of)


def write_as_kuzushiji(folder, examples):
    for split, (images, labels) in examples.items():
        np.savez_compressed(folder / f"kmnist-{split}-imgs.npz", images)
        np.savez_compressed(folder / f"kmnist-{split}-labels.npz", labels.astype(np.uint8))


def write_npy(folder, examples):
    """In folders, one array in Fortran's order, images flat or with an axis of colours."""
    for split, (images, labels) in examples.items():
        (folder / split).mkdir()
        images = np.asfortranarray(images[..., None]) if split == "train" else images.reshape(len(images), -1)
        np.save(folder / split / "images.npy", images)
        np.save(folder / split / "labels.npy", labels[:, None])


def write_csv(folder, examples, packed=False, header=True, delimiter=",", encoding="utf-8"):
    for split, (images, labels) in examples.items():
        rows = np.column_stack([labels, images.reshape(len(images), -1)])
        names = "label," + ",".join(f"pixel{number}" for number in range(images[0].size))
        lines = [*([names] if header else []), *(",".join(map(str, row)) for row in rows)]
        text = "\n".join(lines).replace(",", delimiter).encode(encoding)
        path = folder / (f"mine_{split}.csv" + (".gz" if packed else ""))
        path.write_bytes(gzip.compress(text) if packed else text)


FORMS = {
    "MNIST's IDX": write_idx,
    "IDX under other names": partial(write_idx, images="{}.pictures", labels="{}.numbers", test="testing"),
    "IDX, packed and not": write_twice_and_deep,
    "IDX in folders and beside them": write_as_kaggle_unpacks,
    "IDX of QMNIST": write_as_qmnist,
    "Keras' npz": write_as_keras,
    "four npz": write_as_kuzushiji,
    "npy": write_npy,
    "CSV": write_csv,
    "CSV with tabs": partial(write_csv, delimiter="\t"),
    "CSV with semicolons, a mark and no header": partial(write_csv, delimiter=";", encoding="utf-8-sig", header=False),
    "CSV without header, gzipped": partial(write_csv, packed=True, header=False),
}


def own_config(location, where, **settings) -> PreprocessConfig:
    settings = {"classes": ("a", "b", "c"), "validation_fraction": 0.1} | settings
    return PreprocessConfig("mine/letters", (str(location),), str(where), **settings)


@pytest.fixture(scope="module")
def expected(examples, tmp_path_factory) -> str:
    """The fingerprint of the dataset of MNIST's form."""
    folder = tmp_path_factory.mktemp("expected")
    write_idx(folder / "source", examples)
    return manifest.read(Path(pipeline.run(own_config(folder / "source", folder)))).data_fingerprint


@pytest.mark.parametrize(
    ("form", "is_zipped"),
    [*((form, False) for form in FORMS), ("IDX of QMNIST", True), ("four npz", True), ("CSV", True)],
)
def test_the_same_arrays_give_the_same_dataset_in_each_form(examples, expected, tmp_path, form, is_zipped):
    folder = tmp_path / "source"
    folder.mkdir()
    FORMS[form](folder, examples)
    (folder / "README.md").write_text("about it")
    source = shutil.make_archive(str(tmp_path / "packed"), "zip", folder) if is_zipped else folder
    made = manifest.read(Path(pipeline.run(own_config(source, tmp_path / "data"))))
    assert made.data_fingerprint == expected
    assert made.counts["left out, no-arrays"] == 1


@pytest.mark.parametrize("form", ["npy", "CSV"])
def test_arrays_are_read_from_a_bucket(examples, expected, tmp_path, bucket, form):
    FORMS[form](tmp_path, examples)
    for path in filter(Path.is_file, list(tmp_path.rglob("*"))):
        storage.to_path(f"{bucket}/arrays/{path.relative_to(tmp_path)}").upload_from(path)
    made = manifest.read(Path(pipeline.run(own_config(f"{bucket}/arrays", tmp_path / "data"))))
    assert made.data_fingerprint == expected


def test_files_are_named_that_are_not_read(examples, tmp_path):
    write_twice_and_deep(tmp_path, examples)
    np.save(tmp_path / "features.npy", np.zeros((60, 20), np.uint8))
    unused = arrays.inspect(own_wanted(tmp_path)).left_out
    assert {(Path(one.path).name, one.problem) for one in unused} == {
        *((f"{split}-{kind}-ubyte", "again") for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")),
        ("features.npy", "no-split"),
    }


@pytest.mark.parametrize("cell", ["", "1.5", "-1"])
def test_a_wrong_cell_does_not_make_a_header_of_a_row(tmp_path, cell):
    rows = [["1"] * 65 for _ in range(3)]
    rows[0][9] = cell
    (tmp_path / "train.csv").write_text("\n".join(map(",".join, rows)))
    with pytest.raises(InputError, match="line 1: needs 64 pixels"):
        list(discover(own_config(tmp_path, "unused", test_fraction=0.0)).splits[0].read(100))


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("has_labels", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_a_header_of_numbers_is_no_image(tmp_path, index, has_labels, again):
    """As pandas writes tables that had no header, or whose first row it took for one."""
    images = telling_images(3)[:, :8, :8]
    rows = images.reshape(3, -1)
    rows = np.column_stack([[4, 5, 6], rows]) if has_labels else rows
    names = [f"0.{number}" if number else "0" for number in range(rows.shape[1])] if again else range(rows.shape[1])
    header = ["", *names] if index else names
    rows = np.column_stack([range(3), rows]) if index else rows
    (tmp_path / "train.csv").write_text("\n".join(",".join(map(str, row)) for row in (header, *rows)))
    found = {array.name: array for array in formats.find(str(tmp_path / "train.csv"))}
    np.testing.assert_array_equal(np.concatenate(list(found["images"].read(2))), images)
    assert [label for label in found.values() if label.name == "labels" for label in label.read_labels()] == (
        [4, 5, 6] if has_labels else []
    )


def own_wanted(folder, **settings) -> Wanted:
    return Wanted(str(folder), None, own_config(folder, "unused", **settings))


def test_images_without_labels_in_a_table_are_left_out_as_kaggle_keeps_its_own(examples, tmp_path):
    write_csv(tmp_path, examples)
    lines = (tmp_path / "mine_test.csv").read_text().splitlines()
    (tmp_path / "mine_test.csv").write_text("\n".join(line.partition(",")[2] for line in lines))
    inspected = arrays.inspect(own_wanted(tmp_path))
    assert [one.problem for one in inspected.left_out] == ["no-labels"]
    assert [split.split for split in inspected.splits] == ["train", "test"]


def test_tests_are_drawn_if_there_are_none(examples, tmp_path):
    write_idx(tmp_path, {"train": examples["train"]})
    train, test = arrays.inspect(own_wanted(tmp_path, test_fraction=0.3)).splits
    ids = [set(split.example_ids().tolist()) for split in (train, test)]
    assert ids[0] | ids[1] == set(range(60))
    assert not ids[0] & ids[1]
    assert 5 < len(ids[1]) < 30
    for split, some in zip((train, test), ids, strict=True):
        read = list(split.read(7))
        assert [number for block in read for number in block.example_ids.tolist()] == sorted(some)
        np.testing.assert_array_equal(
            np.concatenate([block.examples[IMAGE][..., 0] for block in read]), examples["train"][0][sorted(some)]
        )
    assert [split.split for split in arrays.inspect(own_wanted(tmp_path, test_fraction=0.0)).splits] == ["train"]


def test_a_validation_split_is_kept(examples, tmp_path):
    write_idx(tmp_path, examples | {"val": (telling_images(9, 5), np.arange(9) % 3)})
    splits = {split.split: split for split in arrays.inspect(own_wanted(tmp_path)).splits}
    assert len(splits["validation"].example_ids()) == 9
    assert all(split.is_divided for split in splits.values())


def test_a_validation_split_is_kept_if_tests_are_drawn(examples, tmp_path):
    write_idx(tmp_path, {"train": examples["train"], "val": (telling_images(9, 5), np.arange(9) % 3)})
    made = manifest.read(Path(pipeline.run(own_config(tmp_path, tmp_path / "data", test_fraction=0.3))))
    assert made.splits["validation"].num_examples == 9
    assert made.splits["train"].num_examples + made.splits["test"].num_examples == 60


def labels_beside(images, labels, folder, **others):
    np.savez(folder / "some.npz", **images, **labels, **others)
    return arrays.inspect(own_wanted(folder, test_fraction=0.0)).splits[0].pair.labels.name


def test_numbers_beside_labels_are_not_taken_for_them(examples, tmp_path):
    images, labels = examples["train"]
    others = {"author": labels, "names": np.array(["a"]), "count": np.int64(60), "classes": np.arange(3)}
    assert labels_beside({"images": images}, {"labels": labels}, tmp_path, **others) == "labels"
    unused = arrays.inspect(own_wanted(tmp_path)).left_out
    assert {one.path.rpartition(" ")[2]: one.problem for one in unused} == dict.fromkeys(others, "no-arrays")


def test_labels_that_do_not_fit_are_not_replaced_by_other_numbers(examples, tmp_path):
    images, labels = examples["train"]
    with pytest.raises(InputError, match=r"60 images, but .*labels holds 59 labels"):
        labels_beside({"images": images}, {"labels": labels[1:]}, tmp_path, author=labels)
    with pytest.raises(InputError, match="labels: holds float64"):
        labels_beside({"images": images}, {"labels": labels / 1}, tmp_path, author=labels)


def test_of_numbers_under_any_names_only_those_of_the_images_count_are_labels(examples, tmp_path):
    images, labels = examples["train"]
    assert labels_beside({"images": images}, {"b": labels}, tmp_path, a=labels[1:]) == "b"
    assert labels_beside({"images": images}, {"b": labels}, tmp_path, a=labels) == "a"
    with pytest.raises(InputError, match=r"a and .*b: both may be the labels of .*images; leave one"):
        labels_beside({"images": images}, {"b": labels}, tmp_path, a=labels[::-1])


@pytest.mark.parametrize(
    ("name", "orientation", "is_turned"),
    [
        ("EMNIST-{}-images.idx", None, True),
        ("mine-{}-images.idx", None, False),
        ("emnist-{}-images.idx", None, True),
        ("emnist-{}-images.idx", "upright", False),
        ("mine-{}-images.idx", "transposed", True),
    ],
)
def test_the_orientation_is_that_of_the_flag_or_else_of_the_name(examples, tmp_path, name, orientation, is_turned):
    write_idx(tmp_path, examples, name, name.replace("images", "labels"))
    (block,) = arrays.inspect(own_wanted(tmp_path, orientation=orientation)).splits[0].read(100)
    images = examples["train"][0]
    np.testing.assert_array_equal(block.examples[IMAGE][..., 0], images.transpose(0, 2, 1) if is_turned else images)


@pytest.mark.parametrize("digits", ["mnist", "emnist-digits"])
def test_images_that_lie_on_their_side_are_warned_of(real_data, tmp_path, digits):
    folder = tmp_path / "source"
    folder.mkdir()
    for path in (real_data / digits).glob("*ubyte.gz"):
        (folder / path.name.replace("emnist-digits", "mine")).symlink_to(path)
    settings = {"classes": tuple("0123456789"), "max_examples_per_split": 1000}
    found = {
        way: arrays.inspect(own_wanted(folder, orientation=way, **settings)).warnings
        for way in ("upright", "transposed")
    }
    right, wrong = ("upright", "transposed") if digits == "mnist" else ("transposed", "upright")
    assert found[right] == ()
    assert f"with --orientation {right} they look as they should" in found[wrong][0]


def test_the_orientation_is_judged_by_labels_from_0(make_source, monkeypatch):
    judged = []
    monkeypatch.setattr(arrays.orientation, "check", lambda *given: judged.append(given) or ())
    inspect(source := make_source("emnist/letters"))
    np.testing.assert_array_equal(judged[0][0], source.images["train"])
    np.testing.assert_array_equal(judged[0][1], source.labels["train"])


def test_files_named_as_mnists_are_not_taken_for_it(make_source, examples, tmp_path):
    source = make_source("mnist/original")
    write_idx(source.folder, examples)
    with pytest.raises(
        InputError, match=r"begins with the labels 0 1 2 .* the original MNIST with 5 0 4 1 9"
    ) as caught:
        inspect(source)
    assert "--dataset mine/digits" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda folder: np.save(folder / "x_train.npy", np.zeros((9, 28, 28))), "holds float64 of shape"),
        (
            lambda folder: np.save(folder / "y_train.npy", np.eye(9)[:, :3]),
            r"holds float64 .* labels are whole numbers",
        ),
        (lambda folder: np.save(folder / "y_train.npy", np.eye(9, dtype=int)[:, :3]), "labels are whole numbers"),
        (lambda folder: np.save(folder / "y_train.npy", np.eye(9, dtype=int)[:, :8]), "labels are whole numbers"),
        (lambda folder: np.save(folder / "x_train.npy", np.zeros((9, 0, 28), np.uint8)), "its images are 0×28"),
        (lambda folder: np.save(folder / "x_train.npy", np.zeros((9, 1025, 1024), np.uint8)), "images are 1025×1024"),
        (lambda folder: np.save(folder / "x_train.npy", np.zeros((9, 28, 28, 3), np.uint8)), r"\[N, H, W\]"),
        (lambda folder: np.save(folder / "y_train.npy", np.arange(9) % 3 - 1), "label -1 of example 0"),
        (lambda folder: np.save(folder / "y_train.npy", np.array([None] * 9)), "holds Python objects"),
        (lambda folder: write_odd_npz(folder, 6, 1), "x_train.npy: is encrypted; unpack"),
        (lambda folder: write_odd_npz(folder, 8, 97), "x_train.npy: is packed in a way that is not read"),
        (lambda folder: write_odd_npz(folder, 30, 0xE5), r"x_train.npy: is damaged"),
        (lambda folder: write_odd_npz(folder, 50, 7), "x_train.npy: is damaged"),
        (lambda folder: (folder / "y_train.npy").unlink(), "no file holds the labels of the train split"),
        (lambda folder: (folder / "x_train.npy").write_bytes(b"\x80\x04K\x01."), "is a pickle"),
        (lambda folder: (folder / "x_train.npy").write_bytes(b"\x93NUMPY\1\0\x10\0{'descr': "), "is a damaged .npy"),
        (lambda folder: (folder / "x_train.npy").write_bytes(b"\x93NUMPY\1\0\2\0{'"), "is a damaged .npy"),
        (lambda folder: change_bytes(folder / "x_train.npy", b"|u1", b"4u1"), "is a damaged .npy"),
        (lambda folder: cut(folder / "x_train.npy"), "but the data ends after 8 rows"),
        (
            lambda folder: np.save(folder / "other_x_train.npy", np.zeros((9, 28, 28), np.uint8)),
            "holds several datasets",
        ),
        (lambda folder: (folder / "mapping.txt").write_text("0 65\n1 66\n2 67\n"), "has mapping.txt, which names"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, change, complaint):
    np.save(tmp_path / "x_train.npy", np.zeros((9, 28, 28), np.uint8))
    np.save(tmp_path / "y_train.npy", np.arange(9) % 3)
    change(tmp_path)
    with pytest.raises(InputError, match=complaint) as caught:
        for split in discover(own_config(tmp_path, "unused")).splits:
            list(split.read(100))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("mnist.pkl", pickle.dumps([1]), "mnist.pkl is a pickle"),
        ("mnist.pkl.gz", gzip.compress(pickle.dumps([1]), mtime=0), "mnist.pkl.gz is a pickle"),
        ("mnist.h5", b"\x89HDF\r\n\x1a\n", "mnist.h5 is an HDF5 file"),
        pytest.param("train.csv", b",".join([b"digit", *[b"p"] * 784]), "train.csv is a table, but not of", id="table"),
        ("train.csv", b"", "train.csv is empty"),
    ],
)
@pytest.mark.parametrize("is_alone", [False, True])
def test_what_is_no_source_has_its_cause(tmp_path, name, content, complaint, is_alone):
    (tmp_path / "another.bin").write_bytes(b"\x00\xff")
    (tmp_path / name).write_bytes(content)
    location = tmp_path / name if is_alone else tmp_path
    with pytest.raises(InputError, match=complaint.replace(" ", ": ", 1) if is_alone else complaint):
        discover(own_config(location, "unused"))


def test_labels_of_a_table_are_read_once(examples, tmp_path, monkeypatch):
    write_csv(tmp_path, examples)
    calls = []
    read = pixel_table.read_labels
    monkeypatch.setattr(pixel_table, "read_labels", lambda *given: calls.append(given) or read(*given))
    for split in discover(own_config(tmp_path, "unused")).splits:
        list(split.read(100))
    assert len(calls) == 2


def change_bytes(path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


def write_odd_npz(folder, place: int, value: int) -> None:
    """An array in an archive packed by LZMA, one byte of whose member's header or content is changed."""
    (folder / "x_train.npy").rename(folder / "other.npy")
    with zipfile.ZipFile(folder / "some.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.write(folder / "other.npy", "x_train.npy")
    (folder / "other.npy").unlink()
    content = bytearray((folder / "some.npz").read_bytes())
    content[place] = value
    if place < 10:  # it is said twice
        content[content.index(b"PK\1\2") + place + 2] = value
    (folder / "some.npz").write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("1,2", "line 4: has 2 columns; the first line has 65"),
        (",".join(["1"] * 64 + ["256"]), "line 4: needs 64 pixels, whole numbers from 0 to 255"),
        (",".join(["1"] * 66), "line 4: has 66 columns"),
        (",".join(["x"] + ["1"] * 64), "line 4: needs a label that is a whole number"),
        (",".join(["7"] + ["1"] * 64), "label 7 of example 3 is outside"),
    ],
)
def test_a_wrong_row_of_a_table_is_named(tmp_path, row, complaint):
    good = ",".join(["1"] * 65)
    (tmp_path / "train.csv").write_text("\n".join([good] * 3 + [row]))
    with pytest.raises(InputError, match=complaint):
        list(discover(own_config(tmp_path, "unused", test_fraction=0.0)).splits[0].read(100))


def test_kuzushijis_class_map_names_the_classes(examples, tmp_path):
    write_as_kuzushiji(tmp_path, examples)
    (tmp_path / "kmnist_classmap.csv").write_text("index,codepoint,char\n0,U+304A,お\n1,U+304D,き\n2,U+3059,す\n")
    assert arrays.inspect(own_wanted(tmp_path, classes=None)).schema.vocabulary == ("お", "き", "す")


def test_the_mapping_of_the_same_name_is_taken_and_described(make_source):
    source = make_source("emnist/letters")
    source.path("images", "train").with_name("emnist-digits-mapping.txt").write_text("0 48")
    for path in list(source.folder.iterdir()):
        path.rename(path.with_name(path.name.replace("emnist-letters", "own")))
    (source.folder / "a_mapping.txt").write_text("0 48\n1 49\n")
    wanted = Wanted(str(source.folder), None, PreprocessConfig("mine/letters", (str(source.folder),), "unused"))
    inspected = arrays.inspect(wanted)
    assert inspected.schema.vocabulary == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert "own-mapping.txt" in {file.name for file in inspected.files}
    assert {(one.path, one.problem) for one in inspected.left_out} == {
        ("a_mapping.txt", "no-arrays"),
        ("emnist-digits-mapping.txt", "no-arrays"),
    }


def test_files_of_others_are_named_beside_a_known_dataset(make_source, examples, tmp_path):
    source = make_source("mnist/original")
    write_idx(source.folder, examples, "mine-{}-images.idx", "mine-{}-labels.idx")
    write_idx(source.folder, examples, "emnist-digits-{}-images.idx", "emnist-digits-{}-labels.idx")
    left = inspect(source).left_out
    assert {one.problem for one in left} == {"another-dataset"}
    assert {one.path[:5] for one in left} == {"mine-"}  # all of EMNIST lies in one folder, as NIST packs it


def test_a_single_file_of_a_known_dataset_has_any_name(make_source, tmp_path):
    source = make_source("mnist/original")
    content = {
        f"{name}_{split}": array[split]
        for name, array in (("x", source.images), ("y", source.labels))
        for split in ("train", "test")
    }
    np.savez(tmp_path / "whatever.npz", **content)
    inspected = arrays.inspect(source.wanted(tmp_path / "whatever.npz"))
    assert [len(split.example_ids()) for split in inspected.splits] == [600, 130]


@pytest.mark.parametrize("axis", [1, 3])
def test_an_axis_of_one_colour_may_be_the_first_or_the_last(examples, tmp_path, axis):
    images, labels = examples["train"]
    np.savez(tmp_path / "some.npz", x=np.expand_dims(images, axis), y=labels)
    (block,) = arrays.inspect(own_wanted(tmp_path, test_fraction=0.0)).splits[0].read(100)
    np.testing.assert_array_equal(block.examples[IMAGE][..., 0], images)


@pytest.mark.parametrize(
    "header", ["a,label,{}", "label,{},class", "{},label,a"], ids=["in the middle", "two", "in the middle at the end"]
)
def test_a_table_whose_labels_are_in_doubt_is_none(tmp_path, header):
    pixels = ",".join(f"p{number}" for number in range(64))
    (tmp_path / "some.csv").write_text(header.format(pixels) + "\n")
    assert formats.find(str(tmp_path / "some.csv")) == ()


def test_rows_may_be_quoted_and_blank(tmp_path):
    row = ",".join(['"7"'] * 65)
    (tmp_path / "some.csv").write_bytes(f"{row}\r\n\r\n{row}\r\n  \r\n".encode())
    images, labels = formats.find(str(tmp_path / "some.csv"))
    assert images.shape == (2, 8, 8)
    assert labels.read_labels().tolist() == [7, 7]
    assert [block.tolist() for block in images.read(9)] == [[[[7] * 8] * 8] * 2]


def write_mapping(tmp_path, text: str) -> str:
    (tmp_path / "mapping.txt").write_text(text, newline="")
    return str(tmp_path / "mapping.txt")


def test_a_mapping_gives_names_and_the_first_label(tmp_path):
    assert mapping.read(write_mapping(tmp_path, "1 65 97\r\n2 66 98\r\n")) == (("A", "B"), 1)
    assert mapping.read(write_mapping(tmp_path, "0 48\n1 65\n")) == (("0", "A"), 0)


@pytest.mark.parametrize(
    "text",
    [
        *("", "0 48\n2 50\n", "3 48\n4 49\n", "0\n", "0 x\n", "0 48\n0 49\n", "0 48\n1 48\n"),
        *("0 99999999999", "\0\xff", "0 10", "0 55296"),
    ],
)
def test_a_mapping_with_gaps_or_repetitions_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="mapping"):
        mapping.read(write_mapping(tmp_path, text))
