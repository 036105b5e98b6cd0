"""Selective prediction: which answers to accept, so that few of the accepted ones are wrong.

The vocabulary of El-Yaniv and Wiener, "On the foundations of noise-free selective classification", 2010: coverage is
the share of answers that are accepted, risk (here: error) the share of wrong units among these.
"""

import math
from typing import Any

import numpy as np
from scipy.stats import beta

from trainer.evaluation.calibration import PROMISES
from trainer.evaluation.scores import Scores

_DOUBT = 0.05
"""The probability that a promise is not kept, because the validation split happened to be easy."""
_STRICTEST_COVERAGE = 0.25
_LOOKS = 100


def choose_thresholds(scores: Scores) -> tuple[float, ...]:
    """For each of `PROMISES` the confidence from which on answers may be accepted; inf if none keeps it."""
    return tuple(choose_threshold(scores, promise) for promise in PROMISES)


def choose_threshold(scores: Scores, promise: float) -> float:
    """The threshold with the highest coverage whose error is at most `promise`, with 95 % certainty; inf if none is.

    At each of a hundred ranks, by confidence, the upper bound (one-sided, Clopper and Pearson) of the error among the
    answers above it must be within the promise. To look a hundred times and to take the best would break the promise
    far more often than in 5 % of cases. So this is fixed-sequence testing, as in Angelopoulos et al., "Learn then
    test", 2021: the ranks are fixed beforehand, looked at from strict to loose, and the first failure ends the search.
    A promise is then broken only if the first rank at which it is too much passes, whose chance is 5 %, however many
    are looked at. It holds where, once the error exceeds the promise, it does so at all lower confidences, too. The
    first rank is a quarter of the answers, or as many as could prove the promise without any error among them, so
    that a single error at the very top does not end the search before it has begun.
    """
    count = len(scores.confidence)
    fewest = math.ceil(math.log(_DOUBT) / math.log1p(-promise))
    if count < fewest:
        return math.inf
    order = np.argsort(-scores.confidence, kind="stable")
    confidence = np.append(scores.confidence[order].astype(np.float32), np.float32(0))
    errors, units = np.cumsum(scores.errors[order]), np.cumsum(scores.units[order])
    ranks = np.linspace(max(fewest, _STRICTEST_COVERAGE * count), count, _LOOKS).astype(int)
    # Halfway to the next, so that other rounding changes nothing. What has no confidence at all is never accepted.
    thresholds = np.maximum((confidence[ranks - 1] + confidence[ranks]) / 2, np.finfo(np.float32).tiny)
    accepted = np.searchsorted(-confidence, -thresholds, side="right")
    last = np.maximum(accepted, 1) - 1
    keeps = (accepted > 0) & (upper_bounds(errors[last] / units[last], accepted) <= promise)
    kept = len(ranks) if keeps.all() else int(keeps.argmin())
    return float(thresholds[kept - 1]) if kept else math.inf


def is_accepted(confidence: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each confidence suffices, bool [N]."""
    return confidence.astype(np.float32) >= np.float32(threshold)


def figures(scores: Scores, thresholds: tuple[float, ...]) -> list[dict[str, Any]]:
    """The coverage and the error really reached for each of `PROMISES`, with 95 % intervals, as plain data.

    Where a promise is not reachable, the threshold is None and nothing is covered; without accepted answers the error
    is None.
    """
    return [_figures(scores, promise, limit) for promise, limit in zip(PROMISES, thresholds, strict=True)]


def _figures(scores: Scores, promise: float, threshold: float) -> dict[str, Any]:
    accepted = scores.of(is_accepted(scores.confidence, threshold))
    count, all_answers = len(accepted.units), len(scores.units)
    error = int(accepted.errors.sum()) / int(accepted.units.sum()) if count else None
    return {
        "max_error": promise,
        "threshold": threshold if math.isfinite(threshold) else None,
        "coverage": count / all_answers,
        "coverage_interval_95": _interval(count / all_answers, all_answers),
        "error": error,
        "error_interval_95": None if error is None else _interval(error, count),
    }


def upper_bounds(shares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Clopper and Pearson's upper bounds of shares of `counts` trials, one-sided.

    An answer of several units is one trial with the share of its wrong units. That is on the safe side: such a share
    varies less than a trial that is either all wrong or all right.
    """
    shares = np.minimum(shares, 1)
    return np.where(shares < 1, beta.ppf(1 - _DOUBT, shares * counts + 1, np.maximum((1 - shares) * counts, 1e-9)), 1)


def _interval(share: float, count: int) -> list[float]:
    """Clopper and Pearson's interval of 95 % of a share of `count` trials."""
    share = min(share, 1.0)
    low = beta.ppf(0.025, share * count, (1 - share) * count + 1) if share > 0 else 0.0
    high = beta.ppf(0.975, share * count + 1, (1 - share) * count) if share < 1 else 1.0
    return [float(low), float(high)]
