"""Lines of handwriting: repeatable, whole, and each letter in its place."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import find_objects, label

from common.errors import InputError
from preprocess.sources.drawing.band import LINE_HEIGHT
from preprocess.sources.drawing.lines import draw_line
from preprocess.sources.drawing.texts import draw_text
from preprocess.sources.drawing.writers import draw_writer

STEADY = replace(
    draw_writer(np.random.default_rng(0)),
    shapes={},  # all from `symbols`
    symbols="sans",
    slant=0.0,
    stretch=1.0,
    letter_spacing=0.3,
    word_spacing=1.5,
    pen=0.08,
    nib=(0.0, 0.0),
    joined=0.0,
    bend=0.0,
    size_jitter=0.0,
    tilt_jitter=0.0,
    height_jitter=0.0,
    spacing_jitter=0.0,
    baseline_wave=0.0,
    mark_shift=0.0,
    mark_size=1.0,
)
"""A hand that writes letters apart, all alike."""


def drawn(text, *seed, writer=None):
    return draw_line(text, np.random.default_rng(seed), writer)


def parts(line):
    """The (rows, columns) of each connected piece of ink, from left to right."""
    return sorted(find_objects(label(line > 127, np.ones((3, 3)))[0]), key=lambda piece: piece[1].start)


def test_the_same_seed_draws_the_same_bytes_and_another_does_not():
    assert drawn("Le réseau", 1, 2).tobytes() == drawn("Le réseau", 1, 2).tobytes()
    assert drawn("Le réseau", 1, 2).tobytes() != drawn("Le réseau", 1, 3).tobytes()


def test_all_ink_of_any_hand_is_inside_the_picture():
    for number in range(60):
        rng = np.random.default_rng([7, number])
        text = draw_text(rng)
        line = draw_line(text, rng)
        assert (line.dtype, line.shape[0]) == (np.uint8, LINE_HEIGHT)
        assert line.max() == 255, text
        edges = np.concatenate([line[0], line[-1], line[:, 0], line[:, -1]])
        assert not edges.any(), text


def test_ink_fills_the_height_as_far_as_the_text_has_ascenders_and_descenders():
    for number in range(20):
        rows = np.flatnonzero(drawn("Épingle", 3, number).any(axis=1))
        assert rows[-1] - rows[0] > 0.6 * LINE_HEIGHT
        rows = np.flatnonzero(drawn("-", 3, number).any(axis=1))
        assert rows[-1] - rows[0] < 0.5 * LINE_HEIGHT, "a hyphen is not enlarged"


def test_longer_texts_are_wider():
    text = "the quick brown fox"
    widths = [np.mean([drawn(text[:length], 5, seed).shape[1] for seed in range(12)]) for length in (1, 3, 7, 12, 19)]
    assert (np.diff(widths) > 20).all()


def test_letters_written_apart_stand_one_beside_the_other():
    line = drawn("LocnT7", 0, writer=STEADY)
    pieces = parts(line)
    assert len(pieces) == 6
    for (_, columns), (_, then) in pairwise(pieces):
        assert columns.stop <= then.start


def test_a_space_is_wider_than_what_is_between_letters():
    (_, first), (_, second), (_, third) = parts(drawn("no n", 0, writer=STEADY))
    assert third.start - second.stop > 2 * (second.start - first.stop)


def test_descenders_reach_below_and_ascenders_above():
    x, p, ell = parts(drawn("xpl", 0, writer=STEADY))
    assert p[0].stop > x[0].stop + 5
    assert ell[0].start < x[0].start - 5


@pytest.mark.parametrize(("accented", "base"), zip("éèàêôùâëûñÉÀ", "eeaeouaeunEA", strict=True))
def test_an_accent_is_drawn_above_its_letter(accented, base):
    pieces = parts(drawn(accented, 0, writer=STEADY))
    assert len(pieces) == (3 if accented == "ë" else 2)
    lower = max(pieces, key=lambda piece: piece[0].stop)
    assert all(piece[0].stop <= lower[0].start for piece in pieces if piece is not lower)
    assert len(parts(drawn(base, 0, writer=STEADY))) == 1


@pytest.mark.parametrize("letters", ["eéèêë", "cç", "uùûü", "iîï", "oôœ", "aàâä", "EÉÈÊ", "CÇ"])
def test_letters_with_different_accents_look_different(letters):
    assert len({drawn(letter, 0, writer=STEADY).tobytes() for letter in letters}) == len(letters)


def test_decomposed_and_composed_texts_are_drawn_alike():
    assert drawn("cafe\u0301", 4).tobytes() == drawn("caf\u00e9", 4).tobytes()


def test_joined_writing_connects_small_letters_and_nothing_else():
    joining = replace(STEADY, joined=1.0)
    assert len(parts(drawn("nnn", 0, writer=joining))) == 1
    assert len(parts(drawn("NN", 0, writer=joining))) == 2
    assert len(parts(drawn("n n", 0, writer=joining))) == 2


def test_each_letter_of_a_line_is_a_little_different():
    def difference(writer):
        line = drawn("n n", 0, writer=writer)
        first, second = (Image.fromarray(line[piece]).resize((32, 32)) for piece in parts(line))
        return np.abs(np.asarray(first, float) - np.asarray(second, float)).mean()

    assert difference(STEADY) < 12 < difference(replace(STEADY, bend=0.05))


def test_lines_of_one_writer_are_more_alike_than_those_of_others():
    def thickness(line):  # ink per height of ink: a heavy pen leaves more
        return (line > 127).sum() / (line > 127).any(axis=0).sum()

    writers = [draw_writer(np.random.default_rng([2, number])) for number in range(12)]
    figures = np.array([[thickness(drawn("nom du mois", 9, n, writer=w)) for n in range(4)] for w in writers])
    assert figures.std(axis=1).mean() < 0.6 * figures.mean(axis=1).std()


def test_every_hand_writes_every_letter():
    for number in range(8):
        writer = draw_writer(np.random.default_rng([3, number]))
        for character in "aàçgijlyzAÉQW0179.,;:'’-«»€&@/œ":
            assert drawn(character, 1, writer=writer).any(), character


@pytest.mark.parametrize("text", ["", "  ", "a\tb", "漢字"])
def test_what_cannot_be_drawn_is_refused(text):
    with pytest.raises(InputError, match="cannot be drawn"):
        drawn(text, 0)
