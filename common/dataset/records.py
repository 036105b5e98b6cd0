"""The records of a dataset: `tf.train.Example` messages in TFRecord framing, encoded and decoded a block at a time.

Every record of a dataset has the same layout, which follows from its schema, and differs only in its values and their
checksum, so a block of examples becomes one array of bytes without any Python per field. No TensorFlow is needed.
Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord (framing) and
https://protobuf.dev/programming-guides/encoding/.

A uint8 feature is one byte string, row-major. An int64 feature is a list of numbers, each of as many bytes as the
feature's bound needs.
"""

import struct
from dataclasses import dataclass
from functools import cache

import google_crc32c
import numpy as np

from common.dataset.schema import MAX_BOUND, Batch, Feature, Schema

_CRC_BYTES = 4
_FRAME_HEAD_BYTES = 12  # length (uint64) and its checksum (uint32)
_BITS_OF_A_BYTE = 7  # of a varint; the eighth bit says that another byte follows


@dataclass(frozen=True)
class _Layout:
    """A framed record of zeros, without its checksum, and the offset of each feature's values in it."""

    template: np.ndarray
    places: tuple[int, ...]


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


def _number_bytes(feature: Feature) -> int:
    """Bytes per value of a feature; the same for all values, so that records have equal length."""
    if feature.dtype == "uint8":
        return 1
    if feature.bound > MAX_BOUND:
        raise ValueError(f"{feature.name}: the bound {feature.bound} is above {MAX_BOUND}")
    return max(1, -(-(feature.bound - 1).bit_length() // _BITS_OF_A_BYTE))


@cache
def _layout(features: tuple[Feature, ...]) -> _Layout:
    entries, places, end = [], [], 0
    for feature in features:
        kind = 1 if feature.dtype == "uint8" else 3  # bytes_list or int64_list
        values = bytes(feature.size * _number_bytes(feature))
        name = _field(1, feature.name.encode())
        entry = _field(1, name + _field(2, _field(kind, _field(1, values))))
        entries.append(entry)
        end += len(entry)
        places.append(end - len(values))
    inside = b"".join(entries)
    message = _field(1, inside)
    length = struct.pack("<Q", len(message))
    record = length + struct.pack("<I", _masked_crc(length)) + message + bytes(_CRC_BYTES)
    start = _FRAME_HEAD_BYTES + len(message) - len(inside)
    return _Layout(np.frombuffer(record, np.uint8), tuple(start + place for place in places))


def record_bytes(schema: Schema) -> int:
    """Bytes of every framed record in a dataset; equal lengths let readers find a record by its index."""
    return len(_layout(schema.features).template)


def encode(examples: Batch, schema: Schema) -> bytes:
    """The TFRecord bytes of a block of examples."""
    layout = _layout(schema.features)
    block = np.tile(layout.template, (len(examples[schema.features[0].name]), 1))
    for feature, place in zip(schema.features, layout.places, strict=True):
        values, width = examples[feature.name].reshape(len(block), feature.size), _number_bytes(feature)
        if feature.dtype == "uint8":
            block[:, place : place + feature.size] = values
            continue
        end = place + feature.size * width
        for byte in range(width):  # small values are padded to `width` bytes; readers accept both forms
            more = 0x80 if byte < width - 1 else 0
            block[:, place + byte : end : width] = (values >> (_BITS_OF_A_BYTE * byte)) & 0x7F | more
    contents = np.ascontiguousarray(block[:, _FRAME_HEAD_BYTES:-_CRC_BYTES])
    crcs = np.fromiter(map(google_crc32c.value, contents), np.uint32, len(contents))
    masked = ((crcs >> 15) | (crcs << 17)) + np.uint32(0xA282EAD8)
    block[:, -_CRC_BYTES:] = masked.astype("<u4").view(np.uint8).reshape(-1, _CRC_BYTES)
    return block.tobytes()


def decode(data: bytes | np.ndarray, schema: Schema) -> Batch:
    """The examples that `encode` was given, from its bytes. Checksums are not verified."""
    layout = _layout(schema.features)
    block = np.frombuffer(data, np.uint8).reshape(-1, len(layout.template))
    examples: Batch = {}
    for feature, place in zip(schema.features, layout.places, strict=True):
        width = _number_bytes(feature)
        end = place + feature.size * width
        if feature.dtype == "uint8":
            values = block[:, place:end]
        else:
            values = (block[:, place:end:width] & 0x7F).astype(np.int64)
            for byte in range(1, width):
                values |= (block[:, place + byte : end : width] & 0x7F).astype(np.int64) << (_BITS_OF_A_BYTE * byte)
        examples[feature.name] = values.reshape(len(block), *feature.shape)
    return examples
