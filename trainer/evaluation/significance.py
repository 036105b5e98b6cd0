"""Whether one model is better than another, from their answers to the same test examples."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

_SEED = 0
_RESAMPLES = 2_000
_AT_ONCE = 1 << 18
"""Draws of groups that are held in memory at once."""
_FLIPS = 100_000
_MOST_EXACT = 1 << 28
"""Up to so many additions, about a third of a second, the exact distribution is computed."""


@dataclass(frozen=True)
class Difference:
    """The accuracy of one model minus that of another, on the same examples."""

    only_first_right: int
    only_second_right: int
    accuracy: float
    """The difference of accuracy, -1 to 1."""
    interval_95: tuple[float, float]
    p_value: float
    """McNemar's exact test: the probability of a difference at least this large between equally good models."""
    p_value_better: float
    """One-sided: the probability that the first of two equally good models leads by at least this much."""


def compare(first_is_right: np.ndarray, second_is_right: np.ndarray) -> Difference:
    """Compares two models, given for each example whether each model was right: bool [N] both."""
    count = len(first_is_right)
    first = int(np.sum(first_is_right & ~second_is_right))
    second = int(np.sum(second_is_right & ~first_is_right))
    return Difference(
        only_first_right=first,
        only_second_right=second,
        accuracy=(first - second) / count,
        interval_95=interval(first, second, count, 0.95),
        p_value=_mcnemar(first, second, "two-sided"),
        p_value_better=_mcnemar(first, second, "greater"),
    )


def interval(only_first_right: int, only_second_right: int, count: int, confidence: float) -> tuple[float, float]:
    """The confidence interval of the difference of accuracy on `count` examples; `confidence` is 0 to 1.

    Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data",
    2012.
    """
    p, q = (only_first_right + 1) / (count + 2), (only_second_right + 1) / (count + 2)
    half_width = norm.ppf((1 + confidence) / 2) * np.sqrt((p + q - (p - q) ** 2) / (count + 2))
    return float(max(-1, p - q - half_width)), float(min(1, p - q + half_width))


def _mcnemar(first: int, second: int, alternative: str) -> float:
    return float(binomtest(first, first + second, alternative=alternative).pvalue) if first + second else 1.0


@dataclass(frozen=True)
class GroupedDifference:
    """The error rate of one model minus that of another, on the same examples, whose groups may be alike within."""

    num_groups: int
    error_rate: float
    """The difference of wrong units over all units; negative if the first model is better."""
    interval_95: tuple[float, float] | None
    p_value: float
    """The probability of a difference at least this large if, in each group, the models could have changed places."""
    p_value_better: float
    """One-sided: the probability that the first would be better by at least this much."""


def compare_by_group(
    first_errors: np.ndarray, second_errors: np.ndarray, units: np.ndarray, groups: np.ndarray
) -> GroupedDifference:
    """Compares two models by the wrong units of their answers to the same examples; all int [N].

    A paired permutation test over groups, such as writers: if the models are equally good, the difference of errors in
    a group is as likely with the opposite sign (Fisher's sign flips). It is exact for as long as it can be: beyond, it
    is estimated from 100,000 flips with a fixed seed. With one example of one unit in each group it is McNemar's test.
    """
    differences = first_errors.astype(np.int64) - second_errors
    _, numbers = np.unique(groups, return_inverse=True)
    by_group = np.bincount(numbers, differences).astype(np.int64)
    p_value, p_value_better = _flip_signs(by_group)
    return GroupedDifference(
        num_groups=len(by_group),
        error_rate=float(differences.sum() / units.sum()),
        interval_95=rate_interval(differences, units, groups),
        p_value=p_value,
        p_value_better=p_value_better,
    )


def _flip_signs(differences: np.ndarray) -> tuple[float, float]:
    """The probabilities that random signs give a sum at least as far from 0, and one at most as high."""
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    reach, observed = int(sizes @ counts), int(differences.sum())
    if reach * int(counts.sum()) > _MOST_EXACT:
        sums = _draw_sums(sizes, counts)
        # The signs that were observed are one of the possible draws, so that no p-value is 0.
        return (
            float((1 + (np.abs(sums) >= abs(observed)).sum()) / (1 + _FLIPS)),
            float((1 + (sums <= observed).sum()) / (1 + _FLIPS)),
        )
    chances = _chances_of_sums(np.repeat(sizes, counts))
    # The chance at place p is that of the sum 2 p - reach.
    lowest, middle = (reach - abs(observed)) // 2, (reach + observed) // 2
    return float(min(1, 2 * chances[: lowest + 1].sum())), float(min(1, chances[: middle + 1].sum()))


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
