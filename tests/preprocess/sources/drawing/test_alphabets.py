"""Alphabets: what they can write, and how they are brought to one size."""

import string

import pytest

from preprocess.sources.drawing.alphabets import ALPHABETS, drawable, has, kerning, letter, not_drawable


def test_all_hands_can_write_english_and_french():
    assert (
        not_drawable(string.ascii_letters + string.digits + " éèàçêôœùîïâëûüÿæÉÈÀÇÊÔŒ«»’“”€£°.,;:!?()-–/&%+@#'\"") == ""
    )


@pytest.mark.parametrize("character", ["\n", "\u00a0", "\u0301", "\u2800", "漢", "א"])
def test_what_leaves_no_ink_or_is_in_no_font_is_named(character):
    assert not_drawable(f"a {character}b") == character


def test_every_drawable_character_has_strokes():
    characters = sorted(drawable())
    assert len(characters) > 4000
    for character in characters[::41]:
        assert len(letter("sans", character).points), character


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_small_letters_of_all_alphabets_are_of_one_height(alphabet):
    for character in "acemnorsuvxz":
        shape = letter(alphabet, character)
        height = shape.points[:, 1].max()
        assert 0.85 < height < 1.2, character
        assert shape.points[:, 1].min() > -0.2, character
        assert 0.15 < shape.right - shape.left < 2.3, character


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_letters_without_a_slant_of_their_own_stand_upright(alphabet):
    points = letter(alphabet, "l").points
    top, bottom = points[points[:, 1] > 1.2, 0].mean(), points[points[:, 1] < 0.3, 0].mean()
    assert abs(top - bottom) < 0.35


def test_an_alphabet_of_letters_has_nothing_else():
    assert has("script", "a")
    assert not has("script", "7")
    assert not has("italic", "£"), "there the font has a Greek letter"


def test_neighbours_are_kerned_as_in_the_font():
    assert kerning("sans", "A", "V") < -0.05
    assert kerning("sans", "n", "n") == 0
