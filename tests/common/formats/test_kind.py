"""The kind of a file, by its first bytes."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from common.formats import idx, kind


def packed(save) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def zipped(buffer: io.BytesIO) -> None:
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("A/1.png", b"content")


def tarred(buffer: io.BytesIO, form: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("A/1.png"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("zip", packed(zipped)),
        ("zip", packed(lambda buffer: zipfile.ZipFile(buffer, "w").close())),
        ("zip", packed(lambda buffer: np.savez(buffer, x=np.zeros(3)))),
        ("npy", packed(lambda buffer: np.save(buffer, np.zeros(3)))),
        ("tar", packed(tarred)),
        ("gzip", gzip.compress(packed(tarred), mtime=0)),
        ("bzip2", bz2.compress(b"")),
        ("xz", lzma.compress(b"")),
        ("idx", idx.write(np.zeros((2, 28, 28), np.uint8))),
        ("pickle", pickle.dumps([1])),
        ("html", b"\xef\xbb\xbf\n<!DOCTYPE html>"),
        ("xml", b"<?xml version='1.0'?>"),
        ("empty", b""),
        ("", b"label,pixel0,pixel1"),
        ("", bytes(512)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_is_known_by_how_it_begins(name, content):
    assert kind.of(content[: kind.HEAD_BYTES]) == name


def test_a_tar_without_its_mark_is_known_by_its_checksum():
    content = bytearray(packed(lambda buffer: tarred(buffer, tarfile.USTAR_FORMAT)))
    content[257:265] = bytes(8)
    content[148:156] = b"        "
    content[148:156] = b"%06o\0 " % sum(content[:512])
    assert kind.of(bytes(content)) == "tar"
    content[0] += 1
    assert kind.of(bytes(content)) == ""


def test_what_is_not_read_has_a_cause_that_says_what_to_do():
    assert kind.cause(kind.of(b"Rar!\x1a\7\1\0")) == "is a RAR archive; unpack it"
    assert kind.cause("npy") == "is of the kind npy, which is not read here"
