"""Folders of classes: the names that people give them, and how deep they lie."""

import unicodedata
from pathlib import Path

import pytest

from common.errors import InputError
from preprocess.sources import class_folders


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def classes(root: Path) -> dict[str, tuple[str, str]]:
    """The split and class of each file, by its path."""
    files = class_folders.list_files(root).files
    return {str(Path(file.path).relative_to(root)): (file.split, file.name) for file in files}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("A", "A"), ("upper_a", "A"), ("lower_A", "a"), ("digit_7", "7"), ("upper_\u00e9", "\u00c9"), (" A ", "A"),
        (unicodedata.normalize("NFD", "\u00e9"), "\u00e9"), ("upper_ab", "upper_ab"), ("two words", "two words"),
        ("\u3042", "\u3042"), ("41", "41"), ("_", "_"),
    ],
)  # fmt: skip
def test_a_name_is_text(folder, name, tmp_path):
    assert classes(tree(tmp_path, f"{folder}/1.png", "Z/1.png"))[f"{folder}/1.png"] == ("", name)


def test_folders_that_are_one_class_are_named(tmp_path):
    listing = class_folders.list_files(tree(tmp_path, "upper_a/1.png", "A/2.png", "B/1.png", "A /3.png"))
    assert {name: set(folders) for name, folders in listing.merged.items()} == {"A": {"A", "A ", "upper_a"}}
    assert sorted(file.name for file in listing.files) == ["A", "A", "A", "B"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("by_class/41/hsf_0/1.png", "by_class/7a/hsf_4/2.png"), {"A", "z"}),
        (("41/train_41/1.png", "30/train_30/1.png"), {"A", "0"}),
        (("41/1.png", "6b/1.png"), {"A", "k"}),
        (("30/1.png", "31/1.png", "41/1.png"), {"30", "31", "41"}),
        (("41/1.png", "1f/1.png"), {"41", "1f"}),
        (("10/hsf_0/1.png", "41/hsf_0/1.png"), {"10", "41"}),
        (("30/anna/1.png", "31/anna/1.png"), {"30", "31"}),
    ],
)
def test_codes_as_in_nists_database_are_characters_and_numbers_are_not(names, expected, tmp_path):
    assert {name for _, name in classes(tree(tmp_path, *names)).values()} == expected


def test_a_folder_that_holds_the_folders_of_classes_is_none(tmp_path):
    found = classes(tree(tmp_path, "mine/letters/A/w1/1.png", "mine/letters/B/w1/1.png"))
    assert set(found.values()) == {("", "A"), ("", "B")}


def test_one_character_with_folders_for_writers_is_one_class(tmp_path):
    assert set(classes(tree(tmp_path, "A/w1/1.png", "A/w2/1.png")).values()) == {("", "A")}


@pytest.mark.parametrize("above", ["", "data/"])
def test_splits_have_the_names_that_people_give_them(above, tmp_path):
    names = ("training/A/1.png", "Valid/A/1.png", "val/B/w/1.png", "TEST/A/1.png", "A/1.png", "train/notes.txt")
    listing = class_folders.list_files(tree(tmp_path, *(above + name for name in names)))
    assert {(file.split, file.name) for file in listing.files} == {
        ("train", "A"), ("validation", "A"), ("validation", "B"), ("test", "A"),
    }  # fmt: skip
    problems = {str(Path(one.path).relative_to(tmp_path / above)): one.problem for one in listing.left_out}
    assert problems == {"A/1.png": "beside-splits", "train/notes.txt": "no-class"}


def test_a_split_may_be_the_only_one(tmp_path):
    listing = class_folders.list_files(tree(tmp_path, "train/B/w/1.png", "train/A/w/2.png", "train/A-1/w/1.png"))
    assert [(file.split, file.name) for file in listing.files] == [("train", "A-1"), ("train", "A"), ("train", "B")]


def test_a_class_may_be_called_as_a_split_where_there_are_none(tmp_path):
    assert {name for _, name in classes(tree(tmp_path, "dev/1.png", "ops/1.png")).values()} == {"dev", "ops"}


def test_links_are_followed_but_not_in_circles(tmp_path):
    tree(tmp_path, "pictures/A/1.png", "pictures/B/1.png", "elsewhere/2.png")
    root = tmp_path / "pictures"
    (root / "C").symlink_to(tmp_path / "elsewhere")
    (root / "A" / "again").symlink_to(root)
    (root / "B" / "lost.png").symlink_to("nowhere")
    listing = class_folders.list_files(root)
    assert {Path(file.path).relative_to(root).as_posix() for file in listing.files} == {
        "A/1.png", "B/1.png", "B/lost.png", "C/2.png",
    }  # fmt: skip
    assert [(one.path, one.problem) for one in listing.left_out] == [(str(root / "A" / "again"), "loop")]


@pytest.mark.parametrize(("name", "shown"), [(" ", "' '"), ("caf\udce9", r"'caf\\udce9'"), ("a\tb", r"'a\\tb'")])
def test_what_cannot_be_written_is_no_name(name, shown, tmp_path):
    with pytest.raises(InputError, match=rf"lies in a folder named {shown}, which is no name of a class"):
        class_folders.list_files(tree(tmp_path, f"{name}/1.png", "A/1.png"))
