"""What lines of all sources have in common: groups and splits, vocabulary, canvas, and what is refused."""

import gzip
import json
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from common.dataset import manifest
from common.errors import InputError
from common.normalize import line as line_images
from preprocess import main, pipeline
from preprocess.sources.base import Block
from tests.support.datasets import contents
from tests.support.lines import (
    EVERY_CHARACTER,
    PAGE_PATTERN,
    config,
    found,
    listed,
    png,
    read_lines,
    rejected,
    strokes,
    texts,
    write_pair,
    write_pairs,
    write_table,
)

SPLITS = ("train", "validation", "test")


def groups_of(source) -> dict[str, set[str]]:
    return {
        split: {line.group_name for part in source.splits if part.split == split for line in part.lines}
        for split in SPLITS
    }


# Groups and splits


def test_no_group_is_in_two_splits_and_each_split_has_one(line_pairs):
    groups = groups_of(found(line_pairs, group_pattern=PAGE_PATTERN))
    assert all(groups.values())
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == 10


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_however_few_groups_there_are_one_is_left_for_training(tmp_path, count):
    for seed in range(12):
        rows = [(f"{number}.png", "abc", f"w{seed}-{number}") for number in range(count)]
        shutil.rmtree(tmp_path / "lines", ignore_errors=True)
        source = found(write_table(tmp_path / "lines", rows, "file text writer"), test_fraction=0.4)
        assert len(groups_of(source)["train"]) >= 1
        assert (len(groups_of(source)["test"]) >= 1) == (count > 1)


def test_no_split_is_drawn_whose_share_is_0(line_pairs):
    source = found(line_pairs, test_fraction=0, validation_fraction=0)
    assert listed(source).keys() == {"train"}


def test_a_line_more_moves_no_other_to_another_split(line_pairs, tmp_path):
    before = listed(found(line_pairs, group_pattern=r"(\d+)-"))
    more = Path(shutil.copytree(line_pairs, tmp_path / "lines"))
    write_pair(more, "100-0", "abc", 1000)
    after = listed(found(more, group_pattern=r"(\d+)-"))
    for split in SPLITS:
        assert set(after[split]) - set(before[split]) <= {"100-0.png"}


def test_other_seeds_draw_other_groups(line_pairs):
    drawn = {str(groups_of(found(line_pairs, seed=seed, group_pattern=r"(\d+)-"))["test"]) for seed in range(8)}
    assert len(drawn) > 3


ROWS = [(f"{n}.png", f"text {n}", f"w{n // 8}", f"p{n // 4}") for n in range(32)]


@pytest.mark.parametrize(("group_by", "expected"), [(None, 4), ("writer", 4), ("page", 8), ("line", 32)])
def test_groups_are_writers_or_else_pages_unless_it_is_said(tmp_path, group_by, expected):
    source = found(write_table(tmp_path, ROWS, "file text writer page"), group_by=group_by)
    assert len(set().union(*groups_of(source).values())) == expected
    assert source.lines.group_by == (group_by or "writer")


def test_if_one_line_has_no_writer_pages_are_the_groups_and_to_ask_for_writers_is_refused(tmp_path):
    write_table(tmp_path, [*ROWS[:-1], (*ROWS[-1][:2], "", "p9")], "file text writer page")
    assert found(tmp_path).lines.group_by == "page"
    with pytest.raises(InputError, match=r"--group-by writer: 31.png has none; a table or --group-pattern names them"):
        found(tmp_path, group_by="writer")


def test_lines_of_unknown_writers_and_pages_are_their_own_groups_with_a_warning(line_pairs, caplog):
    assert found(line_pairs).lines.group_by == "line"
    assert (
        "the splits are cut by line: figures will flatter; name them in a table, or by --group-pattern" in caplog.text
    )


@pytest.mark.parametrize(
    ("pattern", "group_by"),
    [
        (r"^(\d+)-", "writer"),
        (r"^(?P<writer>\d+)-", "writer"),
        (r"^(?P<page>\d+)-", "page"),
        (r"(?P<page>\d)(?P<writer>\d)", "writer"),
    ],
)
def test_a_pattern_finds_writers_and_pages_in_names_of_files(line_pairs, pattern, group_by):
    assert found(line_pairs, group_pattern=pattern).lines == manifest.LineOptions(48, 1536, group_by, pattern)


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("(", r"--group-pattern (: is no regular expression (missing ), unterminated subpattern at position 0)"),
        (r"\d+", "needs one group, or groups named writer and page, as (?P<writer>…)"),
        (r"(\d)(\d)", "needs one group"),
        (r"(?P<author>\d)", "needs one group"),
        (r"(x+)", "does not fit 000-0.png"),
    ],
)
def test_a_pattern_that_finds_no_group_is_refused(line_pairs, pattern, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        found(line_pairs, group_pattern=pattern)


def test_a_group_that_the_source_divides_is_told_of(tmp_path, caplog):
    rows = [("a.png", "one", "w", "train"), ("b.png", "two", "w", "test"), ("c.png", "three", "v", "train")]
    found(write_table(tmp_path, rows, "file text writer split"))
    assert (
        "1 groups have lines in several splits, as the source divides them: figures will flatter; the first: w"
        in caplog.text
    )


def test_a_source_without_lines_for_training_is_refused(tmp_path):
    write_pair(tmp_path / "test", "a", "abc")
    with pytest.raises(InputError, match="no line is for training; 0 train, 0 validation, 1 test"):
        found(tmp_path)


# Texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301te\u0301", "été"),
        (" a \t b\u00a0\u2003c\n", "a b c"),
        ("\u0301\u0301", "\u0301\u0301"),
        ("ﬁn ſ 🙂", "ﬁn ſ 🙂"),
    ],
)
def test_texts_are_in_nfc_with_single_spaces_and_else_as_they_are(tmp_path, text, expected):
    write_pair(tmp_path, "a", text)
    ((line,),) = (part.lines for part in found(tmp_path).splits)
    assert line.text == expected
    assert unicodedata.is_normalized("NFC", line.text)


def test_the_vocabulary_is_of_the_training_texts_and_other_characters_are_counted_as_unseen(tmp_path, caplog):
    for seed, (split, text) in enumerate({"train": "cab ca", "validation": "axb", "test": "é b"}.items()):
        write_pair(tmp_path / split, "line", text, seed)
    schema = found(tmp_path).schema
    assert schema.vocabulary == (" ", "a", "b", "c")
    assert schema.unseen == ("x", "é")
    assert schema.characters == (" ", "a", "b", "c", "x", "é")
    assert "no training text has the characters x é; they count as errors" in caplog.text


def test_writing_from_right_to_left_is_told_of(tmp_path, caplog):
    write_pair(tmp_path, "a", "שלום")
    found(tmp_path)
    assert "1 lines have writing from right to left, the first a.png" in caplog.text


# Canvas


@pytest.mark.parametrize(
    ("width", "most", "canvas", "size"),
    [(300, 1536, 320, (48, 300)), (320, 1536, 320, (48, 320)), (321, 1536, 352, (48, 321)), (900, 450, 480, (24, 450))],
)
def test_the_canvas_is_as_wide_as_the_widest_line_rounded_up_to_32(tmp_path, width, most, canvas, size):
    write_pair(tmp_path, "a", "abc", width=width)
    write_pair(tmp_path, "b", "abc", 1, width=40)
    source = found(tmp_path, max_width=most)
    assert source.schema.image_shape == (48, canvas, 1)
    assert size in {line.size for part in source.splits for line in part.lines}


def test_lines_that_are_scaled_down_and_much_background_are_told_of(tmp_path, caplog):
    write_pair(tmp_path, "a", "abc", width=3000)
    for number in range(9):
        write_pair(tmp_path, f"b{number}", "abc", number, width=100)
    with caplog.at_level("INFO"):
        found(tmp_path)
    assert "10 lines on a canvas of 48×1536; 84 % of it is background to the right" in caplog.text
    assert "a few wide lines make all records large; --max-width below 1536 scales them down" in caplog.text
    assert "1 lines wider than --max-width 1536 are scaled down" in caplog.text


def test_a_line_that_was_scaled_down_too_much_for_its_text_is_rejected(tmp_path):
    write_pair(tmp_path, "a", "abc", width=100)
    write_pair(tmp_path, "b", "ab" * 10, 1, width=900)
    assert rejected(found(tmp_path, max_width=79)) == {"b.png": "too-narrow"}
    assert rejected(found(tmp_path, max_width=80)) == {}


# Examples


def test_each_example_is_its_picture_and_text_with_their_lengths_and_the_rest_is_nothing(line_pairs, small_lines):
    described = manifest.read(small_lines)
    for split in SPLITS:
        lines = read_lines(small_lines, split)
        assert texts(small_lines, split) == sorted(
            (line_pairs / name).with_suffix(".gt.txt").read_text().strip()
            for name in listed(found(line_pairs, group_pattern=PAGE_PATTERN))[split]
        )
        for image, width, text, length in zip(
            *(lines[name] for name in ("image", "width", "text", "text_length")), strict=True
        ):
            assert width == 300
            assert image[:, 200:width].any()
            assert not image[:, width:].any()
            assert not text[length:].any()
        assert set(lines["group"]) <= set(range(10))
        assert len(set(lines["group"])) == described.splits[split].num_groups


def test_a_line_is_found_again_by_what_is_kept_of_its_origin(line_pairs, small_lines):
    for split in SPLITS:
        notes = [
            json.loads(line)
            for line in gzip.decompress((small_lines / f"examples-{split}.jsonl.gz").read_bytes()).splitlines()
        ]
        images = read_lines(small_lines, split)["image"][..., 0]
        assert len(notes) == len(images)
        for note, image in zip(notes, images, strict=True):
            assert note["group"] == note["page"] == note["source"][:3]
            expected, _ = line_images.read((line_pairs / note["source"]).read_bytes(), (48, 300), 48)
            np.testing.assert_array_equal(image[:, :300], expected)


def test_a_name_that_is_not_utf_8_stays_known(tmp_path):
    write_pair(tmp_path, "caf\udce9", "abc")
    ((part,),) = (found(tmp_path).splits,)
    (block,) = part.read(4)
    assert isinstance(block, Block)
    assert json.loads(block.notes[0]) == {"source": "caf\udce9.png", "group": "caf\udce9.png"}


def test_the_first_lines_by_their_content_are_taken_if_only_some_are_wanted(line_pairs):
    every, some = listed(found(line_pairs)), listed(found(line_pairs, max_examples_per_split=3))
    assert {split: len(names) for split, names in some.items()} == dict.fromkeys(SPLITS, 3)
    assert all(set(some[split]) <= set(every[split]) for split in SPLITS)


# Rejected lines


@pytest.fixture
def spoiled(line_pairs, tmp_path) -> Path:
    """The lines, and four that are none: one has no text, one no picture, one no pixels, one no ink."""
    copy = Path(shutil.copytree(line_pairs, tmp_path / "lines"))
    (copy / "alone.png").write_bytes(png(strokes(77)))
    (copy / "alone too.gt.txt").write_text("abc")
    write_pair(copy, "damaged", "abc").write_bytes(b"\x89PNG\r\n\x1a\n")
    write_pair(copy, "blank", "abc").write_bytes(png(np.full((48, 300), 230, np.uint8)))
    return copy


def test_too_many_rejected_lines_end_the_job_with_a_table_of_reasons_and_leave_their_list(spoiled, tmp_path, capsys):
    arguments = ("--dataset", "mine/lines", "--source", str(spoiled), "--data-dir", str(tmp_path / "data"))
    assert main.main([*arguments, "--max-rejected", "3"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    beside = tmp_path / "data" / "mine" / "lines" / "rejected.jsonl"
    assert error.startswith(f"error: 4 lines were rejected, --max-rejected allows 3; see {beside}; ")
    for part in (
        "no-picture 1",
        "no-text 1",
        "cannot-decode 1",
        "no-ink 1",
        "; the first: alone too.gt.txt: has no picture",
    ):
        assert part in error
    rows = [json.loads(line) for line in beside.read_text().splitlines()]
    assert {row["path"]: row["problem"] for row in rows} == {
        "alone.png": "no-text",
        "alone too.gt.txt": "no-picture",
        "damaged.png": "cannot-decode",
        "blank.png": "no-ink",
    }
    assert not (tmp_path / "data" / "mine" / "lines" / "1.0.0").exists()


def test_some_may_be_rejected_and_the_others_are_as_without_them(spoiled, small_lines, tmp_path):
    asked = config(spoiled, where=tmp_path / "data", group_pattern=r"(?P<page>\d+)-|(?:.)", max_rejected=4)
    folder = Path(pipeline.run(asked))
    assert manifest.read(folder).num_rejected == 4
    every = sorted(text for split in SPLITS for text in texts(folder, split))
    assert every == sorted(text for split in SPLITS for text in texts(small_lines, split))
    assert len((folder / "rejected.jsonl").read_text().splitlines()) == 4


def test_if_no_line_is_left_the_reasons_are_counted(tmp_path):
    for name in ("a", "b"):
        write_pair(tmp_path, name, " ", ord(name))
    (tmp_path / "c.gt.txt").write_text("abc")
    with pytest.raises(
        InputError, match=r"no line is left: no-picture 1, no-text 2; the first: c.gt.txt: has no picture"
    ):
        found(tmp_path)


# Several sources


def test_two_sources_of_lines_are_one_dataset(line_pairs, tmp_path):
    write_table(tmp_path / "others", [("x.png", "xyz", "w1"), ("y.png", "zyx", "w2")], "file text writer")
    for name, seed in (("x", 901), ("y", 902)):
        (tmp_path / "others" / f"{name}.png").write_bytes(png(strokes(seed, width=400)))
    source = found(line_pairs, tmp_path / "others")
    assert sum(map(len, listed(source).values())) == 42
    assert set("xyz") <= set(source.schema.characters)
    assert source.schema.image_shape == (48, 416, 1)
    assert [file.name for file in source.files] == ["lines", "others"]


def test_the_same_lines_twice_are_taken_once_and_the_copies_named_or_refused(line_pairs, tmp_path):
    again = shutil.copytree(line_pairs, tmp_path / "again")
    source, once = found(line_pairs, again), found(line_pairs, strict=True)
    assert listed(source) == listed(once)
    names = [(name, "copy") for members in listed(once).values() for name in members]
    assert sorted((one.path, one.problem) for one in source.left_out) == sorted(names)
    assert once.left_out == ()
    with pytest.raises(InputError, match=r"--strict: left out: copy 40; the first: .*: is a copy of another"):
        found(line_pairs, again, strict=True)


def test_one_picture_with_two_texts_is_refused(line_pairs, tmp_path):
    again = Path(shutil.copytree(line_pairs, tmp_path / "again"))
    (again / "003-1.gt.txt").write_text("another text")
    with pytest.raises(InputError, match=r"003-1.png: is the same picture as 003-1.png, with another text"):
        found(line_pairs, again)


def test_one_picture_in_two_splits_is_refused(tmp_path):
    for split in ("train", "test"):
        write_pair(tmp_path / split, "a", "abc")
    with pytest.raises(InputError, match=r"train/a.png: is the same picture as test/a.png, in another split"):
        found(tmp_path)


def test_lines_and_characters_do_not_mix(line_pairs, tmp_path, make_source):
    characters = make_source("emnist/digits").folder
    (tmp_path / "pictures" / "A").mkdir(parents=True)
    (tmp_path / "pictures" / "A" / "1.png").write_bytes(png(strokes(1)))
    for other in (characters, tmp_path / "pictures"):
        for sources in ((line_pairs, other), (other, line_pairs)):
            with pytest.raises(InputError, match=f"--source {other}: holds no lines, as --source .* does"):
                found(*sources)
    (tmp_path / "both").mkdir()
    write_pairs(tmp_path / "both", 2)
    (tmp_path / "both" / "labels.csv").write_text("file,label\n000-0.png,A\n")
    with pytest.raises(InputError, match=r"holds both lines and labels.csv; remove one"):
        found(tmp_path / "both")
    with pytest.raises(InputError, match="--dataset emnist/digits: is of characters; lines have a name of your own"):
        found(line_pairs, dataset="emnist/digits")


# Flags


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--line-height", "0"), "--line-height 0: must be at least 1"),
        (("--line-height", "5000"), "--line-height 5000: must be from 8 to 1024"),
        (("--max-width", "3"), "--max-width 3: must be from 32 to 65536"),
        (("--group-pattern", "("), "--group-pattern (: is no regular expression"),
        (("--group-by", "author"), "author"),
        (("--encoding", "klingon"), "'klingon' is no encoding"),
        (("--image-size", "28x28"), "--image-size: is for characters; the sources hold lines"),
        (("--classes", "a"), "--classes: is for characters; the sources hold lines"),
        (("--texts", "/"), "--texts: is for lines that are composed; no --source compose:… is given"),
        (("--num-lines", "9"), "--num-lines: is for lines that are drawn or composed"),
        (("--require-official",), "--require-official: not identical to a published file: lines"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused_in_one_line(line_pairs, tmp_path, capsys, flags, complaint):
    arguments = ("--dataset", "mine/lines", "--source", str(line_pairs), "--data-dir", str(tmp_path / "data"))
    assert main.main([*arguments, *flags]) == 2
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert complaint in errors[0]
    assert printed.err.splitlines()[-1:] == errors
    assert printed.out == ""
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("flag", ["group_by", "group_pattern", "num_lines", "texts"])
def test_flags_of_lines_are_refused_for_characters(make_source, flag):
    value = {"group_by": "page", "num_lines": 9}.get(flag, "x")
    with pytest.raises(
        InputError, match=f"--{flag.replace('_', '-')}: is for lines of text; the sources hold characters"
    ):
        found(make_source("emnist/digits").folder, dataset="emnist/digits", **{flag: value})


def test_a_folder_that_cannot_be_written_is_said_in_one_line(line_pairs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ("--dataset", "mine/lines", "--source", str(line_pairs), "--data-dir", str(tmp_path / "file"))
    assert main.main(list(arguments)) == 2
    assert "Not a directory" in capsys.readouterr().err.splitlines()[-1]


def test_it_works_where_the_source_may_only_be_read(line_pairs, small_lines, tmp_path):
    """Nothing is written beside the pictures."""
    before = contents(line_pairs)
    pipeline.run(config(line_pairs, where=tmp_path, group_pattern=PAGE_PATTERN))
    assert contents(line_pairs) == before
    assert contents(tmp_path / "mine/lines/1.0.0") == contents(small_lines)
    assert EVERY_CHARACTER[0] in manifest.read(small_lines).schema.vocabulary


def test_real_lines_are_read_by_writer_and_none_is_refused(real_data):
    source = found(real_data / "lines" / "testaments-de-poilus")
    groups = groups_of(source)
    assert source.lines.group_by == "writer"
    assert [len(groups[split]) for split in ("train", "validation", "test")] == [101, 14, 13]
    assert source.rejected == ()
    assert {split: len(names) for split, names in listed(source).items()} == {
        "train": 1907,
        "validation": 269,
        "test": 377,
    }
    part = next(part for part in source.splits if part.split == "validation")
    (block,) = part.read(len(part.lines))
    assert len(block.example_ids) == len(part.lines)
