"""The figures of readings: lines of text as a model reads them, against what is written there.

Errors are edits: the fewest insertions, deletions and substitutions that make the reading from the truth (Levenshtein,
1966). A character is a Unicode code point. A truth is never empty.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jiwer
import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.optimize import minimize_scalar

from trainer.evaluation import metrics, significance

_CONFUSED_PAIRS = 20
_WORST_LINES = 20
_TEMPERATURES = (0.05, 20.0)
_LEAST_DOUBT = 1e-7
"""Keeps the loss finite where a confidence is rounded to 1."""
_KINDS = {"equal": "equal", "delete": "missing", "insert": "extra", "replace": "replaced"}


def errors(truths: Sequence[str], readings: Sequence[str]) -> np.ndarray:
    """The wrong characters of each reading, int64 [N]; more than the truth has, if much was read that is not there."""
    return np.array([Levenshtein.distance(*pair) for pair in zip(truths, readings, strict=True)], np.int64)


def units(truths: Sequence[str]) -> np.ndarray:
    """The characters of each truth, int64 [N]."""
    return np.array([len(truth) for truth in truths], np.int64)


def compute_all(
    truths: Sequence[str],
    readings: Sequence[str],
    confidence: np.ndarray,
    groups: np.ndarray,
    group_names: Sequence[str],
) -> dict[str, Any]:
    """All figures of a split for `metrics.json`, as plain data.

    `confidence`, float [N], is calibrated, and `groups`, int [N], are indices of `group_names`: writers, or pages.
    An error rate is the sum of errors over the sum of lengths; nothing is capped, so it may exceed 1. Words are what
    white space separates, so a comma belongs to the word before it.
    """
    wrong, lengths = errors(truths, readings), units(truths)
    wrong_words, words = _word_errors(truths, readings)
    kinds, confused = _count_edits(truths, readings)
    num_characters, right = int(lengths.sum()), share_right(wrong, lengths)
    return {
        "num_examples": len(truths),
        "num_characters": num_characters,
        "num_words": int(words.sum()),
        "num_groups": len(np.unique(groups)),
        "accuracy": float(1 - wrong.sum() / num_characters),
        "character_error_rate": float(wrong.sum() / num_characters),
        "character_error_rate_interval_95": _interval(wrong, lengths, groups),
        "word_error_rate": float(wrong_words.sum() / words.sum()),
        "word_error_rate_interval_95": _interval(wrong_words, words, groups),
        "folded": {name: _folded_rates(truths, readings, fold) for name, fold in _FOLDS.items()},
        "insertions": kinds["insert"],
        "insertion_rate": kinds["insert"] / num_characters,
        "deletions": kinds["delete"],
        "deletion_rate": kinds["delete"] / num_characters,
        "substitutions": kinds["replace"],
        "substitution_rate": kinds["replace"] / num_characters,
        "most_confused": confused,
        "by_group": _by_group(wrong, lengths, groups, group_names),
        "worst_by_rate": _highest(wrong / lengths, wrong),
        "worst_by_errors": _highest(wrong, wrong / lengths),
        "expected_calibration_error_calibrated": metrics.calibration_error(confidence, right, lengths),
        "reliability": metrics.by_confidence(confidence, right, lengths),
    }


def error_rates(truths: Sequence[str], readings: Sequence[str]) -> dict[str, float]:
    """The error rates of characters and words alone, named as in `compute_all`."""
    wrong_words, words = _word_errors(truths, readings)
    return {
        "character_error_rate": float(errors(truths, readings).sum() / units(truths).sum()),
        "word_error_rate": float(wrong_words.sum() / words.sum()),
    }


def headlines(figures: dict[str, Any]) -> list[str]:
    """The most important figures of `compute_all`, as lines of text."""
    folded = figures["folded"]["all"]
    return [
        f"{_rate(figures, 'character')}, on {figures['num_examples']:,} lines with {figures['num_characters']:,} "
        f"characters, of {figures['num_groups']:,} groups",
        f"{_rate(figures, 'word')}; without case, accents and punctuation: characters "
        f"{_percent(folded['character_error_rate'])}, words {_percent(folded['word_error_rate'])}",
        f"of all characters {_percent(figures['substitution_rate'])} taken for others, "
        f"{_percent(figures['deletion_rate'])} left out, {_percent(figures['insertion_rate'])} added; "
        f"calibration error {_percent(figures['expected_calibration_error_calibrated'])}",
    ]


def _rate(figures: dict[str, Any], unit: str) -> str:
    interval = figures[f"{unit}_error_rate_interval_95"]
    said = f"{unit} error rate {_percent(figures[f'{unit}_error_rate'])}"
    if interval is None:
        return f"{said} (no interval, for want of groups)"
    low, high = (100 * end for end in interval)
    return f"{said} (95 % interval {low:.2f} to {high:.2f} %)"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.2f} %"


def differences(truth: str, reading: str) -> list[tuple[str, str, str]]:
    """Where a reading differs from the truth: runs of (kind, text of the truth, text of the reading), from the left.

    The kind is `equal`; `missing` or `extra`, in the reading; or `replaced`. All texts of the truth make up the truth,
    and all of the reading the reading.
    """
    return [
        (_KINDS[run.tag], truth[run.src_start : run.src_end], reading[run.dest_start : run.dest_end])
        for run in Levenshtein.opcodes(truth, reading)
    ]


def _interval(wrong: np.ndarray, lengths: np.ndarray, groups: np.ndarray) -> list[float] | None:
    interval = significance.rate_interval(wrong, lengths, groups)
    return None if interval is None else list(interval)


def _word_errors(truths: Sequence[str], readings: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The wrong words of each reading, and the words of each truth, int64 [N] both."""
    # jiwer separates at blanks only.
    texts = [[" ".join(text.split()) for text in some] for some in (truths, readings)]
    output = jiwer.process_words(*texts)
    wrong = [
        sum(
            max(run.ref_end_idx - run.ref_start_idx, run.hyp_end_idx - run.hyp_start_idx)
            for run in runs
            if run.type != "equal"
        )
        for runs in output.alignments
    ]
    return np.array(wrong, np.int64), np.array([len(words) for words in output.references], np.int64)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(one for one in decomposed if not unicodedata.combining(one)))


def _without_punctuation(text: str) -> str:
    kept = "".join(one for one in text if not unicodedata.category(one).startswith("P"))
    return " ".join(kept.split())  # where it stood alone, two blanks are left


def _without_all(text: str) -> str:
    return _without_punctuation(_without_accents(text.casefold()))


_FOLDS: dict[str, Callable[[str], str]] = {
    "case": str.casefold,
    "accents": _without_accents,
    "punctuation": _without_punctuation,
    "all": _without_all,
}


def _folded_rates(
    truths: Sequence[str], readings: Sequence[str], fold: Callable[[str], str]
) -> dict[str, float | None]:
    """The error rates where what `fold` removes makes no difference; None if it leaves nothing to read."""
    truths, readings = [fold(truth) for truth in truths], [fold(reading) for reading in readings]
    wrong_words, words = _word_errors(truths, readings)
    return {
        "character_error_rate": _share(errors(truths, readings), units(truths)),
        "word_error_rate": _share(wrong_words, words),
    }


def _share(wrong: np.ndarray, lengths: np.ndarray) -> float | None:
    return float(wrong.sum() / lengths.sum()) if lengths.any() else None


def _count_edits(truths: Sequence[str], readings: Sequence[str]) -> tuple[Counter[str], list[list[Any]]]:
    """How many edits there are of each kind, and the commonest, as [true, read, count].

    What is read for nothing has an empty truth; what is left out is read as nothing.
    """
    kinds: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for truth, reading in zip(truths, readings, strict=True):
        for kind, place, place_read in Levenshtein.editops(truth, reading).as_list():
            kinds[kind] += 1
            true, read = "" if kind == "insert" else truth[place], "" if kind == "delete" else reading[place_read]
            pairs[true, read] += 1
    commonest = sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))[:_CONFUSED_PAIRS]
    return kinds, [[true, read, count] for (true, read), count in commonest]


def _by_group(
    wrong: np.ndarray, lengths: np.ndarray, groups: np.ndarray, group_names: Sequence[str]
) -> list[dict[str, Any]]:
    """The error rate of each group that has lines, the worst first."""
    numbers, members = np.unique(groups, return_inverse=True)
    characters, rates = np.bincount(members, lengths), np.bincount(members, wrong) / np.bincount(members, lengths)
    lines = np.bincount(members)
    return [
        {
            "name": group_names[numbers[place]],
            "num_lines": int(lines[place]),
            "num_characters": int(characters[place]),
            "character_error_rate": float(rates[place]),
        }
        for place in np.argsort(-rates, kind="stable")
    ]


def _highest(values: np.ndarray, then: np.ndarray) -> list[int]:
    """The indices of the highest values above 0, of equal ones those where `then` is higher, then the first."""
    order = np.lexsort((-then, -values))
    return [int(index) for index in order[:_WORST_LINES] if values[index] > 0]


def share_right(errors: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The share of right characters, float64 [N], that a confidence should equal on average: 0 to 1."""
    return np.clip(1 - errors / units, 0, 1)


def calibrate(log_confidence: np.ndarray, temperature: float) -> np.ndarray:
    """The confidence of readings, float64 [N] from 0 to 1, from the mean log probabilities of their characters.

    A temperature below 1 lowers it; the order of readings stays. One of nothing, with -inf, has confidence 0.
    """
    return np.exp(log_confidence.astype(np.float64) / temperature)


def fit_temperature(log_confidence: np.ndarray, errors: np.ndarray, units: np.ndarray) -> float:
    """The temperature with which the confidence is the expected share of right characters.

    It minimises the cross-entropy of both, each character counting the same; fit it on the validation split. As in
    Guo et al., "On calibration", 2017, though by the mean of a reading. 1 if nothing at all is read.
    """
    is_read = np.isfinite(log_confidence)
    if not is_read.any():
        return 1.0
    logs, right = log_confidence[is_read].astype(np.float64), share_right(errors, units)[is_read]
    weights = units[is_read] / units[is_read].sum()

    def loss(log_temperature: float) -> float:
        scaled = np.minimum(logs / np.exp(log_temperature), -_LEAST_DOUBT)
        return float(-weights @ (right * scaled + (1 - right) * np.log(-np.expm1(scaled))))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded").x))
