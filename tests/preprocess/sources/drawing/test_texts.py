"""Texts: of the right characters and lengths, repeatable, and able to be drawn."""

import re
import string
import unicodedata

import numpy as np
import pytest

from preprocess.sources.drawing.alphabets import not_drawable
from preprocess.sources.drawing.texts import LONGEST, random_strings, texts


@pytest.fixture(scope="module")
def many() -> list[str]:
    return texts(np.random.default_rng([0, 0]), 3000)


def test_the_same_seed_gives_the_same_texts(many):
    assert texts(np.random.default_rng([0, 0]), 20) == many[:20]
    assert texts(np.random.default_rng([0, 1]), 20) != many[:20]


def test_texts_are_normalised_as_those_of_datasets_are(many):
    for text in many:
        assert 1 <= len(text) <= LONGEST
        assert text == " ".join(text.split()) == unicodedata.normalize("NFC", text)


def test_texts_can_be_drawn(many):
    assert not_drawable("".join(many)) == ""


def test_what_people_write_occurs_often_enough_to_be_learned(many):
    together = "".join(many)
    for character in string.ascii_letters + string.digits + ".,;:!?'’()-/éèàçêôœùîûâëÉ€%&@":
        assert together.count(character) >= 3, character


def test_texts_hold_dates_amounts_numbers_and_both_languages(many):
    together = "\n".join(many)
    for wanted in (r"\d\d/\d\d/\d{4}", r"\d,\d\d €", r"[£$]\d", r"\d{5} [A-ZÉ]", r"\bthe\b", r"\bla\b", r"\b[A-Z]{4,}"):
        assert len(re.findall(wanted, together)) >= 5, wanted


def test_few_texts_are_the_same(many):
    assert len(set(many)) > 0.9 * len(many)


def test_digits_alone_give_numbers_of_1_to_12_digits():
    strings = random_strings(np.random.default_rng(1), string.digits, 500)
    assert all(re.fullmatch(r"[\d ]+", text) for text in strings)
    assert {len(text.replace(" ", "")) for text in strings} == set(range(1, 13))
    assert any(re.fullmatch(r"\d{1,3}( \d{3})+", text) for text in strings), "amounts, in groups"


def test_decimal_points_and_currencies_are_used_where_the_vocabulary_has_them():
    strings = random_strings(np.random.default_rng(1), string.digits + ",€", 300)
    assert any(re.fullmatch(r"[\d ]+,\d\d €", text) for text in strings)
    assert not any("." in text for text in strings)


def test_letters_and_digits_give_postcodes_and_part_numbers():
    strings = random_strings(np.random.default_rng(1), string.digits + string.ascii_uppercase + "-", 400)
    for wanted in (r"[A-Z]{1,2}\d{1,2} \d[A-Z]{2}", r"[A-Z]{1,3}-\d{2,6}", r"\d{5}"):
        assert any(re.fullmatch(wanted, text) for text in strings), wanted


@pytest.mark.parametrize("vocabulary", ["01", "AB", "ab", "Ab", "é!", "日本", "a1.", "A7 "])
def test_strings_hold_all_of_the_vocabulary_and_nothing_else(vocabulary):
    strings = random_strings(np.random.default_rng(1), vocabulary, 200)
    assert set("".join(strings)) - {" "} == set(vocabulary) - {" "}
    assert all(text == " ".join(text.split()) != "" for text in strings)


def test_no_strings_can_be_made_of_nothing():
    with pytest.raises(ValueError, match="without characters"):
        random_strings(np.random.default_rng(1), " ", 1)
