"""Which answers to accept: thresholds that keep a promise of error, and what they reach."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from trainer.evaluation import selective
from trainer.evaluation.calibration import PROMISES
from trainer.evaluation.scores import Scores

DRAWS = 200


def draw(random: np.random.Generator, count: int) -> Scores:
    """Answers of a calibrated model that is right in 90 %, and often sure of it."""
    confidence = 1 - 0.9 * random.beta(0.25, 2, count)
    return scores(random.random(count) > confidence, confidence)


def scores(is_wrong: np.ndarray, confidence: np.ndarray) -> Scores:
    return Scores(is_wrong.astype(int), np.ones(len(is_wrong), int), confidence)


@pytest.fixture(scope="module")
def truth() -> tuple[np.ndarray, np.ndarray]:
    """Confidences in descending order, and the true error of accepting answers down to each of them."""
    confidence = np.sort(draw(np.random.default_rng(1), 500_000).confidence)[::-1]
    return confidence, np.cumsum(1 - confidence) / np.arange(1, len(confidence) + 1)


@pytest.mark.parametrize(("promise", "count"), [(0.05, 500), (0.01, 3000), (0.005, 6000)])
def test_the_promise_is_kept_in_all_but_5_percent_of_draws_and_hardly_anything_is_given_away(truth, promise, count):
    confidence, error = truth
    random = np.random.default_rng(0)
    thresholds = [selective.choose_threshold(draw(random, count), promise) for _ in range(DRAWS)]
    covered = np.searchsorted(-confidence, [-threshold for threshold in thresholds], side="right")
    is_broken = (covered > 0) & (error[covered - 1] > promise)
    # Were it broken in 5 %, more than this would be seen once in a hundred times.
    assert is_broken.mean() <= 0.05 + 2.4 * math.sqrt(0.05 * 0.95 / DRAWS)
    best = (error <= promise).mean()
    assert np.median(covered) / len(confidence) > best - 0.12


def test_looking_for_the_best_of_many_would_break_it_far_more_often(truth):
    """So the promise is not kept for want of a difficulty: the best of all ranks whose bound is within it breaks it."""
    confidence, error = truth
    random, count, promise = np.random.default_rng(0), 3000, 0.01
    broken = 0
    for _ in range(DRAWS):
        drawn = draw(random, count)
        order = np.argsort(-drawn.confidence)
        wrong = np.cumsum(drawn.errors[order])
        counts = np.arange(1, count + 1)
        bounds = selective.upper_bounds(wrong / counts, counts)
        (within,) = np.nonzero(bounds <= promise)
        last = drawn.confidence[order][within[-1]] if len(within) else 1.0
        covered = np.searchsorted(-confidence, -last, side="right")
        broken += covered > 0 and error[covered - 1] > promise
    assert broken / DRAWS > 0.05


def test_what_too_few_examples_could_prove_is_not_reachable():
    perfect = [scores(np.zeros(count, bool), np.linspace(0.5, 1, count)) for count in (58, 59, 298, 299, 597, 598)]
    reachable = [[math.isfinite(threshold) for threshold in selective.choose_thresholds(some)] for some in perfect]
    assert [sum(some) for some in reachable] == [0, 1, 1, 2, 2, 3]
    hopeless = scores(np.arange(5000) % 4 == 0, np.linspace(0.5, 1, 5000))
    assert selective.choose_thresholds(hopeless) == (math.inf,) * 3


def test_a_model_without_errors_accepts_everything_but_what_it_has_no_confidence_in():
    confidence = np.append(np.linspace(0.1, 1, 900), np.zeros(10))
    for threshold in selective.choose_thresholds(scores(confidence == 0, confidence)):
        assert selective.is_accepted(confidence, threshold).tolist() == (confidence > 0).tolist()


def test_answers_of_the_same_confidence_are_accepted_or_refused_together():
    confidence = np.repeat([1.0, 0.6], [2000, 1000])
    is_wrong = np.append(np.arange(2000) % 1000 == 0, np.arange(1000) % 3 == 0)
    assert 0.6 < selective.choose_threshold(scores(is_wrong, confidence), 0.01) <= 1
    assert selective.choose_threshold(scores(is_wrong, confidence), 0.005) > 0.6


def test_the_figures_are_counts_with_clopper_and_pearsons_intervals():
    confidence = np.linspace(0, 1, 1000, endpoint=False)
    is_wrong = np.isin(np.arange(1000), [0, 700, 900])
    loose, strict, none = selective.figures(scores(is_wrong, confidence), (0.5, 0.95, math.inf))
    assert [promise["max_error"] for promise in (loose, strict, none)] == list(PROMISES)
    assert (loose["threshold"], loose["coverage"], loose["error"]) == (0.5, 0.5, pytest.approx(2 / 500))
    assert loose["error_interval_95"] == pytest.approx(list(binomtest(2, 500).proportion_ci(method="exact")))
    assert loose["coverage_interval_95"] == pytest.approx(list(binomtest(500, 1000).proportion_ci(method="exact")))
    assert (strict["error"], strict["error_interval_95"][0]) == (0, 0)
    assert strict["error_interval_95"][1] == pytest.approx(1 - 0.025 ** (1 / 50))
    assert (none["threshold"], none["coverage"], none["error"]) == (None, 0, None)


def test_lines_of_text_count_by_their_units_and_are_on_the_safe_side():
    """Of lines of 20 units, each with one error, no promise below 5 % can be kept; 100 lines prove less than 2000."""
    lines = Scores(np.ones(100, int), np.full(100, 20), np.linspace(0.5, 1, 100))
    assert selective.choose_thresholds(lines) == (math.inf,) * 3
    right = Scores(np.zeros(100, int), np.full(100, 20), np.linspace(0.5, 1, 100))
    assert [math.isfinite(threshold) for threshold in selective.choose_thresholds(right)] == [True, False, False]
    assert selective.figures(lines, (0.0, 0.0, 0.0))[0]["error"] == pytest.approx(0.05)
