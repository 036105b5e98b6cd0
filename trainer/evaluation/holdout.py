"""Which test examples decide whether a model replaces another, and which a model has seen while it was made.

An example is known by its pixels, whatever file and place it came from: so it is on the same side in the data of every
week, and is found again where a source has moved it from one split to another, or holds it twice.
"""

import numpy as np

from common.dataset import hashing
from common.dataset.schema import IMAGE
from trainer.data.examples import Examples

_PURPOSE = "gate"
_GATE_FRACTION = 0.5
_BYTES_AT_ONCE = (1 << 14) * 784


def pixel_hashes(examples: Examples) -> np.ndarray:
    """The hashes, uint64 [N], of the pixels of all examples, in their order (see `hashing.pixel_hashes`)."""
    hashes = np.empty(examples.num_examples, np.uint64)
    at_once = examples.schema.examples_in(_BYTES_AT_ONCE, at_least=16)
    for start in range(0, examples.num_examples, at_once):
        numbers = np.arange(start, min(start + at_once, examples.num_examples))
        hashes[numbers] = hashing.pixel_hashes(examples.take(numbers)[IMAGE])
    return hashes


def decide(content_hashes: np.ndarray) -> np.ndarray:
    """Which test examples, bool [N], decide on a model; the other half is for reporting and decides nothing.

    For ever: another rule would let examples decide that earlier models were chosen by.
    """
    return hashing.selected(hashing.hashes(0, _PURPOSE, "", content_hashes), _GATE_FRACTION)
