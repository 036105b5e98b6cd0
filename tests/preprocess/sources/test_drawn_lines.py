"""The embedded dataset of lines: drawn again from its seed, by hands that no two splits share."""

import numpy as np
import pytest

from common.errors import InputError
from preprocess.sources import drawn_lines
from preprocess.sources.drawn_lines import DrawnLine
from tests.support.lines import found


@pytest.fixture(scope="module")
def source():
    return found("synthetic", dataset="synthetic/lines", num_lines=80)


def lines_of(source, split: str) -> list:
    return [line for part in source.splits if part.split == split for line in part.lines]


def test_each_split_has_its_own_hands(source):
    hands = {split: {line.group_name for line in lines_of(source, split)} for split in ("train", "validation", "test")}
    assert all(hands.values())
    assert sum(map(len, hands.values())) == len(set().union(*hands.values()))
    assert source.lines.group_by == "writer"


def test_as_many_lines_are_drawn_as_are_wanted(source):
    assert len(lines_of(source, "train")) + len(lines_of(source, "validation")) == pytest.approx(90, abs=10)
    assert len(lines_of(source, "test")) == 10


def test_a_line_is_a_function_of_the_seed_and_its_number():
    first, again = DrawnLine(3, "train", 5), DrawnLine(3, "train", 5)
    np.testing.assert_array_equal(first.pixels(), again.pixels())
    others = [DrawnLine(4, "train", 5), DrawnLine(3, "test", 5), DrawnLine(3, "train", 6)]
    assert all(other.pixels().tobytes() != first.pixels().tobytes() for other in others)


def test_the_size_is_that_of_the_pixels_and_every_line_has_ink(source):
    part = source.splits[-1]
    for line in part.lines[:5]:
        assert line.listed.picture.pixels().shape[:2] == line.listed.size
    blocks = list(part.read(16))
    assert sum(len(block.example_ids) for block in blocks) == len(part.lines)


def test_drawn_lines_have_a_name_of_their_own():
    with pytest.raises(InputError, match="does not fit --dataset mine/lines"):
        found("synthetic", dataset="mine/lines")
    assert drawn_lines.holds
