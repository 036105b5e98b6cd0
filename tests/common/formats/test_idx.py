"""The IDX codec: round trips, and errors that name a bad file."""

import gzip
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from common.formats import idx


def read(content: bytes, block_rows: int = 7) -> np.ndarray:
    with idx.open_stream(io.BytesIO(content), "file.gz") as stream:
        header = idx.read_header(stream, "file.gz")
        blocks = list(idx.read_blocks(stream, header, block_rows, "file.gz"))
    return np.concatenate(blocks) if blocks else np.empty(header.shape, header.dtype)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5,), (20, 3), (3, 4, 5), (2, 3, 1, 2)])
def test_reads_what_it_wrote_in_every_type_and_shape(dtype, shape):
    array = (np.arange(np.prod(shape)) - 3).astype(dtype).reshape(shape)
    for content in (idx.write(array), gzip.compress(idx.write(array))):
        result = read(content)
        assert result.dtype.newbyteorder("=") == array.dtype
        np.testing.assert_array_equal(result, array)


def test_the_header_is_that_of_the_published_files():
    assert idx.write(np.zeros((2, 28, 28), np.uint8))[:16] == bytes.fromhex("00000803 00000002 0000001c 0000001c")
    assert idx.write(np.zeros(3, np.uint8))[:8] == bytes.fromhex("00000801 00000003")


def test_blocks_hold_no_more_than_was_asked_for():
    array = np.arange(20, dtype=np.uint8).reshape(10, 2)
    stream = io.BytesIO(idx.write(array))
    header = idx.read_header(stream, "file")
    assert [len(block) for block in idx.read_blocks(stream, header, 4, "file")] == [4, 4, 2]


def test_a_header_may_claim_what_it_likes_without_costing_memory_or_time():
    huge = b"\0\0\x08\x03" + b"\xff\xff\xff\xff" * 3 + b"some bytes"
    with pytest.raises(InputError, match="data ends after 0 rows"):
        read(huge)
    assert read(b"\0\0\x08\x03" + b"\xff\xff\xff\xff" + bytes(8)).size == 0


IMAGES = idx.write(np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (gzip.compress(IMAGES, mtime=0)[:-20], "truncated"),
        (gzip.compress(IMAGES, mtime=0)[:20], "truncated"),
        (gzip.compress(IMAGES, mtime=0)[:-8] + bytes(8), "damaged"),
        (gzip.compress(b"\0\0\x08\x07", mtime=0), "ends inside its header"),
        (gzip.compress(b"\0\0\x99\x03" + IMAGES[4:], mtime=0), "wrong magic number 00 00 99 03"),
        (gzip.compress(b"PK\x03\x04" + IMAGES, mtime=0), "wrong magic number 50 4b 03 04"),
        (b"PK\x03\x04" + IMAGES, "neither gzip nor IDX"),
        (gzip.compress(IMAGES[:-1], mtime=0), "data ends after 2 rows"),
        (IMAGES + b"\0", "more bytes follow"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "HTML"),
        (b"\n  <html>", "HTML"),
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "wrong magic number"),
    ],
)
def test_bad_input_is_named(content, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        read(content)
    assert str(caught.value).startswith("file.gz: ")


@given(st.data())
def test_a_damaged_file_gives_a_clean_error_or_the_array_that_its_bytes_say(data):
    content = bytearray(data.draw(st.sampled_from([IMAGES, gzip.compress(IMAGES, mtime=0)])))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        result = read(content)
    except InputError:
        return
    unpacked = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    assert idx.write(result.astype(result.dtype.newbyteorder("="))) == unpacked
