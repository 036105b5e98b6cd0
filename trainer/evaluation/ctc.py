"""Decoding of a network that was trained with CTC: from the outputs of each step to the text of a line.

Such a network gives at each step, from left to right, the probability of each character and of no character, called
blank (Graves et al., "Connectionist temporal classification", 2006). What is read are the characters along a path of
steps, each run of one output once, without blanks. So a doubled letter is read only if a blank stands between.

Of each step only the K most probable outputs are needed: their numbers `classes`, int [T, K], and their
`log_probabilities`, float [T, K], in nats, the best first. Only the first `steps` of T belong to the line. Characters
are numbered from 0; `blank` is the number after the last of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rapidfuzz.distance import Levenshtein

from trainer.evaluation.language_model import LanguageModel

LEAST_PROBABILITY = 1e-3
"""Less probable outputs of a step are not followed by the beam search, except for the best."""
DEFAULT_WIDTH = 16
_ALTERNATIVES = 3
_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
_BONUSES = (0.0, 0.5, 1.0)
_MOST_LINES = 200


@dataclass(frozen=True)
class Reading:
    """What is read of a line with L characters; all arrays have one entry for each."""

    characters: np.ndarray
    """int64 [L]."""
    probabilities: np.ndarray
    """float64 [L], before calibration: the highest among the steps of the character."""
    first: np.ndarray
    """int64 [L]: the first of its steps."""
    last: np.ndarray
    """int64 [L]: the last of its steps."""

    @property
    def log_confidence(self) -> float:
        """The mean log probability of a character, in nats; -inf if nothing is read."""
        return float(np.log(self.probabilities).mean()) if len(self.probabilities) else -math.inf


@dataclass(frozen=True)
class Fusion:
    """How much a language model counts beside the network ("shallow fusion")."""

    weight: float = 0.0
    """What its log probabilities are multiplied by."""
    bonus: float = 0.0
    """Nats for each character: a model likes short texts."""


NO_FUSION = Fusion()


@dataclass(frozen=True)
class Hypothesis:
    """One of the texts that a beam search is left with."""

    characters: tuple[int, ...]
    log_probability: float
    """By the network alone, summed over the paths that were followed, in nats."""
    score: float
    """What it is ranked by: with language model and bonus, in nats."""
    probability: float
    """By the scores, among all texts that the search is left with."""


def best_path(classes: np.ndarray, log_probabilities: np.ndarray, steps: int, blank: int) -> Reading:
    """Reads the most probable output of each step: fast, and nearly always the most probable text."""
    best, scores = classes[:steps, 0].astype(np.int64), log_probabilities[:steps, 0]
    return _read_path(best, scores, blank)


def _read_path(path: np.ndarray, scores: np.ndarray, blank: int) -> Reading:
    """The reading of outputs, int64 [T], with their log probabilities, float [T]."""
    if not len(path):
        return Reading(path, np.empty(0), path, path)
    first = np.flatnonzero(np.append(True, path[1:] != path[:-1]))
    last = np.append(first[1:], len(path)) - 1
    highest = np.exp(np.maximum.reduceat(scores.astype(np.float64), first))
    is_character = path[first] != blank
    return Reading(path[first][is_character], highest[is_character], first[is_character], last[is_character])


def beam_search(
    classes: np.ndarray,
    log_probabilities: np.ndarray,
    steps: int,
    blank: int,
    model: LanguageModel | None = None,
    fusion: Fusion = NO_FUSION,
    width: int = DEFAULT_WIDTH,
) -> list[Hypothesis]:
    """Searches the most probable texts: up to four, the best first.

    Prefix beam search (Hannun et al., "First-pass large vocabulary continuous speech recognition", 2014): at each step
    the `width` best beginnings of the text are kept, each with the probability of all paths that spell it, those that
    end in a blank apart from those that end in its last character. With a language model, whose vocabulary must be the
    characters in their order, the end of the line counts as a character, too.
    """
    search = _Search(blank, model, fusion, width)
    for outputs in _probable(classes[:steps], log_probabilities[:steps]):
        search.advance(outputs)
    return search.hypotheses()


def _probable(classes: np.ndarray, log_probabilities: np.ndarray) -> list[list[tuple[int, float]]]:
    """The outputs that are followed at each step, with their probabilities."""
    probabilities = np.exp(log_probabilities.astype(np.float64))
    counts = np.maximum((probabilities >= LEAST_PROBABILITY).sum(axis=1), 1)
    rows = zip(classes.tolist(), probabilities.tolist(), counts.tolist(), strict=True)
    return [list(zip(numbers[:count], chances[:count], strict=True)) for numbers, chances, count in rows]


class _Search:
    """The state of a beam search. Beginnings of the text are nodes of a tree, numbered in the order they are met in."""

    def __init__(self, blank: int, model: LanguageModel | None, fusion: Fusion, width: int):
        self._blank, self._model, self._fusion, self._width = blank, model, fusion, width
        self._children: dict[int, int] = {}
        self._parents, self._lasts = [0], [blank]
        self._states, self._bonuses = [model.begin if model else 0], [0.0]
        # Of each node that is kept, the probability of its paths that end in a blank, and in its last character;
        # relative to e to the power of `_scale`, so that they stay in the range of a float.
        self._beam: dict[int, tuple[float, float]] = {0: (1.0, 0.0)}
        self._scale = 0.0

    def advance(self, outputs: list[tuple[int, float]]) -> None:
        """Goes one step along the line, by the outputs that are followed and their probabilities."""
        in_blank: dict[int, float] = {}
        in_last: dict[int, float] = {}
        children, blank, size = self._children, self._blank, self._blank + 1
        for node, (of_blank, of_last) in self._beam.items():
            of_both, last = of_blank + of_last, self._lasts[node]
            for output, probability in outputs:
                if output == blank:
                    in_blank[node] = of_both * probability
                    continue
                chance = of_both
                if output == last:
                    in_last[node] = in_last.get(node, 0.0) + of_last * probability
                    chance = of_blank
                if chance:
                    child = children.get(node * size + output) or self._add(node, output)
                    in_last[child] = in_last.get(child, 0.0) + chance * probability
        self._prune(in_blank, in_last)

    def _add(self, node: int, output: int) -> int:
        child = self._children[node * (self._blank + 1) + output] = len(self._lasts)
        bonus, state = self._bonuses[node] + self._fusion.bonus, 0
        if self._model:
            log_probability, state = self._model.step(self._states[node], output)
            bonus += self._fusion.weight * log_probability
        self._parents.append(node)
        self._lasts.append(output)
        self._bonuses.append(bonus)
        self._states.append(state)
        return child

    def _prune(self, in_blank: dict[int, float], in_last: dict[int, float]) -> None:
        totals = in_blank.copy()
        for node, chance in in_last.items():
            totals[node] = totals.get(node, 0.0) + chance
        if len(totals) > self._width:
            bonuses, log = self._bonuses, math.log
            scores = {node: log(total) + bonuses[node] for node, total in totals.items() if total}
            kept = sorted(scores, key=scores.__getitem__, reverse=True)[: self._width]
        else:
            kept = list(totals)
        highest = max(totals[node] for node in kept)
        self._scale += math.log(highest)
        self._beam = {node: (in_blank.get(node, 0.0) / highest, in_last.get(node, 0.0) / highest) for node in kept}

    def hypotheses(self) -> list[Hypothesis]:
        found = []
        for node, chances in self._beam.items():
            if any(chances):
                log_probability = self._scale + math.log(sum(chances))
                found.append((log_probability + self._bonuses[node] + self._end(node), log_probability, node))
        found.sort(key=lambda entry: -entry[0])
        best = found[0][0]
        total = sum(math.exp(score - best) for score, _, _ in found)
        return [
            Hypothesis(self._spell(node), log_probability, score, math.exp(score - best) / total)
            for score, log_probability, node in found[: 1 + _ALTERNATIVES]
        ]

    def _end(self, node: int) -> float:
        if not self._model:
            return 0.0
        return self._fusion.weight * self._model.step(self._states[node], self._model.end)[0]

    def _spell(self, node: int) -> tuple[int, ...]:
        characters = []
        while node:
            characters.append(self._lasts[node])
            node = self._parents[node]
        return tuple(reversed(characters))


def align(
    characters: Sequence[int], classes: np.ndarray, log_probabilities: np.ndarray, steps: int, blank: int
) -> Reading | None:
    """The reading of given characters, such as a beam search's: by the most probable path that spells them.

    None if no path among the outputs that are given spells them.
    """
    spelt = np.full(2 * len(characters) + 1, blank, np.int64)
    spelt[1::2] = characters
    # A blank may be left out only between two characters that differ.
    may_skip = np.append([False, False], (spelt[2:] != blank) & (spelt[2:] != spelt[:-2]))[: len(spelt)]
    given = log_probabilities[:steps, None].astype(np.float64)
    scores = np.where(classes[:steps, None] == spelt[:, None], given, -np.inf).max(axis=2)
    best = np.where(np.arange(len(spelt)) == 0, 0.0, -np.inf)
    moves = np.empty(scores.shape, np.int64)
    for step in range(steps):
        came_from = np.full((3, len(spelt)), -np.inf)
        came_from[0] = best
        came_from[1, 1:] = best[:-1]
        came_from[2, 2:] = np.where(may_skip[2:], best[:-2], -np.inf)
        moves[step] = came_from.argmax(axis=0)
        best = came_from.max(axis=0) + scores[step]
    place = max(range(max(len(spelt) - 2, 0), len(spelt)), key=lambda end: best[end])
    if best[place] == -np.inf:
        return None
    places = np.empty(steps, np.int64)
    for step in reversed(range(steps)):
        places[step] = place
        place -= moves[step, place]
    # By their places, so that a character is told from the same one after it.
    of_places = _read_path(np.where(places % 2, places // 2, -1), scores[np.arange(steps), places], blank=-1)
    return replace(of_places, characters=np.asarray(characters, np.int64)[of_places.characters])


def choose_fusion(
    classes: Sequence[np.ndarray],
    log_probabilities: Sequence[np.ndarray],
    steps: Sequence[int],
    truths: Sequence[str],
    model: LanguageModel,
    width: int = DEFAULT_WIDTH,
) -> Fusion:
    """The weight and the bonus with which the fewest characters of some lines are wrong; they should be validation's.

    Of at most 200 of the N lines, evenly spread, with the outputs of each. Among equals the smallest weight is chosen,
    then the smallest bonus; so where the model does not help, its weight is 0.
    """
    blank = len(model.vocabulary)
    chosen = np.unique(np.linspace(0, len(truths) - 1, _MOST_LINES).astype(int))

    def count_errors(fusion: Fusion) -> int:
        errors = 0
        for line in chosen:
            best = beam_search(classes[line], log_probabilities[line], steps[line], blank, model, fusion, width)[0]
            text = "".join(model.vocabulary[number] for number in best.characters)
            errors += Levenshtein.distance(truths[line], text)
        return errors

    grid = [NO_FUSION, *(Fusion(weight, bonus) for weight in _WEIGHTS for bonus in _BONUSES)]
    return min(grid, key=count_errors)
