"""Lines composed of pictures of characters: all there, in order, each in its usual size and place."""

import numpy as np
import pytest

from preprocess.sources.drawing.band import LINE_HEIGHT
from preprocess.sources.drawing.composing import compose_line, not_composable, span


def blocks(count, shape=(24, 16)):
    """Pictures that fill their frame as EMNIST's do, each of a grey value of its own, which tells them apart."""
    values = np.linspace(80, 250, count).round().astype(np.uint8)
    return values, [np.pad(np.full(shape, value), 2) for value in values]


def placed(text, *seed, shape=(24, 16)):
    """The line, and the rows and columns of each character of the text."""
    values, pictures = blocks(len(text.replace(" ", "")), shape)
    line = compose_line(pictures, text, np.random.default_rng(seed))
    places = [np.nonzero(line == value) for value in values]
    return line, places


def test_the_same_seed_composes_the_same_bytes_and_another_does_not():
    first, again, other = (placed("12 345", 1, seed)[0] for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_characters_stand_in_order_and_none_is_covered():
    for seed in range(60):
        _, places = placed("20 1984 5376", 2, seed, shape=(24, 16) if seed % 2 else (24, 5))
        middles = [columns.mean() for _, columns in places]
        assert (np.diff(middles) > 3).all()
        for rows, columns in places:
            box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert len(rows) > 0.6 * box
            assert len(rows) > 40


def test_all_ink_is_inside_the_picture():
    for seed in range(60):
        line, _ = placed("Qgj 1b", 3, seed)
        assert (line.dtype, line.shape[0]) == (np.uint8, LINE_HEIGHT)
        assert not np.concatenate([line[0], line[-1], line[:, 0], line[:, -1]]).any()


def test_pictures_that_fill_their_frames_get_their_usual_sizes_back():
    for seed in range(20):
        _, (capital, small, tall, below, digit) = placed("Aolg7", 4, seed)
        height = [np.ptp(rows) + 1 for rows, _ in (capital, small, tall, below, digit)]
        assert height[1] < 0.8 * min(height[0], height[2], height[4])
        assert below[0].max() > capital[0].max() + 3, "g hangs below the line"
        assert abs(capital[0].max() - digit[0].max()) < 0.3 * height[0], "both stand on it"


def test_a_space_is_a_gap():
    for seed in range(20):
        _, (first, second, third) = placed("12 3", 5, seed)
        assert third[1].min() - second[1].max() > second[1].min() - first[1].max() + 5


def test_longer_texts_are_wider():
    widths = [np.mean([placed("7" * count, 6, seed)[0].shape[1] for seed in range(10)]) for count in (1, 3, 6, 12)]
    assert (np.diff(widths) > 20).all()


def test_a_hyphen_and_a_full_stop_stay_smaller_than_a_letter():
    letter, hyphen, stop = (
        np.full((20, 20), 90, np.uint8),
        np.full((4, 24), 160, np.uint8),
        np.full((9, 9), 250, np.uint8),
    )
    for seed in range(20):
        line = compose_line([letter, hyphen, stop], "o-.", np.random.default_rng([7, seed]))
        width = [(line == value).any(axis=0).sum() for value in (90, 160, 250)]
        assert width[1] < 0.8 * width[0]
        assert width[2] < 0.5 * width[0]


@pytest.mark.parametrize(("character", "like"), [("é", "b"), ("ü", "l"), ("Ω", "A"), ("д", "a"), ("ç", "g")])
def test_characters_outside_of_the_table_are_placed_like_what_they_resemble(character, like):
    assert span(character) == pytest.approx(span(like), abs=0.35)


def test_the_characters_that_a_source_lacks_are_named():
    assert not_composable(["12,50 €", "7-3"], "0123456789") == ",-€"
    assert not_composable(["1250 3"], "0123456789") == ""


@pytest.mark.parametrize(("count", "text"), [(1, "12"), (0, " "), (3, "1 2")])
def test_one_picture_is_needed_for_each_character(count, text):
    with pytest.raises(ValueError, match="pictures for"):
        compose_line(blocks(count)[1], text, np.random.default_rng(0))


def test_a_picture_without_ink_is_refused():
    with pytest.raises(ValueError, match="without ink"):
        compose_line([np.zeros((28, 28), np.uint8)], "1", np.random.default_rng(0))
