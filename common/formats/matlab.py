"""EMNIST's MATLAB files, `emnist-<split>.mat`: the same characters as the IDX files, in one file.

The file holds a struct `dataset` with `train` and `test`, each with `images` (uint8 [N, 784], column-major, so that a
row reads like an image of the IDX file) and `labels` ([N, 1]), and with `mapping` ([C, 2 or 3]: label, code points).
`scipy.io.loadmat` cannot stream: reading any part loads the whole file into memory.
"""

from functools import lru_cache

import numpy as np

from common.errors import InputError
from common.formats import archive

_SIDE = 28


def read(location: str) -> dict:
    """Reads `train` and `test`: (images uint8 [N, 28, 28], labels uint16 [N]), and `mapping`: int [C, 2 or 3].

    The last file stays in memory, since its arrays are asked for one by one.
    """
    return _read(location, archive.version_of(location))


@lru_cache(maxsize=1)
def _read(location: str, _version: tuple[int, float]) -> dict:
    from scipy.io import loadmat

    with archive.open_file(location) as file:
        start = file.read(128)
        if start.lstrip()[:1] == b"<":
            raise InputError(f"{location}: is an HTML or XML page, not a MATLAB file")
        file.seek(0)
        try:
            dataset = loadmat(file, variable_names=["dataset"])["dataset"][0, 0]
            content = {"mapping": np.asarray(dataset["mapping"], np.int64)}
            for split in ("train", "test"):
                part = dataset[split][0, 0]
                content[split] = part["images"], part["labels"]
        except Exception as error:  # damaged bytes make loadmat raise anything: KeyError, zlib.error, …
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{location}: is not a MATLAB file of EMNIST, or is damaged ({reason})") from None
    if content["mapping"].ndim != 2 or content["mapping"].shape[1] < 2:
        raise InputError(f"{location}: mapping has shape {content['mapping'].shape}; expected [C, 2] or [C, 3]")
    for split in ("train", "test"):
        images, labels = content[split]
        if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != _SIDE**2 or not len(images):
            raise InputError(f"{location}: {split} images are {images.dtype} {images.shape}; expected uint8 [N, 784]")
        if labels.size != len(images) or not np.issubdtype(labels.dtype, np.number):
            raise InputError(f"{location}: {len(images)} {split} images, but {labels.size} labels")
        whole = labels.reshape(-1).astype(np.uint16)
        if not np.array_equal(whole, labels.reshape(-1)):
            raise InputError(f"{location}: {split} labels are not all whole numbers from 0")
        content[split] = images.reshape(-1, _SIDE, _SIDE), whole
    return content
