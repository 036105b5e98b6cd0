"""Checksums of bytes and files."""

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import google_crc32c

if TYPE_CHECKING:
    from cloudpathlib import GSPath


def crc32c(content: bytes) -> str:
    """The CRC32C in a bucket's notation: base64 of the four bytes, big-endian."""
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


def sha256_of(path: "Path | GSPath") -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
