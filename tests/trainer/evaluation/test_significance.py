"""Significance of the difference between two models."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from trainer.evaluation import significance
from trainer.evaluation.scores import Scores
from trainer.evaluation.significance import Difference


def of_characters(is_right: np.ndarray) -> Scores:
    """Of examples of one unit and without groups."""
    return Scores((~is_right).astype(int), np.ones(len(is_right), int), np.ones(len(is_right)))


def answers(both: int, only_first: int, only_second: int, neither: int) -> tuple[Scores, Scores]:
    counts = (both, only_first, only_second, neither)
    right = np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)
    return of_characters(right[0]), of_characters(right[1])


def test_only_examples_that_one_of_two_gets_right_count():
    difference = significance.compare(*answers(900, 30, 12, 58))
    assert (difference.first_better, difference.second_better, difference.num_groups) == (30, 12, 1000)
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
    right = [[of_characters(np.isin(sample, both)) for both in ((0, 1), (0, 2))] for sample in kinds]
    intervals = [significance.compare(*pair).interval_95 for pair in right]
    assert np.mean([low <= 0.02 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.02)


def test_whether_the_first_is_better_is_asked_of_one_side():
    better, worse = significance.compare(*answers(900, 30, 12, 58)), significance.compare(*answers(900, 12, 30, 58))
    assert better.p_value_better == binomtest(30, 42, alternative="greater").pvalue
    assert better.p_value_better == pytest.approx(better.p_value / 2)
    assert worse.p_value_better > 0.99
    assert significance.compare(*answers(70, 0, 0, 30)).p_value_better == 1


def test_the_interval_is_wider_the_surer_one_wants_to_be():
    scores = answers(900, 30, 12, 58)
    low, high = zip(*(significance.interval(*scores, confidence) for confidence in (0.8, 0.9, 0.95)), strict=True)
    assert low[0] > low[1] > low[2]
    assert high[0] < high[1] < high[2]


def test_many_comparisons_are_corrected_for():
    # The example of Holm's step-down in textbooks: 4, 3, 2, 1 times, and never falling.
    assert significance.correct_for_many([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.correct_for_many([0.6, 0.7]) == [1, 1]
    assert significance.correct_for_many([]) == []


def by_group(first: list[int], second: list[int], groups: list[int] | None = None) -> Difference:
    """The comparison of wrong units, of 20 units each; without groups, each example is one."""
    units, numbers = np.full(len(first), 20), None if groups is None else np.array(groups)
    scores = [Scores(np.array(wrong), units, np.ones(len(units)), numbers) for wrong in (first, second)]
    return significance.compare(*scores)


def test_the_error_rates_of_groups_differ_as_computed_by_hand():
    """Three writers, with 3, 1 and 0 errors fewer by the first: of 8 ways to place the signs, 2 are as good or better.

    The third adds nothing whatever its sign. As far from 0 are these, and the two with the signs turned.
    """
    difference = by_group([1, 2, 0, 5], [3, 3, 1, 5], [7, 7, 4, 9])
    assert difference.num_groups == 3
    assert difference.accuracy == pytest.approx(4 / 80)
    assert (difference.first_better, difference.second_better) == (3, 0), "lines"
    assert difference.p_value_better == pytest.approx(2 / 8)
    assert difference.p_value == pytest.approx(4 / 8)


@pytest.mark.parametrize(
    "counts", [(900, 30, 12, 58), (50, 4, 9, 37), (10, 1, 1, 3), (20, 6, 0, 0), (5, 0, 0, 5), (0, 40_000, 90_000, 0)]
)
def test_with_one_unit_in_each_group_it_is_mcnemars_test(counts):
    _, only_first, only_second, _ = counts
    difference = significance.compare(*answers(*counts))
    sides = {"two-sided": difference.p_value, "greater": difference.p_value_better}
    for side, p_value in sides.items():
        discordant = only_first + only_second
        assert p_value == (binomtest(only_first, discordant, alternative=side).pvalue if discordant else 1)


def test_it_is_the_share_of_all_ways_to_flip_the_signs_of_groups():
    random = np.random.default_rng(0)
    signs = np.array(list(itertools.product((-1, 1), repeat=8)))
    for _ in range(20):
        first, second, groups = random.poisson(2, 60), random.poisson(2, 60), random.integers(8, size=60)
        sums = signs @ np.bincount(groups, first - second, minlength=8)
        difference = by_group(first, second, groups)
        observed = (first - second).sum()
        assert difference.p_value == pytest.approx((abs(sums) >= abs(observed)).mean())
        assert difference.p_value_better == pytest.approx((sums <= observed).mean())


def test_the_lines_of_one_writer_prove_less_than_those_of_many():
    first, second = [0] * 40, [1] * 40
    of_many, of_few = by_group(first, second), by_group(first, second, [line // 10 for line in range(40)])
    assert of_many.p_value_better == pytest.approx(2**-40)
    assert of_few.p_value_better == pytest.approx(2**-4)


def test_the_other_way_round_the_difference_is_mirrored():
    first, second, groups = np.random.default_rng(1).integers(5, size=(3, 50))
    forth, back = by_group(first, second, groups), by_group(second, first, groups)
    assert forth.accuracy == -back.accuracy
    assert forth.p_value == back.p_value
    assert forth.p_value_better > 0.5 > back.p_value_better or back.p_value_better > 0.5 > forth.p_value_better


def test_groups_that_are_too_many_to_be_exact_are_drawn_and_always_the_same(monkeypatch):
    random = np.random.default_rng(0)
    first, second, groups = random.poisson(3, 900), random.poisson(3.1, 900), random.integers(300, size=900)
    exact = by_group(first, second, groups)
    monkeypatch.setattr(significance, "_MOST_EXACT", 0)
    drawn = by_group(first, second, groups)
    assert 0.1 < exact.p_value < 0.9
    assert drawn != exact
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.005)
    assert drawn.p_value_better == pytest.approx(exact.p_value_better, abs=0.005)
    assert by_group(first, second, groups) == drawn
    extreme = by_group([0] * 300, [9, 8] * 150)
    assert extreme.p_value == extreme.p_value_better == pytest.approx(1 / 100_001)


def test_equally_good_models_are_told_apart_as_rarely_as_the_p_value_says():
    """Of writers who are easy or hard for one of two models, though not on average."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    p_values = []
    for _ in range(400):
        first, second = (random.poisson(random.gamma(2, 1, 20)[groups]) for _ in range(2))
        p_values.append(by_group(first, second, groups).p_value)
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_the_interval_of_a_rate_is_that_of_groups_drawn_again():
    """With two equal groups without error and with errors only, a quarter of the samples is all right, a quarter all
    wrong, and with 95 % certainty nothing is known."""
    errors, units = np.array([0, 0, 20, 20]), np.full(4, 20)
    assert significance.rate_interval(errors, units, np.array([5, 5, 3, 3])) == (0, 1)
    assert significance.rate_interval(errors, units, np.zeros(4, int)) is None


def test_the_interval_of_a_rate_holds_the_truth_nearly_as_often_as_it_says():
    """Of 60 writers, whose own error rates differ much; lines of one writer are alike."""
    random = np.random.default_rng(0)
    groups, units = np.repeat(np.arange(60), 5), np.full(300, 40)
    holds = []
    for _ in range(200):
        errors = random.binomial(40, random.beta(1, 9, 60)[groups])
        low, high = significance.rate_interval(errors, units, groups)
        holds.append(low <= 0.1 <= high)
    assert 0.88 < np.mean(holds) < 0.98


def test_the_interval_of_a_rate_is_the_same_however_many_samples_are_drawn_at_once(monkeypatch):
    errors, units, groups = np.random.default_rng(0).integers(1, 30, size=(3, 200))
    expected = significance.rate_interval(errors, units, groups)
    monkeypatch.setattr(significance, "_AT_ONCE", 100)
    assert significance.rate_interval(errors, units, groups) == expected
