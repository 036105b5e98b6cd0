"""NumPy's files of one array, `.npy`, and of several, `.npz`: read in blocks, and never unpickled."""

from collections.abc import Iterator
from tokenize import TokenError
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from common.errors import InputError
from common.formats import idx
from common.formats.idx import Header

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_header(stream: BinaryIO, name: str) -> tuple[Header, bool]:
    """The header, and whether the first axis varies fastest (as in Fortran). Leaves `stream` at the first element.

    Raises `InputError` for a damaged header and for arrays of Python objects, which are pickles.
    """
    try:
        version = npy.read_magic(stream)
        shape, is_fortran, dtype = _READERS[version](stream)
        if dtype.shape:
            raise ValueError(f"its elements are arrays, {dtype}")
    except (ValueError, KeyError, EOFError, SyntaxError, TypeError, RecursionError, TokenError) as error:
        raise InputError(f"{name}: is a damaged .npy file ({' '.join(str(error).split())[:200]})") from None
    if dtype.hasobject:
        raise InputError(f"{name}: holds Python objects, which would be unpickled; save plain numbers")
    return Header(dtype, shape), is_fortran


def read_blocks(stream: BinaryIO, header: Header, is_fortran: bool, block_rows: int, name: str) -> Iterator[np.ndarray]:
    """The elements after the header, as arrays of at most `block_rows` entries along the first axis.

    Raises `InputError` if fewer or more bytes follow than the header announces. An array in Fortran's order has to be
    held as a whole.
    """
    if not is_fortran:
        yield from idx.read_blocks(stream, header, block_rows, name)
        return
    turned = Header(header.dtype, header.shape[::-1])
    pieces = [*idx.read_blocks(stream, turned, turned.shape[0], name), np.empty((0, *turned.shape[1:]), header.dtype)]
    whole = np.concatenate(pieces).T
    for start in range(0, len(whole), block_rows):
        yield whole[start : start + block_rows]
