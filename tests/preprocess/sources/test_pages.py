"""Pages with PAGE or ALTO XML: their lines are cut out, and what is no line is counted or named."""

import json
import shutil
from pathlib import Path

import pytest

from common.dataset import manifest
from preprocess import pipeline
from tests.support.lines import config, found, listed, rejected
from tests.support.pages import page_xml, write_page

TEXTS = ["one", "two", "three"]


@pytest.fixture
def folder(tmp_path) -> Path:
    for seed, name in enumerate(("p 1", "p é", "p3")):
        write_page(tmp_path / "pages", name, TEXTS, seed)
    return tmp_path / "pages"


def texts_of(source) -> dict[str, str]:
    return {line.listed.name: line.text for part in source.splits for line in part.lines}


def test_each_line_with_a_text_is_one_and_its_page_is_its_group(folder):
    source = found(folder)
    assert texts_of(source) == {
        f"{page}.xml#l{n}": text for page in ("p 1", "p é", "p3") for n, text in enumerate(TEXTS)
    }
    assert source.lines.group_by == "page"
    assert [len(names) for names in listed(source).values()] == [3, 3, 3]
    assert source.counts == {"lines cut by their polygon": 9}


def test_lines_without_text_are_counted_and_left_out(folder):
    write_page(folder, "p4", ["four", None, " "], 4)
    source = found(folder)
    assert len(texts_of(source)) == 10
    assert [(one.path, one.problem) for one in source.left_out] == [("p4.xml#l1", "no-text"), ("p4.xml#l2", "no-text")]
    assert source.rejected == ()


def test_what_is_left_out_stands_in_the_manifest_and_in_a_list_of_its_own(folder, tmp_path):
    write_page(folder, "p4", ["four", None], 4)
    (folder / "mets.xml").write_text("<mets/>")
    data = Path(pipeline.run(config(folder, where=tmp_path / "data")))
    counts = {"lines cut by their polygon": 10, "left out, no-page": 1, "left out, no-text": 1}
    assert manifest.read(data).counts == counts
    rows = [json.loads(line) for line in (data / "left-out.jsonl").read_text().splitlines()]
    assert [(row["path"], row["reason"]) for row in rows] == [
        ("mets.xml", "is XML, but no page"),
        ("p4.xml#l1", "has no text"),
    ]


@pytest.mark.parametrize("by", ["polygon", "baseline"])
def test_the_manifest_tells_by_what_lines_are_cut(folder, tmp_path, by):
    write_page(folder, "p4", ["four"], 4, by=by)
    made = manifest.read(Path(pipeline.run(config(folder, where=tmp_path / "data"))))
    expected = (
        {"lines cut by their polygon": 10}
        if by == "polygon"
        else {"lines cut by their polygon": 9, "lines cut by their baseline": 1}
    )
    assert made.counts == expected
    assert sum(split.num_examples for split in made.splits.values()) == 10


def test_the_size_is_known_without_the_pixels(folder):
    for part in found(folder).splits:
        for line in part.lines:
            assert line.listed.picture.pixels().shape[:2] == line.listed.size
        assert sum(len(block.example_ids) for block in part.read(4)) == len(part.lines)


@pytest.mark.parametrize(("by", "problem"), [("outside", "outside"), ("nothing", "no-place")])
def test_a_line_that_cannot_be_cut_is_rejected_by_its_name(folder, by, problem):
    write_page(folder, "p4", ["four"], 4, by=by)
    assert rejected(found(folder)) == {"p4.xml#l0": problem}


@pytest.mark.parametrize("name", ["no picture", "another size", "damaged xml"])
def test_a_page_that_cannot_be_read_is_rejected_as_a_whole(folder, name):
    xml = write_page(folder, "p4", ["four"], 4)
    match name:
        case "no picture":
            (folder / "p4.png").unlink()
        case "another size":
            xml.write_text(page_xml("p4.png", (9, 9), ["four"]))
        case "damaged xml":
            xml.write_text(xml.read_text()[:-20])
    source = found(folder)
    assert rejected(source) == {"p4.xml": "bad-page"}
    assert source.rejected[0].reason.startswith("cannot be read: ")
    assert len(texts_of(source)) == 9


def test_a_damaged_picture_rejects_its_lines_and_no_others(folder):
    content = bytearray((folder / "p3.png").read_bytes())
    content[100:110] = bytes(10)
    (folder / "p3.png").write_bytes(content)
    source = found(folder)
    items = [item for part in source.splits for item in part.read(64)]
    assert sorted(item.path for item in items if hasattr(item, "problem")) == [f"p3.xml#l{n}" for n in range(3)]


def test_other_xml_is_no_page(folder):
    (folder / "mets.xml").write_text("<mets/>")
    source = found(folder)
    assert len(texts_of(source)) == 9
    assert rejected(source) == {}
    assert [(one.path, one.problem) for one in source.left_out] == [("mets.xml", "no-page")]


def test_splits_may_have_their_folders_and_writers_their_pattern(tmp_path):
    for seed, (split, name) in enumerate([("train", "ann-1"), ("train", "bob-1"), ("test", "cid-1"), ("val", "dan-1")]):
        write_page(tmp_path / split, name, TEXTS, seed)
    source = found(tmp_path, group_pattern=r"^(?P<writer>[a-z]+)-")
    assert {split: len(names) for split, names in listed(source).items()} == {"train": 6, "validation": 3, "test": 3}
    assert source.lines.group_by == "writer"


def test_one_file_may_be_the_source(folder):
    assert set(texts_of(found(folder / "p é.xml"))) == {f"p é.xml#l{n}" for n in range(3)}


def test_the_same_page_twice_is_taken_once(folder):
    again = shutil.copytree(folder, folder.parent / "again")
    source = found(folder, again)
    assert len(texts_of(source)) == 9
    assert [one.problem for one in source.left_out] == ["copy"] * 9


def test_real_pages_are_read(real_data):
    """Both forms of one page are the same lines."""
    source = found(real_data / "pages" / "timeus")
    assert len(texts_of(source)) == 16
    assert source.rejected == ()
    copiste = found(real_data / "pages" / "copiste-dun-jour")
    assert len(texts_of(copiste)) > 20
    assert rejected(copiste) == {}
