"""The manifest: strict reading, and fingerprints that are equal only for equal data."""

import dataclasses
import json
from pathlib import Path

import pytest

from common.dataset import manifest
from common.dataset.schema import characters
from common.errors import InputError


def test_it_reads_what_it_wrote(small_dataset: Path, tmp_path):
    loaded = manifest.read(small_dataset)
    (tmp_path / "manifest.json").write_bytes(manifest.to_json(loaded))
    assert manifest.read(tmp_path) == loaded


def test_it_reads_what_it_wrote_of_lines(small_lines: Path, tmp_path):
    loaded = manifest.read(small_lines)
    schema = dataclasses.replace(loaded.schema, unseen=("x", "é", "\U0001f642"))
    fingerprint = manifest.fingerprint(schema, loaded.splits)
    assert fingerprint != loaded.data_fingerprint
    changed = dataclasses.replace(loaded, schema=schema, data_fingerprint=fingerprint, counts={"lines without text": 3})
    (tmp_path / "manifest.json").write_bytes(manifest.to_json(changed))
    assert manifest.read(tmp_path) == changed


def test_fingerprints_of_earlier_versions_are_what_they_were():
    # As commit f1a9a91 made them; other ones would make everyone's datasets, caches and gates start anew.
    assert manifest.fingerprint(characters(("a", "b")), {}) == (
        "9bad6162204e8ed19b1e27f1bd49a2e9638bf40ab76531a5e7642c5033438b48"
    )
    assert manifest.fingerprint(characters(("a", "b"), 14, 56), {}) == (
        "7fa29abe8d8a67e0a4be83f61ef7948aa779abd412657d9b8915a32c610ff04e"
    )


def test_a_manifest_of_characters_that_an_earlier_version_wrote_is_read(small_dataset: Path, tmp_path):
    data = json.loads((small_dataset / "manifest.json").read_text())
    del data["schema"]["unseen"], data["request"]["lines"], data["counts"]
    for split in data["splits"].values():
        for name in ("num_groups", "widths", "lengths"):
            del split[name]
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    assert manifest.read(tmp_path) == manifest.read(small_dataset)


def test_the_fingerprint_changes_with_the_data_and_with_nothing_else(small_dataset: Path):
    loaded = manifest.read(small_dataset)
    assert loaded.data_fingerprint == manifest.fingerprint(loaded.schema, loaded.splits)
    names = loaded.class_names
    for other in (characters(names[::-1]), characters(names, 14, 56), dataclasses.replace(loaded.schema, task="lines")):
        assert manifest.fingerprint(other, loaded.splits) != loaded.data_fingerprint
    first, *others = loaded.splits["test"].shards
    changed = dataclasses.replace(first, sha256="0" * 64)
    splits = loaded.splits | {"test": dataclasses.replace(loaded.splits["test"], shards=(changed, *others))}
    assert manifest.fingerprint(loaded.schema, splits) != loaded.data_fingerprint
    reordered = dict(reversed(loaded.splits.items()))
    assert manifest.fingerprint(loaded.schema, reordered) == loaded.data_fingerprint


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no manifest.json there"),
        ("{", "is not JSON"),
        ("[]", "has format version None"),
        ('{"format_version": 99}', "has format version 99; this program reads 1 and 2"),
        ('{"format_version": 1}', "is missing"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, content, complaint):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=complaint):
        manifest.read(tmp_path)


def test_a_missing_or_damaged_shard_is_found(small_dataset: Path, tmp_path):
    loaded = manifest.read(small_dataset)
    with pytest.raises(InputError, match=r"emnist-train.tfrecord-00000-of-\d+: the shard is missing"):
        manifest.check_shards(tmp_path, loaded)
    for split in loaded.splits.values():
        for shard in split.shards:
            (tmp_path / shard.name).write_bytes((small_dataset / shard.name).read_bytes())
    manifest.check_shards(tmp_path, loaded)
    spoiled = tmp_path / loaded.splits["test"].shards[0].name
    content = bytearray(spoiled.read_bytes())
    content[1000] ^= 1
    for damaged in (content, content[:-1]):
        spoiled.write_bytes(damaged)
        with pytest.raises(InputError, match=f"{spoiled.name}: the shard is damaged"):
            manifest.check_shards(tmp_path, loaded)


def test_an_unknown_field_is_refused(small_dataset: Path, tmp_path):
    data = json.loads((small_dataset / "manifest.json").read_text()) | {"surprise": 1}
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="unknown name surprise"):
        manifest.read(tmp_path)
