"""Figures of readings of lines, against a table computed by hand."""

import json
import math

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation import metrics, readings, significance

# Truth, reading, characters, wrong characters, words, wrong words; by hand. Substituted: L, é twice. Left out: the full
# stop, and "oui". Added: a second blank and " trois".
TABLE = (
    ("Le chat.", "le chat", 8, 2, 2, 2),
    ("été", "ete", 3, 2, 1, 1),
    ("un deux", "un  deux trois", 7, 7, 2, 1),
    ("oui", "", 3, 3, 1, 1),
    ("20078", "20078", 5, 0, 1, 0),
)
TRUTHS, READINGS, CHARACTERS, WRONG, WORDS, WRONG_WORDS = zip(*TABLE, strict=True)
GROUPS, NAMES = np.array([0, 0, 1, 1, 3]), ("Anna", "Bert", "Dora", "Cleo")
CONFIDENCE = np.array([0.75, 0.5, 0.1, 0.0, 0.9])

some_text = st.text("abé .", max_size=8)


def figures_of(truths=TRUTHS, read=READINGS, confidence=None, groups=None) -> dict:
    count = len(truths)
    confidence = np.full(count, 0.5) if confidence is None else confidence
    groups = np.zeros(count, int) if groups is None else groups
    return readings.compute_all(truths, read, confidence, groups, [*NAMES, *map(str, range(4, 200))])


@pytest.fixture(scope="module")
def figures() -> dict:
    return figures_of(confidence=CONFIDENCE, groups=GROUPS)


def test_errors_and_units_are_those_of_the_table():
    for values, expected in ((readings.errors(TRUTHS, READINGS), WRONG), (readings.units(TRUTHS), CHARACTERS)):
        assert values.dtype == np.int64
        assert values.tolist() == list(expected)


def test_rates_are_sums_of_errors_over_sums_of_lengths(figures):
    assert (figures["num_examples"], figures["num_groups"]) == (5, 3)
    assert (figures["num_characters"], figures["num_words"]) == (26, 7) == (sum(CHARACTERS), sum(WORDS))
    assert figures["character_error_rate"] == pytest.approx(14 / 26) == sum(WRONG) / 26
    assert figures["word_error_rate"] == pytest.approx(5 / 7) == sum(WRONG_WORDS) / 7
    assert figures["accuracy"] == pytest.approx(12 / 26)
    json.dumps(figures)


def test_another_library_counts_the_same(figures):
    assert figures["character_error_rate"] == pytest.approx(jiwer.cer(list(TRUTHS), list(READINGS)))
    assert figures["word_error_rate"] == pytest.approx(jiwer.wer(list(TRUTHS), list(READINGS)))


def test_rates_without_case_accents_and_punctuation_are_those_by_hand(figures):
    """Without punctuation a truth is one shorter, and blanks that stand together are one."""
    for name, characters, words in (
        ("case", 13 / 26, 4 / 7),
        ("accents", 12 / 26, 4 / 7),
        ("punctuation", 12 / 25, 4 / 7),
        ("all", 9 / 25, 2 / 7),
    ):
        assert figures["folded"][name] == {
            "character_error_rate": pytest.approx(characters),
            "word_error_rate": pytest.approx(words),
        }


def test_what_is_folded_makes_no_difference_however_it_is_encoded():
    folded = figures_of(["Où est-il, «Strasse»?", "Привет"], ["ou\u0300 est il Straße", "ПРИВЕТ"])["folded"]
    assert folded["all"]["character_error_rate"] == pytest.approx(1 / 22)  # "est-il" is one word, as by any other rule
    assert figures_of(["Straße"], ["STRASSE"])["folded"]["case"]["character_error_rate"] == 0
    assert figures_of(["…"], ["a"])["folded"]["punctuation"] == {"character_error_rate": None, "word_error_rate": None}


def test_words_are_what_any_white_space_separates():
    figures = figures_of(["un\u00a0deux\ttrois"], ["un deux trois"])
    assert (figures["num_words"], figures["word_error_rate"]) == (3, 0)


def test_nothing_is_capped():
    figures = figures_of(["a"], ["a b c"])
    assert (figures["character_error_rate"], figures["word_error_rate"], figures["accuracy"]) == (4, 2, -3)
    assert "400.00 %" in readings.headlines(figures)[0]


def test_edits_are_counted_by_kind_and_by_character(figures):
    assert (figures["insertions"], figures["deletions"], figures["substitutions"]) == (7, 4, 3)
    for kind, count in (("insertion", 7), ("deletion", 4), ("substitution", 3)):
        assert figures[f"{kind}_rate"] == pytest.approx(count / 26)
    assert figures["most_confused"][:2] == [["", " ", 2], ["é", "e", 2]]
    assert [".", "", 1] in figures["most_confused"]
    assert ["L", "l", 1] in figures["most_confused"]
    assert sum(count for _, _, count in figures["most_confused"]) == 14


def test_groups_are_listed_from_worst_to_best_without_empty_ones(figures):
    keys = ("name", "num_lines", "num_characters", "character_error_rate")
    assert [tuple(group[key] for key in keys) for group in figures["by_group"]] == [
        ("Bert", 2, 10, 1.0),
        ("Anna", 2, 11, pytest.approx(4 / 11)),
        ("Cleo", 1, 5, 0.0),
    ]


def test_the_worst_lines_are_named_by_rate_and_by_errors(figures):
    assert figures["worst_by_rate"] == [2, 3, 1, 0]
    assert figures["worst_by_errors"] == [2, 3, 1, 0]
    figures = figures_of(["abcdefgh", "ab", "abcd"], ["xxxefgh", "a", "axxd"])
    assert figures["worst_by_rate"] == [0, 2, 1]
    assert figures_of(["a" * 10, "b"], ["a" * 5, "c"])["worst_by_rate"] == [1, 0]
    assert figures_of(["a" * 10, "b"], ["a" * 5, "c"])["worst_by_errors"] == [0, 1]


def test_calibration_counts_characters_not_lines(figures):
    """The shares of right characters are 3/4, 1/3, 0, 0 and 1; each confidence is in a bin of its own."""
    gaps = [abs(1 / 3 - 0.5), 0.1, 0.1]
    assert figures["expected_calibration_error_calibrated"] == pytest.approx(np.dot(gaps, [3, 7, 5]) / 26)
    together = figures_of(["abcdefghi", "a"], ["abcdefghi", ""], np.array([0.5, 0.5]))
    assert together["reliability"] == [{"num_examples": 2, "confidence": 0.5, "accuracy": pytest.approx(0.9)}]
    assert together["expected_calibration_error_calibrated"] == pytest.approx(0.4)


def test_intervals_draw_groups_again_and_need_two_of_them(figures):
    for unit, wrong, count in (("character", WRONG, CHARACTERS), ("word", WRONG_WORDS, WORDS)):
        low, high = figures[f"{unit}_error_rate_interval_95"]
        assert 0 <= low < figures[f"{unit}_error_rate"] < high
        assert (low, high) == significance.rate_interval(np.array(wrong), np.array(count), GROUPS)
    alone = figures_of()
    assert alone["character_error_rate_interval_95"] is alone["word_error_rate_interval_95"] is None
    assert "for want of groups" in readings.headlines(alone)[0]


def test_the_lines_of_one_writer_give_a_wider_interval_than_those_of_many():
    truths, read = ["abcd"] * 200, ["abcd"] * 100 + ["abxx"] * 100
    low, high = figures_of(truths, read, groups=np.arange(200))["character_error_rate_interval_95"]
    assert 0.2 < low < 0.25 < high < 0.3
    grouped = figures_of(truths, read, groups=np.repeat([0, 1, 2, 3], 50))["character_error_rate_interval_95"]
    assert grouped == [0, 0.5]


def test_headlines_name_both_rates_with_their_intervals(figures):
    first, second, third = readings.headlines(figures)
    assert first.startswith("character error rate 53.85 % (95 % interval 0.00 to 100.00 %), on 5 lines with 26 ")
    assert second.startswith("word error rate 71.43 % (")
    assert "characters 36.00 %, words 28.57 %" in second
    assert "11.54 % taken for others, 15.38 % left out, 26.92 % added" in third


@given(some_text, some_text)
def test_differences_make_up_both_texts_with_as_few_edits_as_possible(truth, reading):
    runs = readings.differences(truth, reading)
    assert ("".join(true for _, true, _ in runs), "".join(read for _, _, read in runs)) == (truth, reading)
    edits = 0
    for kind, true, read in runs:
        assert kind == ("equal" if true == read else "extra" if not true else "missing" if not read else "replaced")
        edits += 0 if kind == "equal" else max(len(true), len(read))
    assert edits == readings.errors([truth], [reading])[0]


def test_differences_are_marked_where_they_are():
    assert readings.differences("un chat noir", "un char noirs") == [
        ("equal", "un cha", "un cha"),
        ("replaced", "t", "r"),
        ("equal", " noir", " noir"),
        ("extra", "", "s"),
    ]
    assert readings.differences("abc", "ac")[1] == ("missing", "b", "")


@given(some_text, some_text)
def test_an_error_is_an_edit_of_one_code_point(truth, reading):
    """Against the textbook's table of distances."""
    row = list(range(len(reading) + 1))
    for count, character in enumerate(truth, start=1):
        above, row = row, [count]
        for place, other in enumerate(reading):
            row.append(min(above[place + 1] + 1, row[place] + 1, above[place] + (character != other)))
    assert readings.errors([truth], [reading])[0] == row[-1]
    assert readings.errors([truth + "𝔸"], [reading + "𝔹"])[0] <= row[-1] + 1


def drawn_lines(made_with: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log confidences, errors and units of readings whose confidence is right after scaling by a temperature."""
    random = np.random.default_rng(0)
    logs = -random.gamma(1, 0.15, 4000)
    units = random.integers(5, 80, len(logs))
    return logs * made_with, random.binomial(units, 1 - np.exp(logs)), units


def test_the_temperature_that_made_the_confidences_is_found_again():
    for made_with in (0.4, 1.0, 3.0):
        logs, wrong, units = drawn_lines(made_with)
        temperature = readings.fit_temperature(logs, wrong, units)
        assert temperature == pytest.approx(made_with, rel=0.03)
        right = readings.share_right(wrong, units)
        confidence = readings.calibrate(logs, temperature)
        assert metrics.calibration_error(confidence, right, units) < 0.01


def test_each_character_counts_the_same_for_the_temperature():
    """Long lines say that a half is right, short ones that all are; there are as many of both."""
    logs, units = np.full(200, math.log(0.9)), np.tile([100, 1], 100)
    temperature = readings.fit_temperature(logs, np.where(units == 100, 50, 0), units)
    assert readings.calibrate(logs[:1], temperature)[0] == pytest.approx(51 / 101, abs=1e-3)


def test_more_errors_than_characters_are_no_less_than_nothing_right():
    assert readings.share_right(np.array([0, 1, 9]), np.array([2, 2, 2])).tolist() == [1, 0.5, 0]
    logs, wrong, units = drawn_lines(1.0)
    capped = np.minimum(wrong + 10, units)
    assert readings.fit_temperature(logs, wrong + 10, units) == readings.fit_temperature(logs, capped, units)


def test_a_reading_of_nothing_has_no_confidence_and_no_say_in_the_temperature():
    logs, wrong, units = drawn_lines(2.0)
    with_empty = [np.append(values, extra) for values, extra in ((logs, -np.inf), (wrong, 7), (units, 7))]
    assert readings.fit_temperature(*with_empty) == readings.fit_temperature(logs, wrong, units)
    assert readings.calibrate(np.array([-np.inf]), 2.0)[0] == 0
    assert readings.fit_temperature(np.array([-np.inf]), np.array([1]), np.array([1])) == 1


def test_a_certain_reading_that_is_wrong_does_not_spoil_the_temperature():
    logs, wrong, units = drawn_lines(2.0)
    with_certain = [np.append(values, extra) for values, extra in ((logs, 0.0), (wrong, 3), (units, 7))]
    assert readings.fit_temperature(*with_certain) == pytest.approx(2, rel=0.03)
    assert math.isfinite(readings.fit_temperature(np.zeros(2, np.float32), np.zeros(2, int), np.ones(2, int)))
