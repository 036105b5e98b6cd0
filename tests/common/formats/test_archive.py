"""Files in folders and in zip archives, read in place."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
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


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"<!DOCTYPE html><html>", "is an HTML page; download the file itself"),
        (b"PK\x03\x04 and then nothing of a directory", r"is not a complete zip archive"),
        (b"", "is empty; fetch it again"),
        (b"Rar!\x1a\7\1\0", "is a RAR archive; unpack it"),
        (b"label,pixel0", "is no zip or tar archive"),
        (gzip.compress(b"text", mtime=0), "is packed by gzip, but holds no tar archive"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path, content, complaint):
    (tmp_path / "gzip.zip").write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        list(archive.scan(str(tmp_path / "gzip.zip")))


def test_a_damaged_member_is_named(zipped):
    _, path = zipped
    content = bytearray(path.read_bytes())
    location = archive.list_files(str(path))["gzip/emnist-letters-train-images-idx3-ubyte.gz"]
    start = content.index(b"train-images-idx3-ubyte.gz") + 200_000
    content[start : start + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz: is damaged"):
        describe(location)


def tar_of(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as out:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                out.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def special(name: str, kind: bytes, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, "/etc/passwd", size
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_holds_what_was_put_into_it(tmp_path, mode):
    contents = {f"./a/{'long' * number}/{number}": bytes([number]) * 700 * number for number in range(60)}
    path = tmp_path / "some"
    path.write_bytes(tar_of(contents, mode))
    scanned = [(member, load()) for member, load in archive.scan(str(path))]
    assert [(f"./{member.name}", content) for member, content in scanned] == [
        (name.replace("//", "/"), content) for name, content in contents.items()
    ]
    some = [member.place for member, _ in scanned][3:60:7]
    assert list(archive.read(str(path), some)) == list(contents.values())[3:60:7]
    with archive.open_file(archive.list_files(str(path))[f"a/{'long' * 5}/5"]) as file:
        assert file.read() == contents[f"./a/{'long' * 5}/5"]


def test_what_is_no_file_of_a_tar_is_named_and_nothing_outside_is_read(tmp_path):
    members = {
        "link": special("link", tarfile.SYMTYPE),
        "hard": special("hard", tarfile.LNKTYPE),
        "pipe": special("pipe", tarfile.FIFOTYPE),
        "../out": b"content",
    }
    (tmp_path / "some.tar").write_bytes(tar_of(members))
    found = {member.name: member.problem for member, _ in archive.scan(str(tmp_path / "some.tar"))}
    assert found == {"link": "link", "hard": "link", "pipe": "no-file", "../out": ""}
    assert list(tmp_path.iterdir()) == [tmp_path / "some.tar"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("damage", ["cut", "cut between members", "no end", "header", "middle"])
def test_a_damaged_tar_is_never_taken_for_a_shorter_one(tmp_path, mode, damage):
    noise = np.random.default_rng(0).bytes
    content = bytearray(tar_of({f"{number}.png": noise(1024) for number in range(20)}))
    if damage == "cut between members":
        content = content[: 1536 * 3]
    elif damage == "no end":
        content = content[: 1536 * 20]
    elif damage == "header":
        content[1536 * 3 + 5] ^= 1
    packed = {"w": bytes, "w:gz": gzip.compress, "w:bz2": bz2.compress, "w:xz": lzma.compress}[mode](bytes(content))
    if damage == "cut":
        packed = packed[: 2 * len(packed) // 3 - 100]
    elif damage == "middle":
        if mode == "w":
            pytest.skip("a tar has no checksum of its contents")
        packed = packed[:9000] + bytes(20) + packed[9020:]
    (tmp_path / "some.tar").write_bytes(packed)
    with pytest.raises(InputError, match=r"some.tar: (is damaged \(.*\); fetch it again|.* holds no tar archive)"):
        for _, load in archive.scan(str(tmp_path / "some.tar")):
            load()


def test_a_member_that_claims_to_be_huge_is_not_read(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out, out.open("a.png", "w") as member:
        for _ in range(600):
            member.write(bytes(1 << 20))
    ((member, _),) = archive.scan(str(path))
    assert member.problem == "too-large"


def test_an_encrypted_member_is_named(zipped):
    _, path = zipped
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        start = -1
        while (start := content.find(mark, start + 1)) >= 0:
            content[start + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"gzip.zip::gzip/emnist.*: is encrypted; unpack the archive with its password"
    ):
        describe(next(iter(archive.list_files(str(path)).values())))


def test_names_of_a_zip_are_read_as_they_were_meant(tmp_path):
    """Some programs write UTF-8 without saying so, and those of Windows divide by backslashes."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for name, system in (("XX/1.png", 3), ("A\\2.png", 0), ("A\\3.png", 3)):
            info = zipfile.ZipInfo(name)
            info.create_system = system
            out.writestr(info, b"")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"XX/1.png", "é/1.png".encode()))
    names = [member.name for member, _ in archive.scan(str(tmp_path / "a.zip"))]
    assert names == ["é/1.png", "A/2.png", "A\\3.png"]
