"""Lines composed of a dataset's characters."""

from pathlib import Path

import numpy as np
import pytest

from common.dataset import manifest, records
from common.errors import InputError
from common.storage import to_path
from preprocess.sources import composed_lines
from preprocess.sources.composed_lines import ComposedLine
from tests.support.datasets import with_splits
from tests.support.lines import found, rejected


@pytest.fixture(scope="module")
def source(small_dataset: Path):
    return found(f"compose:{small_dataset}", num_lines=40)


def lines_of(source, split: str) -> list:
    return [line for part in source.splits if part.split == split for line in part.lines]


def test_each_split_has_lines_of_its_own_characters_alone(small_dataset, source, monkeypatch):
    """What a line is composed of are pictures of its split, and no others."""
    described = manifest.read(small_dataset)
    images_of = {}
    for split, facts in described.splits.items():
        parts = [records.decode((small_dataset / shard.name).read_bytes(), described.schema) for shard in facts.shards]
        images_of[split] = {image.tobytes() for part in parts for image in part["image"]}
    used = []
    compose = composed_lines.compose_line
    monkeypatch.setattr(
        composed_lines, "compose_line", lambda images, *rest: used.append(images) or compose(images, *rest)
    )
    for split, images in images_of.items():
        used.clear()
        for line in lines_of(source, split):
            line.listed.picture.pixels()
        assert used
        assert {image.tobytes() for some in used for image in some} <= images
    assert not images_of["train"] & images_of["test"]


def test_texts_are_strings_of_characters_that_the_split_has(source):
    counts = {split: len(lines_of(source, split)) for split in ("train", "validation", "test")}
    assert counts == {"train": 40, "validation": 5, "test": 5}
    for split in counts:
        assert all(set(line.text) <= set("0123456789 ") for line in lines_of(source, split))
    texts = [line.text for line in lines_of(source, "train")]
    assert len(set(texts)) > 35


def test_a_line_is_a_function_of_the_seed_and_its_number(small_dataset):
    first = ComposedLine(str(small_dataset), 3, "train", 5, "12 9")
    np.testing.assert_array_equal(first.pixels(), ComposedLine(str(small_dataset), 3, "train", 5, "12 9").pixels())
    other = ComposedLine(str(small_dataset), 3, "train", 6, "12 9")
    assert first.pixels().tobytes() != other.pixels().tobytes()


def test_the_size_is_that_of_the_pixels(source):
    for line in lines_of(source, "test"):
        assert line.listed.picture.pixels().shape[:2] == line.listed.size


def test_texts_may_be_given_and_what_cannot_be_composed_is_rejected(small_dataset, tmp_path):
    (tmp_path / "texts.txt").write_text("12 34\r\n\n  7  8\u20289\nabc\n", encoding="utf-8")
    source = found(f"compose:{small_dataset}", num_lines=9, texts=str(tmp_path / "texts.txt"))
    assert {line.text for line in lines_of(source, "train")} == {"12 34", "7 8 9"}
    assert set(rejected(source).values()) == {"no-character"}
    assert source.rejected[0].reason == "the train split lacks the characters abc"


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"\n \n", "holds no text"), (b"\xe9", "is not UTF-8 text"), (None, "no such file")]
)
def test_a_file_without_texts_is_refused(small_dataset, tmp_path, content, complaint):
    if content is not None:
        (tmp_path / "texts.txt").write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        found(f"compose:{small_dataset}", num_lines=9, texts=str(tmp_path / "texts.txt"))


def test_a_dataset_that_lacks_a_split_is_refused(small_dataset, tmp_path):
    without = with_splits(small_dataset, tmp_path / "data", ("train", "test"))
    with pytest.raises(InputError, match="has no validation split to compose lines of"):
        found(f"compose:{without}")


def test_what_is_no_dataset_of_characters_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no manifest\.json there"):
        found(f"compose:{tmp_path}")


def test_the_characters_may_lie_in_a_bucket(small_dataset, source, bucket):
    to_path(f"{bucket}/digits").upload_from(small_dataset)
    in_bucket = found(f"compose:{bucket}/digits", num_lines=40)
    assert [line.text for line in lines_of(in_bucket, "test")] == [line.text for line in lines_of(source, "test")]
    assert in_bucket.files == source.files
