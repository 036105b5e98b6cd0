"""Files in folders and in zip archives, read in place."""

import zipfile

import pytest

from common.errors import InputError
from common.formats import archive
from preprocess.sources.base import describe


@pytest.fixture
def zipped(make_source, tmp_path):
    """NIST's layout: the files lie in a folder `gzip/` of the archive."""
    source = make_source("emnist/letters")
    path = tmp_path / "gzip.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("gzip/", "")
        for file in source.folder.iterdir():
            out.write(file, f"gzip/{file.name}")
    return source, path


def test_an_archive_holds_what_its_folder_holds(zipped):
    source, path = zipped
    inside, outside = archive.list_files(str(path)), archive.list_files(str(source.folder))
    assert inside.keys() == {f"gzip/{name}" for name in outside}
    for name, location in inside.items():
        with archive.open_file(location) as packed, archive.open_file(outside[name.removeprefix("gzip/")]) as plain:
            assert packed.read() == plain.read()
        assert describe(location) == describe(outside[name.removeprefix("gzip/")])


def test_nothing_is_unpacked_to_disk(zipped, tmp_path, monkeypatch):
    _, path = zipped
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(zipfile.ZipFile, "extract", lambda *_: pytest.fail("unpacked"))
    for location in archive.list_files(str(path)).values():
        describe(location)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_archive_without_its_end_is_named(tmp_path):
    (tmp_path / "gzip.zip").write_bytes(b"PK\x03\x04 and then nothing of a directory")
    with pytest.raises(InputError, match=r"gzip.zip: is not a complete zip archive"):
        archive.list_files(str(tmp_path / "gzip.zip"))


def test_a_damaged_member_is_named(zipped):
    _, path = zipped
    content = bytearray(path.read_bytes())
    location = archive.list_files(str(path))["gzip/emnist-letters-train-images-idx3-ubyte.gz"]
    start = content.index(b"train-images-idx3-ubyte.gz") + 200_000
    content[start : start + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz: is damaged"):
        describe(location)
