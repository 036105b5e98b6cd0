"""Dataset folders: their content, and changed copies."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.dataset import manifest, records, schema
from common.dataset.schema import IMAGE, LABEL

DIGITS = schema.characters(tuple("0123456789"))


def read_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """All examples of a split in the order of its shards: images [N, H, W] and labels [N]."""
    described = manifest.read(folder)
    paths = [folder / shard.name for shard in described.splits[split].shards]
    decoded = [records.decode(path.read_bytes(), described.schema) for path in paths]
    return np.concatenate([part[IMAGE][..., 0] for part in decoded]), np.concatenate([part[LABEL] for part in decoded])


def as_set(images: np.ndarray, labels: np.ndarray) -> set[tuple[bytes, int]]:
    return {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def with_splits(dataset: Path, data: Path, names: tuple[str, ...]) -> Path:
    """A copy of a dataset folder whose manifest has only these splits."""
    shutil.copytree(dataset, data)
    described = manifest.read(data)
    splits = {name: split for name, split in described.splits.items() if name in names}
    changed = replace(described, splits=splits, data_fingerprint=manifest.fingerprint(described.schema, splits))
    (data / "manifest.json").write_bytes(manifest.to_json(changed))
    return data
