"""The record schema: `tf.train.Example` messages in TFRecord framing, encoded and decoded a block at a time.

Every record of a dataset has the same layout and differs only in its pixels, its label and their checksum, so a block
of examples becomes one array of bytes without any Python per field. No TensorFlow is needed. Formats:
https://www.tensorflow.org/tutorials/load_data/tfrecord (framing) and https://protobuf.dev/programming-guides/encoding/.

An example has two features: `image`, 784 raw bytes (28×28 uint8, row-major, upright), and `label`, one int64.
"""

import struct
from functools import cache

import google_crc32c
import numpy as np

IMAGE_SIDE = 28
IMAGE_BYTES = IMAGE_SIDE * IMAGE_SIDE
MAX_CLASSES = 1 << 14  # a label takes at most two bytes of seven bits

_CRC_BYTES = 4
_FRAME_HEAD_BYTES = 12  # length (uint64) and its checksum (uint32)


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited protocol buffer field."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


@cache
def _template(label_bytes: int) -> tuple[np.ndarray, int, int]:
    """A whole framed record with zero pixels, label and checksum, and where in it the pixels and the label stand."""
    image = _field(1, b"image") + _field(2, _field(1, _field(1, bytes(IMAGE_BYTES))))
    label = _field(1, b"label") + _field(2, _field(3, _field(1, bytes(label_bytes))))
    message = _field(1, _field(1, image) + _field(1, label))
    length = struct.pack("<Q", len(message))
    record = length + struct.pack("<I", _masked_crc(length)) + message + bytes(_CRC_BYTES)
    return np.frombuffer(record, np.uint8), record.index(bytes(IMAGE_BYTES)), len(record) - _CRC_BYTES - label_bytes


def label_bytes(num_classes: int) -> int:
    """How many bytes a label takes in a dataset of `num_classes` (at most `MAX_CLASSES`) classes."""
    return 1 if num_classes <= 1 << 7 else 2


def record_bytes(num_classes: int) -> int:
    """The length of every framed record in a dataset of `num_classes` classes: records can be reached by number."""
    return len(_template(label_bytes(num_classes))[0])


def encode(images: np.ndarray, labels: np.ndarray, num_classes: int) -> bytes:
    """The TFRecord bytes of a block of examples: `images` uint8 [N, 28, 28] or [N, 784], `labels` integers [N]."""
    width = label_bytes(num_classes)
    template, image_at, label_at = _template(width)
    block = np.tile(template, (len(images), 1))
    block[:, image_at : image_at + IMAGE_BYTES] = images.reshape(-1, IMAGE_BYTES)
    block[:, label_at] = labels & 0x7F
    if width == 2:  # two bytes for every label, so that all records are equally long; a reader takes either form
        block[:, label_at] |= 0x80
        block[:, label_at + 1] = labels >> 7
    contents = np.ascontiguousarray(block[:, _FRAME_HEAD_BYTES:-_CRC_BYTES])
    crcs = np.fromiter(map(google_crc32c.value, contents), np.uint32, len(contents))
    masked = ((crcs >> 15) | (crcs << 17)) + np.uint32(0xA282EAD8)
    block[:, -_CRC_BYTES:] = masked.astype("<u4").view(np.uint8).reshape(-1, _CRC_BYTES)
    return block.tobytes()


def decode(data: bytes | np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """What `encode` was given, from its bytes: images uint8 [N, 28, 28] and labels int64 [N]. Checksums are trusted."""
    width = label_bytes(num_classes)
    template, image_at, label_at = _template(width)
    block = np.frombuffer(data, np.uint8).reshape(-1, len(template))
    images = block[:, image_at : image_at + IMAGE_BYTES].reshape(-1, IMAGE_SIDE, IMAGE_SIDE)
    labels = (block[:, label_at] & 0x7F).astype(np.int64)
    if width == 2:
        labels |= block[:, label_at + 1].astype(np.int64) << 7
    return images, labels
