"""Whether one model is better than another, from their answers to the same test examples."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

from trainer.evaluation.scores import Scores

_SEED = 0
_RESAMPLES = 2_000
_AT_ONCE = 1 << 18
"""Draws of groups that are held in memory at once."""
_FLIPS = 100_000
_MOST_EXACT = 1 << 28
"""Up to so many additions, about a third of a second, the exact distribution is computed."""


@dataclass(frozen=True)
class Difference:
    """The accuracy of one model minus that of another, on the same examples; it is 1 minus the share of wrong units."""

    first_better: int
    """Examples in which the first has fewer wrong units; of one unit: in which only the first is right."""
    second_better: int
    accuracy: float
    """The difference of accuracy; positive if the first model is better."""
    interval_95: tuple[float, float] | None
    """None if all examples are of one group."""
    num_groups: int
    p_value: float
    """The probability of a difference at least this large between equally good models."""
    p_value_better: float
    """One-sided: the probability that the first of two equally good models leads by at least this much."""


def compare(first: Scores, second: Scores) -> Difference:
    """Compares two models by the scores of their answers to the same examples.

    A paired permutation test over groups, such as writers, within which examples may be alike: if the models are
    equally good, the difference of errors in a group is as likely with the opposite sign (Fisher's sign flips). It is
    exact for as long as it can be: beyond, it is estimated from 100,000 flips with a fixed seed. Where each example is
    its own group and has one unit, it is McNemar's exact test.
    """
    gains = second.errors.astype(np.int64) - first.errors
    by_group = gains if first.groups is None else _sums(gains, first.groups)
    p_value, p_value_better = _flip_signs(by_group)
    return Difference(
        first_better=int((gains > 0).sum()),
        second_better=int((gains < 0).sum()),
        accuracy=float(gains.sum() / first.units.sum()),
        interval_95=interval(first, second, 0.95),
        num_groups=len(by_group),
        p_value=p_value,
        p_value_better=p_value_better,
    )


def interval(first: Scores, second: Scores, confidence: float) -> tuple[float, float] | None:
    """The confidence interval of `Difference.accuracy`; `confidence` is 0 to 1.

    By drawing groups again; see `rate_interval`. Where each example is its own group and has one unit, by
    `paired_interval`.
    """
    gains, units = second.errors.astype(np.int64) - first.errors, first.units
    if first.groups is None and (units == 1).all():
        return paired_interval(int((gains > 0).sum()), int((gains < 0).sum()), len(units), confidence)
    groups = np.arange(len(units)) if first.groups is None else first.groups
    return rate_interval(gains, units, groups, confidence)


def paired_interval(
    only_first_right: int, only_second_right: int, count: int, confidence: float
) -> tuple[float, float]:
    """The confidence interval of the difference of accuracy on `count` examples; `confidence` is 0 to 1.

    Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data",
    2012.
    """
    p, q = (only_first_right + 1) / (count + 2), (only_second_right + 1) / (count + 2)
    half_width = norm.ppf((1 + confidence) / 2) * np.sqrt((p + q - (p - q) ** 2) / (count + 2))
    return float(max(-1, p - q - half_width)), float(min(1, p - q + half_width))


def _sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The sums of `values` by group, int64 [G]."""
    return np.bincount(np.unique(groups, return_inverse=True)[1], values).astype(np.int64)


def _flip_signs(gains: np.ndarray) -> tuple[float, float]:
    """The probabilities that random signs give a sum at least as far from 0, and one at least as high."""
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    if len(sizes) <= 1:  # as with coins, and so without a limit
        won, played = int((gains > 0).sum()), int(counts.sum())
        tests = (binomtest(won, played, alternative=side) for side in ("two-sided", "greater")) if played else ()
        return tuple(float(test.pvalue) for test in tests) or (1.0, 1.0)
    reach, observed = int(sizes @ counts), int(gains.sum())
    if reach * int(counts.sum()) > _MOST_EXACT:
        sums = _draw_sums(sizes, counts)
        # The signs that were observed are one of the possible draws, so that no p-value is 0.
        return (
            float((1 + (np.abs(sums) >= abs(observed)).sum()) / (1 + _FLIPS)),
            float((1 + (sums >= observed).sum()) / (1 + _FLIPS)),
        )
    chances = _chances_of_sums(np.repeat(sizes, counts))
    # The chance at place p is that of the sum 2 p - reach, and as large as that of its opposite.
    farther, higher = ((reach - far) // 2 for far in (abs(observed), observed))
    return float(min(1, 2 * chances[: farther + 1].sum())), float(min(1, chances[: higher + 1].sum()))


def _chances_of_sums(sizes: np.ndarray) -> np.ndarray:
    """The probability of each sum of those sizes, int [G], that random signs make positive, from 0 to that of all."""
    chances = np.ones(1)
    for size in sizes.tolist():
        longer = np.zeros(len(chances) + size)
        longer[: len(chances)] = chances
        longer[size:] += chances
        chances = longer / 2
    return chances


def _draw_sums(sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The sums of differences of such sizes, so many of each, with random signs: int64 [F]."""
    random = np.random.default_rng(_SEED)
    sums = np.zeros(_FLIPS, np.int64)
    for size, count in zip(sizes, counts, strict=True):
        sums += size * (2 * random.binomial(count, 0.5, _FLIPS) - count)
    return sums


def rate_interval(
    errors: np.ndarray, units: np.ndarray, groups: np.ndarray, confidence: float = 0.95
) -> tuple[float, float] | None:
    """The confidence interval of the share of wrong units, or of a difference of two such shares.

    `errors` and `units`, int [N], are summed by group, int [N], and groups are drawn again, with a fixed seed: the
    percentiles of 2,000 such samples (Efron, "Bootstrap methods", 1979). Examples of a group may depend on each other.
    None for fewer than two groups; too narrow for a handful. `confidence` is 0 to 1.
    """
    _, numbers = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(numbers, errors), np.bincount(numbers, units)], axis=1)
    num_groups = len(sums)
    if num_groups < 2:
        return None
    random = np.random.default_rng(_SEED)
    rates, at_once = [], max(_AT_ONCE // num_groups, 1)
    for start in range(0, _RESAMPLES, at_once):
        samples = min(at_once, _RESAMPLES - start)
        drawn = random.integers(num_groups, size=(samples, num_groups), dtype=np.int32)
        drawn += num_groups * np.arange(samples, dtype=np.int32)[:, None]
        times = np.bincount(drawn.ravel(), minlength=samples * num_groups).reshape(samples, num_groups)
        totals = times.astype(np.float64) @ sums
        rates.append(totals[:, 0] / totals[:, 1])
    low, high = np.quantile(np.concatenate(rates), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def correct_for_many(p_values: list[float]) -> list[float]:
    """The p-values of several tests made at once, corrected so that none is small by chance (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return corrected.tolist()
