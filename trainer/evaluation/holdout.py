"""The half of the test split that decides whether a model replaces another, and pixel hashes that identify examples.

An example is identified by its pixels, whatever file it came from. So it is in the same half in every week's data, and
is recognised if a source moves it to another split or holds it twice, or if a model has seen it in training. Examples
of a group, such as a writer, are alike, so groups are divided as a whole, by their names.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from common.dataset import hashing
from trainer.data.examples import Examples

_PURPOSE = "gate"
_GATE_FRACTION = 0.5
_BYTES_AT_ONCE = (1 << 14) * 784


def pixel_hashes(examples: Examples) -> np.ndarray:
    """The hashes, uint64 [N], of the pixels of all examples, in their order (see `hashing.content_hashes`)."""
    hashes = np.empty(examples.num_examples, np.uint64)
    at_once = examples.schema.examples_in(_BYTES_AT_ONCE, at_least=16)
    for start in range(0, examples.num_examples, at_once):
        numbers = np.arange(start, min(start + at_once, examples.num_examples))
        examples.expect(lambda first, last: np.arange(first, min(last, examples.num_examples)), start)
        hashes[numbers] = hashing.content_hashes(examples.take(numbers), examples.schema)
    return hashes


def trained_on(splits: Iterable[Examples]) -> np.ndarray:
    """The pixel hashes, uint64 [N], sorted, of all examples of these splits: what a model trained on them has seen."""
    return np.unique(np.concatenate([pixel_hashes(examples) for examples in splits]))


def decide(content_hashes: np.ndarray) -> np.ndarray:
    """A mask, bool [N], of the test examples that decide on a model; the other half is for reporting only.

    The rule must never change: another one would mix the examples that earlier models were chosen by with the others.
    """
    return hashing.selected(hashing.hashes(0, _PURPOSE, "", content_hashes), _GATE_FRACTION)


def decide_by_group(names: Sequence[str]) -> np.ndarray:
    """Like `decide`, from the name of each example's group: all examples of a group are on the same side."""
    unique, numbers = np.unique(np.asarray(names, str), return_inverse=True)
    digests = [hashlib.sha256(name.encode()).digest()[:8] for name in unique.tolist()]
    return decide(np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64))[numbers]
