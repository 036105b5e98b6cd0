"""Hashes of example keys, which alone decide an example's shard, its position there, and whether it is validation.

A key is a namespace and an example id: a 64-bit number, unique in the namespace. For files in an official layout, the
namespace is the source and split, and the id is the index in the file. For pictures, the namespace is the source, and
the id is a hash of the picture's bytes, so that adding a picture moves no other.

Hashing maps ids to 64 bits by a bijection. So two examples of a namespace never collide, any example can be hashed
without the others, and neither the runner nor the number of workers matters. (Python's `hash` differs between
processes.)
"""

import hashlib

import numpy as np

from common.dataset.schema import IMAGE, Batch, Schema

_ROWS_AT_ONCE = 512  # fits into a processor's cache
_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def hashes(seed: int, purpose: str, namespace: str, example_ids: np.ndarray) -> np.ndarray:
    """The hashes, uint64 [N], of the keys of `example_ids`, uint64 [N], in `namespace`.

    `purpose` separates uses of the same keys: the order of examples must not decide what becomes validation.
    The mixing is SplitMix64's (Steele et al., Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
    """
    salt = hashlib.sha256(f"{seed}/{purpose}/{namespace}".encode()).digest()
    return _mix(example_ids * _GOLDEN_GAMMA + np.uint64(int.from_bytes(salt[:8], "big")))


def selected(key_hashes: np.ndarray, fraction: float) -> np.ndarray:
    """A mask, bool of the same shape, that selects about `fraction` (0 to 1) of all keys."""
    return (key_hashes >> np.uint64(11)) < np.uint64(fraction * 2**53)


def shards(key_hashes: np.ndarray, num_shards: int) -> np.ndarray:
    """The shard of each key, uint64 in [0, num_shards); monotonic, so sorted keys fill shard after shard."""
    return ((key_hashes >> np.uint64(32)) * np.uint64(num_shards)) >> np.uint64(32)


def content_hashes(examples: Batch, schema: Schema) -> np.ndarray:
    """Pixel hashes, uint64 [N], of the images of `examples`; of lines column by column, on a canvas of any width."""
    images = examples[IMAGE]
    # Columns of background to the right are the last pixels then, and zeros do not change the hash.
    return pixel_hashes(images.transpose(0, 2, 1, 3) if schema.has_width else images)


def pixel_hashes(images: np.ndarray) -> np.ndarray:
    """Pixel hashes, uint64 [N], of images uint8 [N, …]. Equal images have equal hashes.

    A multilinear hash: the sum of 32-bit words times fixed random 64-bit numbers (Lemire, Kaser, "Strongly universal
    string hashing is fast", 2014). Two different images collide with a probability below 2⁻³², usually far below.
    """
    pixels = np.ascontiguousarray(images).reshape(len(images), -1)
    if missing := -pixels.shape[1] % 4:  # bytes of the last word; zeros do not change the hash
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
