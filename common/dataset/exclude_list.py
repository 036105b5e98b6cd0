"""Exclude lists: examples to leave out of a dataset's train split.

A line is an example's pixel hash (see `hashing.pixel_hashes`) as 16 hexadecimal digits. After a space or a tab, a
remark for people may follow; `#` begins a comment.
"""

import re
from collections.abc import Sequence

import numpy as np

from common import storage
from common.errors import InputError

_LINE = re.compile(r"([0-9a-fA-F]{16})(?:\s.*)?")


def read(location: str) -> np.ndarray:
    """The pixel hashes of a list, uint64 [N], sorted and unique. Raises `InputError` naming file and line."""
    try:
        text = storage.read(storage.to_path(location)).decode("utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"--exclude {location}: no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"--exclude {location}: is not text in UTF-8") from None
    pixel_hashes = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.split("#")[0].strip()
        match = _LINE.fullmatch(entry)
        if match:
            pixel_hashes.append(int(match[1], 16))
        elif entry:
            raise InputError(
                f"--exclude {location}: line {number}: must begin with 16 hexadecimal digits, a pixel hash"
            )
    return np.unique(np.array(pixel_hashes, np.uint64))


def format_lines(pixel_hashes: np.ndarray, remarks: Sequence[str] | None = None) -> str:
    """The text of an exclude list: one line per pixel hash, uint64 [N], with its remark."""
    remarks = [""] * len(pixel_hashes) if remarks is None else remarks
    pairs = zip(pixel_hashes.tolist(), remarks, strict=True)
    return "".join(f"{key:016x}\t{remark}".rstrip() + "\n" for key, remark in pairs)
