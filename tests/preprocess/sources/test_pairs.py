"""Pictures of lines with their texts beside them, or in a table: what is read, and what is named and left out."""

import io
import os
import re
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.formats import picture
from common.photographs.files import STORED_AS
from common.storage import objects_below, to_path
from preprocess.sources.base import Rejected
from tests.support.lines import found, listed, png, rejected, strokes, write_pair, write_pairs, write_table
from tests.support.picture_bytes import exif, exif_segment, with_segments


def text_of(source) -> dict[str, str]:
    return {line.listed.name: line.text for part in source.splits for line in part.lines}


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "two words",
        unicodedata.normalize("NFD", "déjà"),
        "a.exp0",
        "page.1/line.2",
        "日本",
        "train",
        "café\udce9",
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".Jpeg", ".tif"])
def test_a_picture_and_the_text_of_its_name_are_a_line(tmp_path, name, suffix):
    write_pair(tmp_path, name, "some text", suffix=suffix)
    assert text_of(found(tmp_path)) == {f"{name}{suffix}": "some text"}


def test_a_binarised_picture_has_the_text_of_the_name_before_its_first_dot(tmp_path):
    write_pair(tmp_path, "0001", "some text").rename(tmp_path / "0001.bin.png")
    assert text_of(found(tmp_path)) == {"0001.bin.png": "some text"}


def test_each_split_may_have_its_folder(tmp_path):
    folders = ("train", "val", "test/page1", "other/test", ".")
    for number, folder in enumerate(folders):
        write_pair(tmp_path / folder, f"{number}", "abc", number)
    pairs = listed(found(tmp_path, test_fraction=0, validation_fraction=0))
    assert pairs == {
        "train": ["4.png", "other/test/3.png", "train/0.png"],
        "validation": ["val/1.png"],
        "test": ["test/page1/2.png"],
    }


def test_hidden_files_and_other_files_are_no_lines(tmp_path):
    write_pair(tmp_path, "a", "abc")
    for name in ("._a.png", "._a.gt.txt", ".git/b.png", "Thumbs.db", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0")
    source = found(tmp_path)
    assert (listed(source), source.rejected) == ({"train": ["a.png"]}, ())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_text_may_have_any_named_or_marked_encoding(tmp_path, encoding):
    write_pair(tmp_path, "a", "  été\t à\r\n\r\n".encode(encoding))
    settings = {"encoding": encoding} if encoding == "latin-1" else {}
    assert text_of(found(tmp_path, **settings)) == {"a.png": "été à"}


def spoil(folder: Path, name: str) -> None:
    """Writes what is no line."""
    content = png(strokes(99))
    match name:
        case "text alone":
            (folder / "x.gt.txt").write_text("abc")
        case "picture alone":
            (folder / "x.png").write_bytes(content)
        case "second picture":
            write_pair(folder, "w", "abc", 98)
            (folder / "w.tif").write_bytes(content)
        case "no picture":
            write_pair(folder, "x", "abc").write_text("not a picture")
        case "empty picture":
            write_pair(folder, "x", "abc").write_bytes(b"")
        case "half a header":
            write_pair(folder, "x", "abc").write_bytes(content[:20])
        case "no pixels":
            write_pair(folder, "x", "abc").write_bytes(content[:16] + bytes(4) + content[20:])
        case "a folder":
            write_pair(folder, "x", "abc").unlink()
            (folder / "x.png").mkdir()
        case "a link to nowhere":
            write_pair(folder, "x", "abc").unlink()
            (folder / "x.png").symlink_to("nowhere")
        case "blank text":
            write_pair(folder, "x", " \t\n\n")
        case "two lines":
            write_pair(folder, "x", "one\ntwo")
        case "other encoding":
            write_pair(folder, "x", b"\xe9t\xe9")
        case "control character":
            write_pair(folder, "x", "a\0b")
        case "long text":
            write_pair(folder, "x", "ab" * 10_000)
        case "narrow":
            write_pair(folder, "x", "aa", width=11)


_SPOILED = {
    "text alone": ("x.gt.txt", "no-picture", "has no picture of its name beside it"),
    "picture alone": ("x.png", "no-text", "has no text beside it, x.gt.txt"),
    "second picture": ("w.tif", "no-text", "has no text of its own: w.gt.txt is of w.png"),
    "no picture": ("x.png", "not-a-picture", "is not a picture"),
    "empty picture": ("x.png", "not-a-picture", "is not a picture"),
    "half a header": ("x.png", "cannot-decode", "cannot be decoded"),
    "no pixels": ("x.png", "cannot-decode", "cannot be decoded"),
    "a folder": ("x.gt.txt", "no-picture", "has no picture"),
    "a link to nowhere": ("x.gt.txt", "no-picture", "has no picture"),
    "blank text": ("x.png", "no-text", "has no text"),
    "two lines": ("x.png", "several-lines", "has a text of 2 lines"),
    "other encoding": ("x.png", "unknown-encoding", "x.gt.txt: is not UTF-8 text at byte 0; see --encoding"),
    "control character": ("x.png", "bad-text", "has the control character U+0000 in its text"),
    "long text": ("x.png", "too-narrow", "is 300 pixels wide at the height of the dataset; its text needs 80000"),
    "narrow": ("x.png", "too-narrow", "is 11 pixels wide at the height of the dataset; its text needs 12"),
}


@pytest.mark.parametrize("name", _SPOILED)
def test_what_is_no_line_is_named_with_its_reason_and_the_others_are_read(tmp_path, name):
    write_pair(tmp_path, "a", "abc", 1)
    spoil(tmp_path, name)
    source = found(tmp_path)
    path, problem, reason = _SPOILED[name]
    (only,) = source.rejected
    assert (only.path, only.problem) == (path, problem)
    assert reason in only.reason
    assert listed(source)["train"][0] == "a.png"


def test_a_picture_that_is_damaged_behind_its_header_is_found_when_it_is_read(tmp_path):
    write_pair(tmp_path, "a", "abc", 1)
    path = write_pair(tmp_path, "b", "abc", 2)
    content = bytearray(path.read_bytes())
    content[100:110] = bytes(10)
    path.write_bytes(content)
    (part,) = found(tmp_path, validation_fraction=0, test_fraction=0).splits
    blocks = list(part.read(16))
    assert [type(one) for one in blocks].count(Rejected) == 1
    (only,) = (one for one in blocks if isinstance(one, Rejected))
    assert (only.path, only.problem) == ("b.png", "cannot-decode")


def test_a_picture_may_lie_on_its_side_if_it_says_so(tmp_path):
    upright, buffer = strokes(5), io.BytesIO()
    Image.fromarray(upright).transpose(STORED_AS[8]).save(buffer, "JPEG", quality=95)
    write_pair(tmp_path, "a", "abc", suffix=".jpg").write_bytes(with_segments(buffer.getvalue(), exif_segment(exif(8))))
    (part,) = found(tmp_path).splits
    (line,) = part.lines
    assert line.size == (48, 300)
    difference = line.listed.picture.pixels()[..., 0].astype(int) - upright
    assert np.abs(difference).mean() < 4


ROWS = [("a.png", "one", "w1", "p1", "train"), ("b.png", "two", "w2", "p2", "val"), ("c d.png", "three", "w3", "", "")]


def test_a_table_in_the_folder_names_texts_writers_pages_and_splits(tmp_path):
    write_table(tmp_path, ROWS)
    write_pair(tmp_path, "not_in_the_table", "abc", 9)
    source = found(tmp_path, test_fraction=0)
    assert text_of(source) == {"a.png": "one", "b.png": "two", "c d.png": "three"}
    assert listed(source) == {"train": ["a.png", "c d.png"], "validation": ["b.png"]}
    writers = {
        line.listed.name: (line.listed.writer, line.listed.page) for part in source.splits for line in part.lines
    }
    assert writers == {"a.png": ("w1", "p1"), "b.png": ("w2", "p2"), "c d.png": ("w3", "")}


@pytest.mark.parametrize("name", ["anything.tsv", "list.txt", "other.csv"])
def test_a_table_may_be_the_source(tmp_path, name):
    write_table(tmp_path, ROWS)
    content = (tmp_path / "lines.tsv").read_text()
    (tmp_path / name).write_text(content.replace("\t", ",") if name.endswith("csv") else content)
    (tmp_path / "lines.tsv").unlink()
    assert len(text_of(found(tmp_path / name))) == 3


def test_a_row_whose_picture_is_missing_is_rejected(tmp_path):
    write_table(tmp_path, ROWS)
    (tmp_path / "b.png").unlink()
    assert rejected(found(tmp_path)) == {"b.png": "no-picture"}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("x.png\ttext\tw\tp\tholdout", "line 5: its split 'holdout' is none of train, validation, test"),
        ("../x.png\ttext\tw\tp\ttrain", "line 5: '../x.png' is not a path below this folder"),
        ("/x.png\ttext\tw\tp\ttrain", "line 5: '/x.png' is not a path below this folder"),
        ("x.png\ttext\tand a tab\tw\tp\ttrain", "line 5: has 6 fields; the header names 5"),
        ("a.png\tanother\tw1\tp1\ttrain", "a.png: is the same picture as a.png, with another text"),
        ("a.png\tone\tw1\tp1\ttest", "a.png: is the same picture as a.png, in another split"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused(tmp_path, row, complaint):
    write_table(tmp_path, ROWS)
    with (tmp_path / "lines.tsv").open("a") as table:
        table.write(f"{row}\n")
    with pytest.raises(InputError) as caught:
        found(tmp_path)
    assert str(caught.value).endswith(complaint)


def test_a_row_that_stands_twice_is_one_line(tmp_path):
    write_table(tmp_path, [*ROWS, ROWS[0]])
    (tmp_path / "a.png").write_bytes(png(strokes(0)))
    source = found(tmp_path)
    assert len(text_of(source)) == 3
    assert [(one.path, one.problem) for one in source.left_out] == [("a.png", "copy")]


def test_neither_the_order_of_files_nor_where_they_lie_changes_the_digest(tmp_path):
    first = write_pairs(tmp_path / "one" / "lines", 6)
    second = Path(shutil.copytree(first, tmp_path / "two" / "lines"))
    for path in sorted(second.iterdir(), reverse=True):
        path.rename(path.with_name(f"moved {path.name}"))
    for path in list(second.iterdir()):
        path.rename(path.with_name(path.name.removeprefix("moved ")))
    assert found(first).files == found(second).files
    (second / "000-0.gt.txt").write_text("another")
    assert found(first).files != found(second).files


def test_a_bucket_is_asked_once_for_each_file_and_not_whether_it_is_one(faulty_bucket, tmp_path):
    folder = write_pairs(tmp_path / "lines", 12)
    to_path("gs://test/lines").upload_from(folder)
    before = len(faulty_bucket.asked)
    in_bucket = found("gs://test/lines")
    asked = Counter(name for one in faulty_bucket.asked[before:] for name in re.findall(r"\d{3}-\d[\w.]+", one))
    assert len(asked) == 24
    assert asked == dict.fromkeys(asked, 1)
    assert listed(in_bucket) == listed(found(folder))
    assert in_bucket.files == found(folder).files
    assert len(objects_below(to_path("gs://test/lines"))) == 24


def test_a_picture_that_may_not_be_read_is_rejected(tmp_path, monkeypatch):
    write_pair(tmp_path, "a", "abc", 1)
    secret = write_pair(tmp_path, "b", "abc", 2)
    read_bytes = Path.read_bytes

    def read_unless_secret(path: Path) -> bytes:
        if path == secret:
            raise PermissionError(13, os.strerror(13), str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read_unless_secret)
    assert rejected(found(tmp_path)) == {"b.png": "cannot-decode"}
    assert picture.read_header(png(strokes(0))).size == (48, 300)
