"""Whether one model is better than another, from their answers to the same test examples."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm


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


def correct_for_many(p_values: list[float]) -> list[float]:
    """The p-values of several tests made at once, corrected so that none is small by chance (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return corrected.tolist()
