"""IAM's own layout, wherever people have unpacked it, on an invented example."""

import shutil
from pathlib import Path

import pytest

from common.errors import InputError
from preprocess.sources.iam import joined
from tests.support.lines import found, listed, png, rejected, strokes

HEAD = "#--- lines.txt ---#\n#\n# format: a01-000u-00 ok 154 19 408 746 1661 89 A|MOVE|to|stop\n#\n"
ROWS = {
    "a01-000u-00": "ok 154 8 90 168 781 38 The|grey|cat|,|which|nobody|owned|,",
    "a01-000u-01": "err 154 10 90 298 759 38 slept|on|the|sill|.",
    "a01-003-00": "ok 154 11 90 168 736 38 Rain|&|wind",
    "b04-010-00": "ok 154 8 90 168 753 38 Ten|boats",
    "b04-010-01": "ok 154 8 90 268 753 38 lay|in the|harbour|!",
}
FORMS = "# forms\na01-000u 000 2 prt 7 5 52 36\na01-003 001 2 prt 7 5 52 36\nb04-010 000 1 prt 1 1 8 8\n"


def write_iam(root: Path, tables: str = "ascii", pictures: str = "lines") -> Path:
    (root / tables).mkdir(parents=True, exist_ok=True)
    (root / tables / "lines.txt").write_text(HEAD + "".join(f"{name} {row}\n" for name, row in ROWS.items()))
    (root / tables / "forms.txt").write_text(FORMS)
    for seed, name in enumerate(ROWS):
        picture = picture_of(root, name, pictures)
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(png(strokes(seed)))
    return root


def picture_of(root: Path, name: str, pictures: str = "lines") -> Path:
    first, second, _ = name.split("-")
    return root / pictures / first / f"{first}-{second}" / f"{name}.png"


def write_split(root: Path, name: str, content: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(content)


def lines_of(source) -> dict[str, tuple[str, str, str]]:
    """Text, writer and page of each line, by its id."""
    every = [line for part in source.splits for line in part.lines]
    return {Path(one.listed.source).stem: (one.text, one.listed.writer, one.listed.page) for one in every}


def test_lines_have_their_text_form_and_writer_and_those_marked_err_are_kept(tmp_path):
    source = found(write_iam(tmp_path))
    assert lines_of(source) == {
        "a01-000u-00": ("The grey cat, which nobody owned,", "000", "a01-000u"),
        "a01-000u-01": ("slept on the sill.", "000", "a01-000u"),
        "a01-003-00": ("Rain & wind", "001", "a01-003"),
        "b04-010-00": ("Ten boats", "000", "b04-010"),
        "b04-010-01": ("lay in the harbour!", "000", "b04-010"),
    }
    assert source.lines.group_by == "writer"
    assert source.counts == {"lines marked err, which are kept": 1}


@pytest.mark.parametrize(
    ("tables", "pictures"), [(".", "."), ("ascii", "data/lines"), ("IAM/ascii", "IAM/lines/lines"), ("a b", "é")]
)
def test_the_parts_may_be_unpacked_anywhere_below_the_folder(tmp_path, tables, pictures):
    assert len(lines_of(found(write_iam(tmp_path, tables, pictures)))) == 5


def test_pictures_of_words_and_forms_are_no_lines(tmp_path):
    write_iam(tmp_path)
    for name in ("words/a01/a01-000u/a01-000u-00-00.png", "forms/a01-000u.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture")
    source = found(tmp_path)
    assert (len(lines_of(source)), source.rejected) == (5, ())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ('slept|on|the|"|warm|"|window|-|sill|.', 'slept on the "warm" window - sill.'),
        ("in|(|all|day|)|.", "in (all day)."),
        ("Foot|'s|line|wo|n't|do|,|they|'ll|see", "Foot's line won't do, they'll see"),
        ('he|said|,|"', 'he said,"'),
        ('"|Go|!|"|"|Why|?|"', '"Go!" "Why?"'),
        ("tea|#|7|...", "tea # 7..."),
        ("Mr.|Brown|,|M.P.|;", "Mr. Brown, M.P.;"),
        ("...|but|.", "... but."),
        ("", ""),
    ],
)
def test_punctuation_is_joined_to_the_word_that_it_belongs_to(words, text):
    assert joined(words.split("|")) == text


def test_without_forms_the_page_is_the_group(tmp_path):
    write_iam(tmp_path)
    (tmp_path / "ascii" / "forms.txt").unlink()
    assert found(tmp_path).lines.group_by == "page"


@pytest.mark.parametrize("place", ["splits/", "", "ascii/"])
def test_split_files_divide_the_lines_and_lines_in_none_are_left_out_and_counted(tmp_path, place):
    write_iam(tmp_path)
    write_split(tmp_path, f"{place}trainset.txt", "a01-000u-00\r\na01-000u-01\r\n")
    write_split(tmp_path, f"{place}validationset1.txt", "a01-003-00\n")
    write_split(tmp_path, f"{place}validationset2.txt", "\n# nothing\n")
    write_split(tmp_path, f"{place}testset.txt", "b04-010-00\n")
    source = found(tmp_path)
    assert {split: [name[-15:-4] for name in names] for split, names in listed(source).items()} == {
        "train": ["a01-000u-00", "a01-000u-01"],
        "validation": ["/a01-003-00"],
        "test": ["/b04-010-00"],
    }
    assert source.counts == {"lines marked err, which are kept": 1}
    assert [one.problem for one in source.left_out] == ["no-split"]


def test_a_split_file_may_name_forms(tmp_path):
    write_iam(tmp_path)
    write_split(tmp_path, "trainset.txt", "a01-000u\na01-003\n")
    write_split(tmp_path, "testset.txt", "b04-010\n")
    assert {split: len(names) for split, names in listed(found(tmp_path, validation_fraction=0)).items()} == {
        "train": 3,
        "test": 2,
    }


def test_a_line_in_two_split_files_is_refused(tmp_path):
    write_iam(tmp_path)
    write_split(tmp_path, "trainset.txt", "a01-000u-00\n")
    write_split(tmp_path, "testset.txt", "b04-010-00\na01-000u-00\n")
    with pytest.raises(InputError, match=r"trainset.txt, line 1: 'a01-000u-00' is also in .*testset.txt"):
        found(tmp_path)


def test_missing_and_damaged_pictures_are_rejected_with_their_reason(tmp_path):
    write_iam(tmp_path)
    picture_of(tmp_path, "a01-000u-01").unlink()
    picture_of(tmp_path, "b04-010-00").write_bytes(b"")
    source = found(tmp_path)
    assert rejected(source) == {
        "a01-000u-01": "no-picture",
        "lines/b04/b04-010/b04-010-00.png": "not-a-picture",
    }
    assert "of lines.txt, line 6, has no picture of its name" in {one.reason for one in source.rejected}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a01-003-01 ok 154 8 90 168 753 38", "line 10: has 8 fields, not 9 or more"),
        ("a01-003-01", "line 10: has 1 fields, not 9 or more"),
        (
            "a01-003-01 fine 154 8 90 168 753 38 A|word",
            "line 10: begins with 'a01-003-01 fine', not an id and ok or err",
        ),
        ("a01 ok 154 8 90 168 753 38 A|word", "line 10: begins with 'a01 ok'"),
        ("a01-003-00 ok 154 8 90 168 753 38 A|word", "line 10: a01-003-00 is also in line 7"),
        ("a01-003-01 ok 154 8 90 168 753 38 \xe9", "is not UTF-8 text at byte"),
    ],
)
def test_a_row_of_another_form_is_refused_with_its_line(tmp_path, row, complaint):
    table = write_iam(tmp_path) / "ascii" / "lines.txt"
    table.write_bytes(table.read_bytes() + f"{row}\n".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        found(tmp_path)
    assert str(caught.value).startswith(str(table))
    assert complaint in str(caught.value)


def test_a_text_that_is_empty_is_rejected(tmp_path):
    table = write_iam(tmp_path) / "ascii" / "lines.txt"
    table.write_text(table.read_text().replace("Ten|boats", "|"))
    assert rejected(found(tmp_path)) == {"lines/b04/b04-010/b04-010-00.png": "no-text"}


def test_two_copies_in_one_folder_are_refused(tmp_path):
    write_iam(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with pytest.raises(InputError, match=r"holds .*lines.txt and .*lines.txt; name the folder of one"):
        found(tmp_path)


def test_the_example_of_the_layout_is_read(real_data):
    source = found(real_data / "iam-layout-example")
    assert {split: len(names) for split, names in listed(source).items()} == {"train": 3, "validation": 2, "test": 1}
    assert lines_of(source)["a01-000u-01"][0] == 'slept on the "warm" window - sill.'
    assert source.rejected == ()
