"""The band of a page that a picture of a line shows."""

import numpy as np
import pytest

from preprocess.sources.drawing.band import cut


def bands(ink, usual, margin=0.0):
    return [cut(ink, usual, margin, np.random.default_rng(number)) for number in range(200)]


def test_a_band_holds_all_ink_and_is_cut_anywhere_up_to_the_usual_band():
    bottoms, tops = np.array(bands((0.0, 1.0), (-0.5, 1.5))).T
    assert bottoms.max() <= 0
    assert tops.min() >= 1
    assert bottoms.min() == pytest.approx(-0.5, abs=0.05)
    assert tops.max() == pytest.approx(1.5, abs=0.05)


def test_ink_outside_of_the_usual_band_widens_it():
    assert set(bands((-2.0, 3.0), (-0.5, 1.5), margin=0.1)) == {(-2.1, 3.1)}


def test_little_ink_is_not_enlarged_until_it_fills_the_picture():
    bottoms, tops = np.array(bands((0.4, 0.6), (-0.5, 1.5))).T
    assert (tops - bottoms).min() == pytest.approx(1.3)
