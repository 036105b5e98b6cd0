"""Mutated source files give either a clean error or exactly the content of their bytes."""

import gzip
import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat

from common.dataset.schema import IMAGE, LABEL
from common.errors import InputError
from preprocess.config import PreprocessConfig
from preprocess.sources.base import Block
from preprocess.sources.discover import discover
from tests.support.forms import write_mat
from tests.support.lines import found, write_pairs, write_table
from tests.support.sources import IdxSource


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> IdxSource:
    from preprocess.catalogue import find

    return IdxSource(tmp_path_factory.mktemp("fuzz") / "source", find("emnist/digits"), {"train": 12, "test": 10})


mutations = st.lists(
    st.tuples(st.sampled_from(["flip", "set", "cut", "insert", "double"]), st.floats(0, 1), st.integers(0, 255)),
    min_size=1,
    max_size=4,
)


def mutate(content: bytes, changes: list[tuple[str, float, int]], head_only: bool) -> bytes:
    """Applies each change at a place given as a share of the content, or of its first 64 bytes."""
    data = bytearray(content)
    for kind, share, value in changes:
        place = int(share * min(len(data), 64 if head_only else len(data)))
        match kind:
            case "flip" if place < len(data):
                data[place] ^= 1 << value % 8
            case "set" if place < len(data):
                data[place] = value
            case "cut":
                del data[place:]
            case "insert":
                data[place:place] = bytes([value]) * (value % 5)
            case "double":
                data += data[place:]
    return bytes(data)


def read_everything(dataset: str, location: str, **settings) -> dict[str, tuple[np.ndarray, np.ndarray]] | None:
    """Images and labels of each split, or None where the source was refused."""
    try:
        discovered = discover(PreprocessConfig(dataset, (location,), "unused", **settings))
        result = {}
        for split in discovered.splits:
            blocks = list(split.read(5))
            assert all(isinstance(block, Block) for block in blocks)
            result[split.split] = (
                np.concatenate([block.examples[IMAGE][..., 0] for block in blocks]),
                np.concatenate([block.examples[LABEL] for block in blocks]),
            )
            assert len(split.example_ids()) == len(result[split.split][1])
    except InputError as error:
        assert str(error)
        assert "\n" not in str(error)
        return None
    return result


@given(st.sampled_from(["images", "labels"]), st.booleans(), st.booleans(), mutations)
def test_idx_and_gzip(source, kind, is_gzipped, head_only, changes):
    path, plain = source.path(kind, "train"), source.path(kind, "train").with_suffix("")
    original = path.read_bytes()
    content = mutate(original if is_gzipped else gzip.decompress(original), changes, head_only)
    try:
        if is_gzipped:
            path.write_bytes(content)
        else:
            path.unlink()
            plain.write_bytes(content)
        splits = read_everything("emnist/digits", str(source.folder))
    finally:
        plain.unlink(missing_ok=True)
        path.write_bytes(original)
    if splits is None:
        return
    raw = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    images, labels = splits["train"]
    if kind == "images":
        count, height, width = struct.unpack(">3I", raw[4:16])
        expected = np.frombuffer(raw, np.uint8, offset=16).reshape(count, height, width).transpose(0, 2, 1)
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, source.labels["train"])
    else:
        np.testing.assert_array_equal(labels, np.frombuffer(raw, np.uint8, offset=8))
        np.testing.assert_array_equal(images, source.images["train"])


@given(mutations)
def test_mapping(source, changes):
    path = source.folder / source.dataset.mapping_file
    original = path.read_bytes()
    try:
        path.write_bytes(mutate(original, changes, head_only=False))
        splits = read_everything("emnist/digits", str(source.folder))
    finally:
        path.write_bytes(original)
    if splits is not None:
        np.testing.assert_array_equal(splits["train"][1], source.labels["train"])


@given(st.booleans(), mutations)
def test_matlab(source, head_only, changes):
    path = source.folder.parent / "emnist-digits.mat"
    if not path.exists():
        write_mat(source, path)
    original = path.read_bytes()
    content = mutate(original, changes, head_only)
    try:
        path.write_bytes(content)
        splits = read_everything("emnist/digits", str(path))
    finally:
        path.write_bytes(original)
    if splits is not None:
        expected = loadmat(io.BytesIO(content), variable_names=["dataset"])["dataset"][0, 0]["train"][0, 0]
        np.testing.assert_array_equal(splits["train"][0].transpose(0, 2, 1).reshape(-1, 784), expected["images"])
        np.testing.assert_array_equal(splits["train"][1], expected["labels"].reshape(-1))


def to_npz(images, labels) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, images=images, labels=labels)
    return content.getvalue()


def to_csv(images, labels) -> bytes:
    rows = np.column_stack([labels, images.reshape(len(images), -1)])
    header = ["label", *map(str, range(images[0].size))]
    return "\n".join(",".join(map(str, row)) for row in (header, *rows)).encode()


def to_npy(images, labels) -> bytes:
    content = io.BytesIO()
    np.save(content, images)
    return content.getvalue()


@given(st.sampled_from([to_npz, to_npy, to_csv]), st.booleans(), mutations)
def test_numpys_files_and_tables(source, encode, head_only, changes):
    folder = source.folder.parent / encode.__name__
    folder.mkdir(exist_ok=True)
    images, labels = source.images["train"], source.labels["train"]
    (folder / "numbers.npy").unlink(missing_ok=True)
    if encode is to_npy:
        np.save(folder / "numbers.npy", labels)
    (folder / "some").write_bytes(mutate(encode(images, labels), changes, head_only))
    settings = {"classes": tuple("0123456789"), "test_fraction": 0.0}
    splits = read_everything("mine/digits", str(folder), **settings)
    if splits is not None and encode is to_npz:
        np.testing.assert_array_equal(splits["train"][0], images)
        np.testing.assert_array_equal(splits["train"][1], labels)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    rows = [(f"{number}.png", f"text {number}", f"w{number}", "train") for number in range(4)]
    return write_table(tmp_path_factory.mktemp("fuzz") / "lines", rows, "file text writer split")


@given(st.sampled_from(["lines.tsv", "2.png"]), st.booleans(), mutations)
def test_lines(lines, name, head_only, changes):
    path = lines / name
    original = path.read_bytes()
    try:
        path.write_bytes(mutate(original, changes, head_only))
        read_lines(lines)
    finally:
        path.write_bytes(original)


@given(mutations)
def test_texts_of_lines(tmp_path_factory, changes):
    folder = write_pairs(tmp_path_factory.mktemp("pairs"), 3)
    text = folder / "000-1.gt.txt"
    text.write_bytes(mutate(text.read_bytes(), changes, head_only=False))
    read_lines(folder)


def read_lines(folder) -> None:
    """Either says in one line what is wrong, or gives a block or a reason for each line."""
    try:
        discovered = found(folder)
        for split in discovered.splits:
            items = list(split.read(5))
            count = sum(len(item.example_ids) if isinstance(item, Block) else 1 for item in items)
            assert count == len(split.example_ids())
            assert all("\n" not in item.reason for item in items if not isinstance(item, Block))
        assert all("\n" not in one.reason for one in discovered.rejected)
    except InputError as error:
        assert str(error)
        assert "\n" not in str(error)
