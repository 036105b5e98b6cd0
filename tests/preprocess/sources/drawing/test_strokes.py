"""Middle lines of glyphs."""

import numpy as np
import pytest

from preprocess.sources.drawing.strokes import followed, strokes, thinned


def test_a_thick_line_is_thinned_to_one_pixel_of_nearly_its_length():
    ink = np.zeros((20, 40), bool)
    ink[7:14, 3:37] = True
    thin = thinned(ink)
    assert thin.sum(axis=0).max() == 1
    assert not (thin & ~ink).any()
    assert 26 <= thin.sum() <= 34


def test_a_ring_stays_a_ring():
    y, x = np.mgrid[-20:21, -20:21]
    thin = thinned((np.hypot(x, y) < 16) & (np.hypot(x, y) > 9))
    (line,) = followed(thin)
    assert line[0] == line[-1]
    radii = np.hypot(*(np.array(line) - 20).T)
    assert (radii > 10).all()
    assert (radii < 15).all()


def test_lines_are_followed_from_an_end_to_the_crossing():
    cross = np.zeros((11, 11), bool)
    cross[5, 1:10] = cross[1:10, 5] = True
    lines = followed(cross)
    assert sorted(map(len, lines)) == [5, 5, 5, 5]
    assert all((5, 5) in (line[0], line[-1]) for line in lines)


def test_a_dot_is_a_stroke():
    dot = np.zeros((5, 5), bool)
    dot[2, 2] = True
    assert followed(dot) == [[(2, 2)]]


@pytest.mark.parametrize(("character", "count"), [("l", 1), ("i", 2), ("o", 1), ("L", 1), ("7", 2), (";", 2)])
def test_letters_have_the_strokes_that_people_write(character, count):
    assert len(strokes("DejaVuSans", character).starts) == count


def test_strokes_stand_where_the_glyph_does():
    points = strokes("DejaVuSans", "p").points
    assert points[:, 1].min() < -15, "below the baseline"
    assert 45 < points[:, 1].max() < 60, "the x-height, in hundredths of an em"
