"""Which readings people look at: the least sure, and a random tenth besides, so that sure mistakes can be estimated."""

import math

import numpy as np

RANDOM, LEAST_SURE, DUPLICATE = "random", "least-sure", "duplicate-of"
"""How a reading was drawn."""
FEWEST_RANDOM = 50
"""Of which something can be said."""
_RANDOM_SHARE = 0.1
_AT_ONCE = 512


def choose(
    confidence: np.ndarray, below: float | None, most: int, sample: float | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places of the readings to look at, int64 [M], in order; whether each is a random one; its weight.

    `sample`: this share of all, at random. Else the readings whose confidence is `below`, or as many as make `most`
    with the random ones; these are evenly spread between the others, which come by confidence. Random readings are
    drawn evenly from all. A weight is one over the probability of having been drawn in either way: 1 for those that
    are less sure than the limit, for the others the number of all over that of the random ones. If all are shown, that
    is a random draw, too.
    """
    count = len(confidence)
    shuffled = np.random.default_rng(seed).permutation(count)
    by_confidence = np.argsort(confidence, kind="stable")
    if below is not None:
        num_doubtful = int(np.count_nonzero(confidence < below))
        num_random = max(FEWEST_RANDOM, math.ceil(num_doubtful * _RANDOM_SHARE / (1 - _RANDOM_SHARE)))
    else:
        num_random = math.ceil(most * _RANDOM_SHARE)
        num_doubtful = most - num_random
    if sample is not None or count <= (num_random if below is not None else most):
        drawn = shuffled[: max(1, round(sample * count)) if sample is not None else count]
        drawn = drawn[np.argsort(confidence[drawn], kind="stable")]
        return drawn, np.ones(len(drawn), bool), np.full(len(drawn), count / len(drawn))
    is_doubtful, is_random = np.zeros(count, bool), np.zeros(count, bool)
    drawn = shuffled[:num_random]
    is_random[drawn] = True
    is_doubtful[by_confidence[:num_doubtful]] = True
    if below is None:  # what was drawn in both ways leaves room for others
        spare = iter(by_confidence[num_doubtful:])
        missing = most - int(np.count_nonzero(is_doubtful | is_random))
        while missing > 0:
            place = next(spare)
            missing -= not is_random[place]
            is_doubtful[place] = True
    others = by_confidence[is_doubtful[by_confidence] & ~is_random[by_confidence]]
    ranks = np.concatenate([np.arange(len(others)) + 0.5, (np.arange(len(drawn)) + 1) * len(others) / len(drawn)])
    places = np.concatenate([others, drawn])[np.argsort(ranks, kind="stable")]
    return places, is_random[places], np.where(is_doubtful[places], 1.0, count / max(1, len(drawn)))


def duplicates(pictures: np.ndarray, least: float = 0.99) -> np.ndarray:
    """For each of `pictures`, float32 [N, P], the first one that it nearly repeats: the place, int64 [N], or its own.

    Two are nearly the same if their pixels correlate by `least`. A picture of one colour repeats none.
    """
    centred = pictures - pictures.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    centred = centred / np.maximum(norms, 1e-6)
    first = np.arange(len(pictures))
    for start in range(0, len(pictures), _AT_ONCE):
        alike = centred[start : start + _AT_ONCE] @ centred.T >= least
        for place, row in enumerate(alike, start):
            if first[place] == place:
                repeated = np.flatnonzero(row)
                repeated = repeated[repeated > place]
                first[repeated[first[repeated] == repeated]] = place
    return first
