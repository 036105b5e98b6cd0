"""Stable example keys: what alone decides the shard of an example, its place there, and whether it is validation.

The key of an example from an IDX file is (source id, official split, index in the file). A key is hashed to 64 bits by
a bijection of the index, so that two examples of one file never collide, any range of a file can be hashed without the
rest, and neither the runner nor the number of workers matters. (Python's own `hash` differs from process to process.)
"""

import hashlib

import numpy as np

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def hashes(seed: int, purpose: str, source_id: str, split: str, start: int, stop: int) -> np.ndarray:
    """The hashes, uint64 [stop - start], of the keys (source_id, split, start) … (source_id, split, stop - 1).

    `purpose` separates uses of the same keys: the order of examples must not decide what becomes validation.
    The mixing is SplitMix64's (Steele et al., Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
    """
    salt = hashlib.sha256(f"{seed}/{purpose}/{source_id}/{split}".encode()).digest()
    state = np.arange(start, stop, dtype=np.uint64) * _GOLDEN_GAMMA + np.uint64(int.from_bytes(salt[:8], "big"))
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def selected(key_hashes: np.ndarray, fraction: float) -> np.ndarray:
    """Which keys, bool of the same shape, belong to a subset that holds about `fraction` (0 to 1) of all keys."""
    return (key_hashes >> np.uint64(11)) < np.uint64(fraction * 2**53)


def shards(key_hashes: np.ndarray, num_shards: int) -> np.ndarray:
    """The shard, uint64 in [0, num_shards), of each key. Grows with the hash: sorted keys fill shard after shard."""
    return ((key_hashes >> np.uint64(32)) * np.uint64(num_shards)) >> np.uint64(32)
