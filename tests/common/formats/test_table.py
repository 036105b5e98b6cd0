"""Tables of files and texts: what people's programs write is read as it is meant, or refused with its line."""

from pathlib import Path, PurePosixPath

import pytest

from common.errors import InputError
from common.formats import table
from common.formats.table import Row


def read(content: str | bytes, required=("file", "text"), **settings) -> list[tuple[int, tuple[str, ...]]]:
    content = content.encode() if isinstance(content, str) else content
    rows = table.read(content, "lines.tsv", required, ("writer", "split"), **settings)
    return [(row.number, tuple(row.fields.values())) for row in rows]


EXPECTED = [(2, ("a.png", "été")), (3, ("b.png", "two words"))]


@pytest.mark.parametrize("divider", ["\t", ",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_columns_are_divided_by_tab_comma_or_semicolon(divider, end):
    lines = [("file", "text"), ("a.png", "été"), ("b.png", "two words")]
    assert read("".join(divider.join(line) + end for line in lines)) == EXPECTED


@pytest.mark.parametrize(
    "content",
    [
        "\ufefffile\ttext\na.png\tété\nb.png\ttwo words\n",
        "File\t TEXT \na.png\tété\nb.png\ttwo words",
        "file\ttext\na.png\tété\nb.png\ttwo words\n\n\t\n",
        "text\tnotes\tfile\nété\tx\ta.png\ntwo words\ty\tb.png\n",
    ],
    ids=["byte order mark", "another case", "empty lines", "other columns"],
)
def test_how_a_table_is_written_does_not_matter(content):
    assert [(number, tuple(sorted(fields))) for number, fields in read(content)] == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_the_encoding_is_marked_or_named(encoding):
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    content = f"{mark}file\ttext\na.png\tété\nb.png\ttwo words\n".encode(encoding)
    assert read(content, encoding="latin-1" if encoding == "latin-1" else "utf-8") == EXPECTED


def test_between_tabs_quotation_marks_are_text():
    assert read('file\ttext\na.png\t"one\nb.png\the said "no", "yes\n') == [
        (2, ("a.png", '"one')),
        (3, ("b.png", 'he said "no", "yes')),
    ]


def test_between_commas_quotation_marks_hold_a_field_together():
    content = 'file,text\na.png,"one, ""two"""\nb.png,"three\nfour"\nc.png,five\n'
    assert read(content) == [(2, ("a.png", 'one, "two"')), (3, ("b.png", "three\nfour")), (5, ("c.png", "five"))]


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0c", "\x1c"])
def test_only_ends_of_lines_end_a_line(mark):
    """Python's `splitlines` knows many more."""
    assert read(f"file\ttext\na.png\tone{mark}two\nb.png\tthree\n")[0] == (2, ("a.png", f"one{mark}two"))
    assert read(f"a.png\tone{mark}two\nb.png\tthree\n") == [(1, ("a.png", f"one{mark}two")), (2, ("b.png", "three"))]


def test_a_list_of_paths_and_texts_needs_no_header():
    content = "a b/é.png\tone\ttwo \n\nb.jpg\tthree\n"
    assert read(content) == [(1, ("a b/é.png", "one\ttwo ")), (3, ("b.jpg", "three"))]


def test_labels_of_characters_are_the_same_table_with_another_column():
    rows = table.read(b"file,label\na.png,\xc3\xa9\n", "labels.csv", ("file", "label"))
    assert rows == (Row(2, {"file": "a.png", "label": "é"}),)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "lines.tsv: the first line must name the columns file and text (and may name writer, split); it is ''"),
        ("\n \n", "it is ''"),
        ("name\tvalue\n", r"it is 'name\tvalue'"),
        ("file\ttext\tText\na\tb\tc\n", "has two columns named text"),
        ("file\ttext\na.png\n", "line 2: has 1 fields; the header names 2"),
        ("file\ttext\na.png\tone\ttwo\n", "line 2: has 3 fields; the header names 2"),
        ("a.png\tone\nno path\n", "line 2: must be the path of a picture, a tab and its text"),
        (f"file,text\na.png,{'x' * 200_000}\n", "line 2: field larger than field limit"),
        (b"file\ttext\na.png\t\xff\n", "is not UTF-8 text at byte 16"),
        (b"\xff\xfef\0", "the first line must name"),
        (b"\xff\xfef\0i\0l", "is not UTF-16 text at byte"),
    ],
)
def test_what_is_no_table_is_refused(content, complaint):
    with pytest.raises(InputError) as caught:
        read(content)
    assert complaint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def test_an_encoding_that_is_none_is_named():
    with pytest.raises(InputError, match="'klingon' is no encoding; for example utf-8"):
        read("file\ttext\n", encoding="klingon")
    with pytest.raises(InputError, match="'rot13' is no encoding"):
        read("file\ttext\n", encoding="rot13")


@pytest.mark.parametrize("path", ["../a.png", "/etc/a.png", "a/../../b.png", "", ".", "a\0.png"])
def test_a_path_that_leads_out_of_the_folder_is_refused(path):
    with pytest.raises(InputError, match=r"^/data/lines.tsv, line 7: .* is not a path below this folder$"):
        table.path_below(Path("/data/lines.tsv"), Row(7, {"file": path}))


def test_a_path_is_below_the_folder_of_its_table():
    row = Row(1, {"file": "pages/é 1.png"})
    assert table.path_below(Path("/data/lines.tsv"), row) == PurePosixPath("pages/é 1.png")
