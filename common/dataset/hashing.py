"""Stable example keys: what alone decides the shard of an example, its place there, and whether it is validation.

A key is a namespace and an identity, a number of 64 bits that is unique in it. For files in an official layout these
are the source and split, and the index in the file; for pictures the source, and a hash of the picture's bytes, so that
adding one moves no other. A key is hashed to 64 bits by a bijection of the identity, so two examples of a namespace
never collide, any of them can be hashed without the rest, and neither the runner nor the number of workers matters.
(Python's own `hash` differs from process to process.)
"""

import hashlib

import numpy as np

_ROWS_AT_ONCE = 512  # few enough for a processor's cache
_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def hashes(seed: int, purpose: str, namespace: str, example_ids: np.ndarray) -> np.ndarray:
    """The hashes, uint64 [N], of the keys of `example_ids`, uint64 [N], in `namespace`.

    `purpose` separates uses of the same keys: the order of examples must not decide what becomes validation.
    The mixing is SplitMix64's (Steele et al., Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
    """
    salt = hashlib.sha256(f"{seed}/{purpose}/{namespace}".encode()).digest()
    return _mix(example_ids * _GOLDEN_GAMMA + np.uint64(int.from_bytes(salt[:8], "big")))


def selected(key_hashes: np.ndarray, fraction: float) -> np.ndarray:
    """Which keys, bool of the same shape, belong to a subset that holds about `fraction` (0 to 1) of all keys."""
    return (key_hashes >> np.uint64(11)) < np.uint64(fraction * 2**53)


def shards(key_hashes: np.ndarray, num_shards: int) -> np.ndarray:
    """The shard, uint64 in [0, num_shards), of each key. Grows with the hash: sorted keys fill shard after shard."""
    return ((key_hashes >> np.uint64(32)) * np.uint64(num_shards)) >> np.uint64(32)


def pixel_hashes(images: np.ndarray) -> np.ndarray:
    """Hashes of the pixels, uint64 [N], of images uint8 [N, …]: equal images, equal hashes.

    A multilinear hash: the sum of 32-bit words times fixed random 64-bit numbers (Lemire, Kaser, "Strongly universal
    string hashing is fast", 2014). Two different images collide with a chance below 2⁻³², commonly far below.
    """
    pixels = np.ascontiguousarray(images).reshape(len(images), -1)
    if missing := -pixels.shape[1] % 4:  # of the last word; zeros change no hash
        pixels = np.pad(pixels, ((0, 0), (0, missing)))
    words = pixels.view("<u4")
    multipliers = _mix(np.arange(1, words.shape[1] + 1, dtype=np.uint64) * _GOLDEN_GAMMA)
    hashed = np.empty(len(words), np.uint64)
    for start in range(0, len(words), _ROWS_AT_ONCE):
        rows = words[start : start + _ROWS_AT_ONCE].astype(np.uint64)
        hashed[start : start + _ROWS_AT_ONCE] = np.einsum("ij,j->i", rows, multipliers)
    return hashed


def _mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer, a bijection of 64-bit numbers."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
