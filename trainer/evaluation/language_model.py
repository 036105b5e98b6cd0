"""A language model of characters: how probable each next character is after the ones before it.

An interpolated n-gram model with modified Kneser-Ney smoothing (Chen and Goodman, "An empirical study of smoothing
techniques for language modeling", 1998). It is kept as a tree: a node is an n-gram, its parent the n-gram without the
last character, and its suffix the one without the first. A character that never followed an n-gram is asked of the
suffix, at a price (as in the ARPA format of n-gram models).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import InputError, shown

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

DEFAULT_ORDER, HIGHEST_ORDER = 6, 8
_MOST_NGRAMS = 500_000
"""What a model may hold: about 50 MB in memory, and 5 MB in its file."""
_ALWAYS_KEPT = 2
"""N-grams up to this length are kept, however rare they are."""
_USUAL_DISCOUNTS = (0.5, 1.0, 1.5)
"""Where a text is too short to estimate them."""
_MOST_CACHED = 200_000
_ARRAYS = ("parents", "characters", "log_probabilities", "log_backoffs")


@dataclass(frozen=True)
class NGrams:
    """The content of a model: its N n-grams, shorter ones first, then by parent, then by last character.

    Characters are numbers: C of the vocabulary, then one for all others, the end of a line, and its beginning.
    """

    vocabulary: tuple[str, ...]
    order: int
    """The length of the longest n-grams, with 1 to 8 characters."""
    parents: np.ndarray
    """int32 [N]: 0 for an n-gram of one character, else 1 + the number of the n-gram without the last character."""
    characters: np.ndarray
    """int32 [N]: the last character."""
    log_probabilities: np.ndarray
    """float32 [N], in nats: of the last character after the others; -inf for the beginning of a line."""
    log_backoffs: np.ndarray
    """float32 [1 + N], in nats: the price of asking the suffix; the first is that of asking no text at all."""


@dataclass(frozen=True)
class _Level:
    """The n-grams of one length in a text: arrays [L]. Those of one character have parent and suffix 0."""

    parents: np.ndarray
    """int64: the number, among those shorter by one, of the n-gram without the last character."""
    characters: np.ndarray
    suffixes: np.ndarray
    """int64: the number, among those shorter by one, of the n-gram without the first character."""
    counts: np.ndarray
    is_from_begin: np.ndarray
    """Whether it starts with the beginning of a line."""


class LanguageModel:
    """A model that is ready to be asked. A state is a number: what it remembers of the characters so far."""

    def __init__(self, ngrams: NGrams):
        """Raises ValueError if the content is not that of a model."""
        _check(ngrams)
        self.vocabulary = ngrams.vocabulary
        self.order = ngrams.order
        self.unknown, self.end = len(ngrams.vocabulary), len(ngrams.vocabulary) + 1
        self._width = _width(ngrams.vocabulary)
        keys = ngrams.parents.astype(np.int64) * self._width + ngrams.characters
        self._suffixes, states = _link(ngrams.parents, ngrams.characters, keys, self._width)
        self._states = states.tolist()
        self._nodes = dict(zip(keys.tolist(), range(1, len(keys) + 1), strict=True))
        of_any = -np.log(self._width - 1)
        self._log_probabilities = np.concatenate([[of_any], ngrams.log_probabilities])
        self._log_backoffs = ngrams.log_backoffs
        self._answers: dict[int, tuple[float, int]] = {}
        self.begin: int = self._states[self._nodes[self.end + 1]]
        """The state before the first character of a line."""

    def step(self, state: int, character: int) -> tuple[float, int]:
        """The log probability of a character, in nats, and the state after it. It may be `unknown` or `end`."""
        key = state * self._width + character
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= _MOST_CACHED:
                self._answers.clear()
            answer = self._answers[key] = self._look_up(state, character)
        return answer

    def _look_up(self, node: int, character: int) -> tuple[float, int]:
        price = 0.0
        while (child := self._nodes.get(node * self._width + character)) is None:
            price += float(self._log_backoffs[node])
            if node == 0:
                return price + float(self._log_probabilities[0]), 0
            node = int(self._suffixes[node])
        return price + float(self._log_probabilities[child]), self._states[child]


def _check(ngrams: NGrams) -> None:
    """Raises ValueError if arrays have wrong types or lengths, or a number points to what is not there."""
    integers, fractions = (ngrams.parents, ngrams.characters), (ngrams.log_probabilities, ngrams.log_backoffs)
    count = len(ngrams.parents)
    if any(array.dtype != np.int32 for array in integers) or any(array.dtype != np.float32 for array in fractions):
        raise ValueError("its arrays have other types")
    if [array.shape for array in (*integers, *fractions)] != [(count,)] * 3 + [(count + 1,)]:
        raise ValueError("its arrays have other shapes")
    keys = ngrams.parents.astype(np.int64) * _width(ngrams.vocabulary) + ngrams.characters
    is_in_order = (np.diff(keys) > 0).all() and (ngrams.parents <= np.arange(count)).all()
    is_known = (ngrams.characters >= 0) & (ngrams.characters < _width(ngrams.vocabulary))
    if not count or not is_in_order or not is_known.all() or (ngrams.parents < 0).any():
        raise ValueError("its n-grams are not in order")
    if not (ngrams.log_probabilities < 1e-3).all() or not np.isfinite(ngrams.log_backoffs).all():
        raise ValueError("its probabilities are none")


def _link(parents: np.ndarray, characters: np.ndarray, keys: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """For each node, int64 [1 + N]: its suffix, and the longest of itself, its suffix, … that something follows.

    Raises ValueError if a suffix is missing.
    """
    suffixes = np.zeros(len(keys) + 1, np.int64)
    states = np.where(np.isin(np.arange(len(keys) + 1), parents), np.arange(len(keys) + 1), 0)
    start, stop = 1, 1 + int(np.searchsorted(parents, 1))
    while True:
        # Those whose parents are in the range before: one character longer, so that their suffixes are done.
        start, stop = stop, 1 + int(np.searchsorted(parents, stop))
        if start == stop:
            return suffixes, states
        wanted = suffixes[parents[start - 1 : stop - 1]] * width + characters[start - 1 : stop - 1]
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        if not (keys[places] == wanted).all():
            raise ValueError("an n-gram lacks its suffix")
        suffixes[start:stop] = places + 1
        states[start:stop] = np.where(states[start:stop], states[start:stop], states[suffixes[start:stop]])


def fit(texts: Sequence[str], vocabulary: tuple[str, ...], order: int = DEFAULT_ORDER) -> NGrams:
    """The model of lines of text, at least one; characters outside the vocabulary count as one character.

    If there are more n-grams than a model may hold, the rarest of three and more characters are left out. A million
    characters take about 1.5 seconds and 100 MB of memory.
    """
    levels = _count(texts, vocabulary, order)
    is_kept = _choose(levels)
    probabilities, backoffs = _smooth(levels, is_kept, _width(vocabulary) - 1)
    parents, numbers, first = [], np.zeros(1, np.int64), 1
    for level, kept in zip(levels, is_kept, strict=True):
        parents.append(numbers[level.parents[kept]])
        numbers = first + np.cumsum(kept) - 1
        first += int(kept.sum())
    with np.errstate(divide="ignore"):  # the beginning of a line follows nothing: its probability is 0
        log_probabilities = np.log(_joined(probabilities, is_kept))
    return NGrams(
        vocabulary,
        order,
        np.concatenate(parents).astype(np.int32),
        _joined([level.characters for level in levels], is_kept).astype(np.int32),
        log_probabilities.astype(np.float32),
        np.log(_joined(backoffs, [np.ones(1, bool), *is_kept])).astype(np.float32),
    )


def _width(vocabulary: tuple[str, ...]) -> int:
    """How many numbers of characters there are; all but the last, the beginning of a line, can come next."""
    return len(vocabulary) + 3


def _joined(columns: Sequence[np.ndarray], is_kept: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([column[kept] for column, kept in zip(columns, is_kept, strict=True)])


def _encode(texts: Sequence[str], vocabulary: tuple[str, ...]) -> list[np.ndarray]:
    """The numbers of the characters of each text."""
    known = {character: number for number, character in enumerate(vocabulary)}
    return [np.array([known.get(character, len(vocabulary)) for character in text], np.int64) for text in texts]


def _count(texts: Sequence[str], vocabulary: tuple[str, ...], order: int) -> list[_Level]:
    """The n-grams of each length up to `order` that occur within a line, sorted by parent and last character."""
    width = _width(vocabulary)
    begin, end = [width - 1], [width - 2]
    lines = [np.concatenate([begin, numbers, end]) for numbers in _encode(texts, vocabulary)]
    stream = np.concatenate(lines)
    left = np.concatenate([np.arange(len(line), 0, -1) for line in lines])
    starts, nodes = np.arange(len(stream)), np.zeros(len(stream), np.int64)
    levels: list[_Level] = []
    for length in range(1, order + 1):
        fits = left[starts] >= length
        starts, nodes = starts[fits], nodes[fits]
        keys, nodes, counts = np.unique(
            nodes * width + stream[starts + length - 1], return_inverse=True, return_counts=True
        )
        if not len(keys):
            break
        parents, characters = np.divmod(keys, width)
        if levels:
            before = levels[-1]
            known = before.parents * width + before.characters
            suffixes = np.searchsorted(known, before.suffixes[parents] * width + characters)
            is_from_begin = before.is_from_begin[parents]
        else:
            suffixes, is_from_begin = np.zeros(len(keys), np.int64), characters == width - 1
        levels.append(_Level(parents, characters, suffixes, counts, is_from_begin))
    return levels


def _choose(levels: list[_Level]) -> list[np.ndarray]:
    """Which n-grams are kept: all, or of the longer ones those that occur often enough; bool for each level.

    The parent and the suffix of an n-gram occur at least as often, so they are kept too.
    """
    least = 1
    while True:
        is_kept = [
            level.counts >= (least if length > _ALWAYS_KEPT else 1) for length, level in enumerate(levels, start=1)
        ]
        if sum(int(kept.sum()) for kept in is_kept[_ALWAYS_KEPT:]) <= _MOST_NGRAMS:
            return is_kept
        least += 1


def _smooth(
    levels: list[_Level], is_kept: list[np.ndarray], num_outcomes: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The probabilities of the n-grams of each length, and the prices of asking the suffix from length 0 on.

    What is taken off the counts of what followed an n-gram, and all of the counts that are not kept, is what remains
    for its suffix to distribute. Shorter n-grams count by how many characters stand before them, not by how often.
    """
    probabilities, backoffs = [], []
    of_suffix = np.array([1 / num_outcomes])
    for length, (level, kept) in enumerate(zip(levels, is_kept, strict=True), start=1):
        counts = level.counts
        if length < len(levels):
            variety = np.bincount(levels[length].suffixes, minlength=len(counts))
            counts = np.where(level.is_from_begin, counts, variety)
        if length == 1:
            counts = np.where(level.is_from_begin, 0, counts)
        discounts = np.where(kept, _discounts(counts)[np.minimum(counts, 3)], counts)
        num_parents = len(probabilities[-1]) if probabilities else 1
        totals = np.bincount(level.parents, counts, num_parents)
        rest = np.bincount(level.parents, discounts, num_parents) / np.maximum(totals, 1)
        shares = np.where(counts > 0, counts - discounts, 0) / np.maximum(totals, 1)[level.parents]
        backoffs.append(np.where(totals > 0, rest, 1.0))
        of_suffix = shares + rest[level.parents] * of_suffix[level.suffixes]
        probabilities.append(of_suffix)
    probabilities[0][levels[0].is_from_begin] = 0
    backoffs.append(np.ones(len(probabilities[-1])))
    return probabilities, backoffs


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What is taken off a count of 0, 1, 2, and 3 or more: float64 [4]."""
    once, twice, thrice, four_times = np.bincount(counts, minlength=5)[1:5].tolist()
    estimated = _USUAL_DISCOUNTS
    if once and twice and thrice:
        share = once / (once + 2 * twice)
        estimated = 1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four_times / thrice
    in_range = all(0 < discount < number for number, discount in enumerate(estimated, start=1))
    return np.array([0, *(estimated if in_range else _USUAL_DISCOUNTS)])


def perplexity(model: LanguageModel, texts: Sequence[str]) -> float:
    """Of how many equally probable characters the model would be as unsure, at each character and end of line."""
    total, count = 0.0, 0
    for numbers in _encode(texts, model.vocabulary):
        state = model.begin
        for number in [*numbers.tolist(), model.end]:
            log_probability, state = model.step(state, number)
            total += log_probability
        count += len(numbers) + 1
    return float(np.exp(-total / count))


def to_arrays(ngrams: NGrams) -> dict[str, np.ndarray]:
    """The model as arrays by name, for a file."""
    arrays = {name: getattr(ngrams, name) for name in _ARRAYS}
    return {"vocabulary": np.array(ngrams.vocabulary), "order": np.array(ngrams.order), **arrays}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> NGrams:
    """The model of which `to_arrays` made these. Raises `KeyError` or `ValueError` for others."""
    return NGrams(tuple(arrays["vocabulary"].tolist()), int(arrays["order"]), *(arrays[name] for name in _ARRAYS))


def check_vocabulary(ngrams: NGrams, vocabulary: tuple[str, ...], path: "AnyPath") -> None:
    """Raises `InputError`, naming the model's file, if it is a model of other characters."""
    if ngrams.vocabulary != vocabulary:
        raise InputError(_other_characters(path, ngrams.vocabulary, vocabulary))


def _other_characters(path: "AnyPath", has: tuple[str, ...], needed: tuple[str, ...]) -> str:
    lacks, spare = (
        shown("".join(character for character in some if character not in others))
        for some, others in ((needed, has), (has, needed))
    )
    return (
        f"{path}: is a language model of other characters (it lacks {lacks} and has {spare} too many); "
        "fit one with the vocabulary of this run"
    )
