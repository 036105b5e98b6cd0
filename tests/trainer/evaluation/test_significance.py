"""Significance of the difference between two models."""

import numpy as np
import pytest
from scipy.stats import binomtest

from trainer.evaluation import significance


def answers(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = (both, only_first, only_second, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_only_examples_that_one_of_two_gets_right_count():
    difference = significance.compare(*answers(900, 30, 12, 58))
    assert (difference.only_first_right, difference.only_second_right) == (30, 12)
    assert difference.accuracy == pytest.approx(0.018)
    assert difference.p_value == binomtest(30, 42).pvalue
    low, high = difference.interval_95
    assert 0 < low < 0.018 < high


def test_the_other_way_round_all_is_mirrored():
    first, second = answers(50, 9, 4, 37)
    forth, back = significance.compare(first, second), significance.compare(second, first)
    assert forth.accuracy == -back.accuracy
    assert forth.p_value == back.p_value
    assert forth.interval_95 == pytest.approx((-back.interval_95[1], -back.interval_95[0]))


def test_equal_answers_differ_by_nothing():
    difference = significance.compare(*answers(70, 0, 0, 30))
    assert difference.accuracy == 0
    assert difference.p_value == 1
    assert difference.interval_95[0] < 0 < difference.interval_95[1]


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Two models of 80 % and 78 %, whose answers depend on each other as those of real ones do."""
    random = np.random.default_rng(0)
    kinds = random.choice(4, (1000, 1000), p=[0.74, 0.06, 0.04, 0.16])
    intervals = [significance.compare(np.isin(sample, (0, 1)), np.isin(sample, (0, 2))).interval_95 for sample in kinds]
    assert np.mean([low <= 0.02 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.02)


def test_whether_the_first_is_better_is_asked_of_one_side():
    better, worse = significance.compare(*answers(900, 30, 12, 58)), significance.compare(*answers(900, 12, 30, 58))
    assert better.p_value_better == binomtest(30, 42, alternative="greater").pvalue
    assert better.p_value_better == pytest.approx(better.p_value / 2)
    assert worse.p_value_better > 0.99
    assert significance.compare(*answers(70, 0, 0, 30)).p_value_better == 1


def test_the_interval_is_wider_the_surer_one_wants_to_be():
    low, high = zip(*(significance.interval(30, 12, 1000, confidence) for confidence in (0.8, 0.9, 0.95)), strict=True)
    assert low[0] > low[1] > low[2]
    assert high[0] < high[1] < high[2]


def test_many_comparisons_are_corrected_for():
    # The example of Holm's step-down in textbooks: 4, 3, 2, 1 times, and never falling.
    assert significance.correct_for_many([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.correct_for_many([0.6, 0.7]) == [1, 1]
    assert significance.correct_for_many([]) == []
