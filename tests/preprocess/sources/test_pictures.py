"""Folders of pictures: people's own handwriting."""

import errno
import gzip
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from common import storage
from common.dataset import manifest
from common.errors import InputError
from common.normalize import picture
from common.normalize.picture import read
from common.storage import gcs
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from preprocess.sources import synthetic
from tests.support.datasets import as_set, read_split

CHARACTERS = "0Aag"


_SEED = 6  # draws none over twice as wide as high, which would pass for several characters


def ink(character: str, number: int) -> np.ndarray:
    """A drawn character, light on dark, with paper on all sides: uint8 [144, 144]."""
    return np.pad(synthetic.draw(character, np.random.default_rng([_SEED, ord(character), number])), 8)


def save(path: Path, pixels: np.ndarray, **settings) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **settings)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """160 PNG pictures, black on white; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("drawn") / "pictures"
    for character in CHARACTERS:
        name = f"lower_{character}" if character.islower() else character
        for number in range(40):
            save(folder / name / f"{number}.png", 255 - ink(character, number))
    return folder


@pytest.fixture(scope="module")
def made(drawn, tmp_path_factory) -> Path:
    """The dataset folder that is made of them; tests leave it as it is."""
    return Path(pipeline.run(config(drawn, tmp_path_factory.mktemp("made"))))


@pytest.fixture
def folder(drawn, tmp_path) -> Path:
    """A copy of the pictures, which a test may change."""
    return Path(shutil.copytree(drawn, tmp_path / "pictures"))


def config(folder: Path, data_dir: Path, dataset: str = "mine/letters", **changes) -> PreprocessConfig:
    return PreprocessConfig(dataset, (str(folder),), str(data_dir), **changes)


def all_examples(folder: Path) -> set[tuple[bytes, int]]:
    return set().union(*(as_set(*read_split(folder, split)) for split in manifest.read(folder).splits))


def test_pictures_become_what_their_conversion_makes_of_them(drawn, made):
    loaded = manifest.read(made)
    assert loaded.class_names == tuple("0Aag")
    expected = {
        (read(path.read_bytes())[0].tobytes(), "0Aag".index(path.parent.name[-1])) for path in drawn.glob("*/*.png")
    }
    assert len(expected) == 160
    assert all_examples(made) == expected
    assert set(loaded.splits) == {"train", "validation", "test"}


@pytest.mark.parametrize("form", ["white on black", "transparent", "rgb jpeg", "16 bit tiff", "large", "grey paper"])
def test_polarity_format_and_size_do_not_matter(tmp_path, form):
    pixels = ink("g", 3)
    plain, picture, buffer = 255 - pixels, Image.fromarray(255 - pixels), io.BytesIO()
    match form:
        case "white on black":
            Image.fromarray(pixels).save(buffer, "PNG")
        case "transparent":
            Image.merge("RGBA", [Image.new("L", picture.size)] * 3 + [Image.fromarray(pixels)]).save(buffer, "PNG")
        case "rgb jpeg":
            picture.convert("RGB").save(buffer, "JPEG", quality=85)
        case "16 bit tiff":
            Image.fromarray(plain.astype(np.uint16) * 257).save(buffer, "TIFF")
        case "large":
            picture.resize((900, 900), Image.Resampling.BICUBIC).save(buffer, "PNG")
        case "grey paper":
            Image.fromarray((plain * 0.6 + 40).astype(np.uint8)).save(buffer, "PNG")
    reference = io.BytesIO()
    picture.save(reference, "PNG")
    expected, _ = read(reference.getvalue())
    image, problem = read(buffer.getvalue())
    assert problem == ""
    assert np.abs(image.astype(int) - expected).mean() < 6


def test_adding_pictures_moves_none_between_splits(folder, made, tmp_path):
    for number in range(50, 80):
        save(folder / "A" / f"{number}.png", 255 - ink("A", number))
    after = Path(pipeline.run(config(folder, tmp_path / "after")))
    for split in manifest.read(made).splits:
        assert as_set(*read_split(made, split)) <= as_set(*read_split(after, split))
    assert len(all_examples(after)) == 190


def test_another_version_of_the_conversion_makes_another_dataset(folder, tmp_path, monkeypatch):
    made_before = config(folder, tmp_path / "data")
    assert manifest.read(Path(pipeline.run(made_before))).request.conversion == picture.VERSION
    monkeypatch.setattr(picture, "VERSION", picture.VERSION + 1)
    with pytest.raises(InputError, match=r"made from another request \(different conversion\)"):
        pipeline.run(made_before)


def test_names_of_files_and_the_place_of_the_folder_do_not_matter(folder, made, tmp_path):
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(path.with_name(f"renamed-{999 - number}.png"))
    shutil.move(folder, tmp_path / "moved" / "pictures")
    other = manifest.read(Path(pipeline.run(config(tmp_path / "moved" / "pictures", tmp_path / "other"))))
    assert other.data_fingerprint == manifest.read(made).data_fingerprint


def test_train_and_test_may_be_given(folder, tmp_path):
    for split in ("train", "test"):
        for character in ("A", "0"):
            (tmp_path / "divided" / split / character).mkdir(parents=True)
    for path in folder.rglob("*.png"):
        if path.parent.name in ("A", "0"):
            split = "test" if int(path.stem) < 5 else "train"
            shutil.copy(path, tmp_path / "divided" / split / path.parent.name / path.name)
    data = Path(pipeline.run(config(tmp_path / "divided", tmp_path / "data")))
    splits = manifest.read(data).splits
    assert splits["test"].num_examples == 10
    assert splits["train"].num_examples + splits["validation"].num_examples == 70


def test_tests_are_drawn_of_the_training_pictures_if_there_are_none(folder, made, tmp_path):
    shutil.move(folder, tmp_path / "divided" / "train")
    of_train = Path(pipeline.run(config(tmp_path / "divided", tmp_path / "data")))
    assert manifest.read(of_train).data_fingerprint == manifest.read(made).data_fingerprint


def test_pictures_for_tests_alone_are_refused(folder, tmp_path):
    shutil.move(folder, tmp_path / "divided" / "test")
    with pytest.raises(InputError, match="the sources hold no example for training, only for validation or test"):
        pipeline.run(config(tmp_path / "divided", tmp_path / "data"))


def test_pictures_have_no_orientation_to_name(folder, tmp_path):
    with pytest.raises(InputError, match="--orientation: is for arrays of images; the sources hold pictures"):
        pipeline.run(config(folder, tmp_path / "data", orientation="transposed"))


def test_a_table_may_name_the_classes(folder, made, tmp_path):
    rows = [f"{path.relative_to(folder)},{path.parent.name[-1]}\n" for path in sorted(folder.rglob("*.png"))]
    (folder / "labels.csv").write_text("file,label\n" + "".join(rows))
    by_table = manifest.read(Path(pipeline.run(config(folder, tmp_path / "data"))))
    assert by_table.data_fingerprint == manifest.read(made).data_fingerprint


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("../secret.png,A", "line 2: '../secret.png' is not a path below"),
        ("/etc/passwd,A", "is not a path below"),
        ("none.png,A", "none.png: no such file"),
        ("A/0.png,", "needs a label"),
        ("A/0.png,A,tset", "line 2: its split 'tset' is none of train, validation, test"),
    ],
)
def test_a_bad_line_of_the_table_is_named(folder, tmp_path, line, complaint):
    (folder / "labels.csv").write_text(f"file,label,split\n{line}\n")
    with pytest.raises(InputError, match=complaint):
        pipeline.run(config(folder, tmp_path / "data"))


def test_a_table_names_what_no_file_can_be_called_in_any_encoding(folder, tmp_path):
    rows = [(path.relative_to(folder), {"A": "/", "0": "é"}.get(path.parent.name)) for path in folder.rglob("*.png")]
    table = "Label;Split;File\n" + "".join(f"{name};;{path}\n" for path, name in rows if name)
    for encoding, content in (("utf-8", table.encode("utf-16")), ("cp1252", table.encode("cp1252"))):
        (folder / "labels.csv").write_bytes(content)
        data = pipeline.run(config(folder, tmp_path / encoding, encoding=encoding))
        assert manifest.read(Path(data)).class_names == ("/", "é")


def test_a_table_without_columns_is_refused(folder, tmp_path):
    (folder / "labels.csv").write_text("A/0.png,A\n")
    with pytest.raises(InputError, match="must name the columns file and label"):
        pipeline.run(config(folder, tmp_path / "data"))


@pytest.fixture
def spoiled(folder) -> Path:
    (folder / "A" / "broken.png").write_bytes((folder / "A" / "0.png").read_bytes()[:300])
    (folder / "A" / "notes.txt").write_text("not a picture")
    (folder / "A" / ".DS_Store").write_bytes(b"of no interest")
    save(folder / "A" / "blank.png", np.full((50, 50), 255, np.uint8))
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    (folder / "A" / "bomb.png").write_bytes(bomb.getvalue())
    return folder


def test_unreadable_pictures_fail_the_job_and_are_listed(spoiled, tmp_path):
    with pytest.raises(InputError, match=r"3 pictures were rejected, --max-rejected allows 0; see .*rejected.jsonl"):
        pipeline.run(config(spoiled, tmp_path / "data"))
    assert not (tmp_path / "data/mine/letters/1.0.0").exists()
    listed = [json.loads(line) for line in (tmp_path / "data/mine/letters/rejected.jsonl").read_text().splitlines()]
    reasons = {Path(row["path"]).name: row["reason"] for row in listed}
    assert reasons.keys() == {"broken.png", "blank.png", "bomb.png"}
    problems = {Path(row["path"]).name: row["problem"] for row in listed}
    assert problems == {
        "broken.png": "cannot-decode", "blank.png": "no-ink", "bomb.png": "too-large",
    }  # fmt: skip
    assert "cannot be decoded" in reasons["broken.png"]
    assert "no writing" in reasons["blank.png"]
    assert "12000×12000 pixels" in reasons["bomb.png"]


def test_some_may_be_unreadable_if_so_many_are_allowed(spoiled, tmp_path):
    beside = tmp_path / "data/mine/letters/rejected.jsonl"
    beside.parent.mkdir(parents=True)
    beside.write_text("left by a run that allowed none\n")
    data = Path(pipeline.run(config(spoiled, tmp_path / "data", max_rejected=3)))
    assert manifest.read(data).num_rejected == 3
    assert len((data / "rejected.jsonl").read_text().splitlines()) == 3
    assert not beside.exists()
    assert len(all_examples(data)) == 160
    with pytest.raises(InputError, match=r"3 pictures were rejected when it was made, --max-rejected allows 2"):
        pipeline.run(config(spoiled, tmp_path / "data", max_rejected=2))


def test_a_name_that_is_not_utf_8_can_be_rejected(folder, tmp_path):
    (folder / "A" / "caf\udce9.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"A/caf\\udce9\.png: is not a picture"):
        pipeline.run(config(folder, tmp_path / "data"))


def test_a_picture_that_the_disk_does_not_give_is_rejected(folder, made, tmp_path, monkeypatch):
    """Its owner may forbid to read it, and a link may lead nowhere."""
    unreadable = [folder / "0" / "link.png", folder / "A" / "link.png", folder / "A" / "secret.png"]
    for path in unreadable[:2]:
        path.symlink_to("nowhere")
    shutil.copy(folder / "A" / "0.png", unreadable[2])
    read_bytes = Path.read_bytes

    def read_unless_secret(path: Path) -> bytes:
        if path.name == "secret.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read_unless_secret)
    data = Path(pipeline.run(config(folder, tmp_path / "data", max_rejected=3)))
    listed = [json.loads(line) for line in (data / "rejected.jsonl").read_text().splitlines()]
    assert [(row["path"], row["problem"]) for row in listed] == [(str(path), "cannot-decode") for path in unreadable]
    reasons = ["cannot be read (No such file or directory)"] * 2 + ["cannot be read (Permission denied)"]
    assert [row["reason"] for row in listed] == reasons
    assert all_examples(data) == all_examples(made)


def test_a_picture_that_a_bucket_does_not_give_ends_the_job(bucket, monkeypatch):
    storage.write(storage.to_path(f"{bucket}/pictures/A/0.png"), b"")

    def fail(_) -> None:
        raise requests.ConnectionError("unreachable")

    monkeypatch.setattr(gcs, "read", fail)
    with pytest.raises(requests.ConnectionError):
        pipeline.run(PreprocessConfig("mine/letters", (f"{bucket}/pictures",), f"{bucket}/data", max_rejected=9))


def test_pictures_may_lie_in_folders_below_that_of_their_class(folder, made, tmp_path):
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        deeper = path.parent / f"writer-{number % 3}" / "page 1"
        deeper.mkdir(parents=True, exist_ok=True)
        path.rename(deeper / path.name)
    nested = manifest.read(Path(pipeline.run(config(folder, tmp_path / "data"))))
    assert nested.data_fingerprint == manifest.read(made).data_fingerprint


def test_a_folder_for_validation_is_taken_whole_and_none_is_drawn(folder, tmp_path):
    divided = tmp_path / "divided"
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        split = ("Train", "Train", "val", "test")[number % 4]
        (divided / split / path.parent.name).mkdir(parents=True, exist_ok=True)
        path.rename(divided / split / path.parent.name / path.name)
    loaded = manifest.read(Path(pipeline.run(config(divided, tmp_path / "data"))))
    assert {name: split.num_examples for name, split in loaded.splits.items()} == {
        "train": 80, "validation": 40, "test": 40,
    }  # fmt: skip


def test_what_is_left_out_is_counted_and_named_and_refused_if_that_is_wanted(folder, made, tmp_path):
    (folder / "A" / "notes.txt").write_text("not a picture")
    (folder / "A" / ".DS_Store").write_bytes(b"of no interest")
    (folder / "__MACOSX" / "A").mkdir(parents=True)
    (folder / "__MACOSX" / "A" / "._0.png").write_bytes(b"of no interest")
    (folder / "B").mkdir()
    (folder / "readme.md").write_text("about these")
    shutil.copy(folder / "A" / "0.png", folder / "A" / "again.png")
    pages = [Image.fromarray(255 - ink("0", number)) for number in (50, 51)]
    pages[0].save(folder / "0" / "pages.tif", save_all=True, append_images=pages[1:])
    expected = {
        "A/notes.txt": "no-picture", "A/.DS_Store": "hidden", "__MACOSX/A/._0.png": "hidden", "B": "empty-folder",
        "readme.md": "no-class", "A/again.png": "copy", "0/pages.tif": "later-pages",
    }  # fmt: skip
    data = Path(pipeline.run(config(folder, tmp_path / "data")))
    listed = [json.loads(line) for line in (data / "left-out.jsonl").read_text().splitlines()]
    assert {str(Path(row["path"]).relative_to(folder)): row["problem"] for row in listed} == expected
    counts = {name: count for name, count in manifest.read(data).counts.items() if name.startswith("left out")}
    assert counts == {f"left out, {problem}": 1 for problem in expected.values()} | {"left out, hidden": 2}
    assert len(all_examples(data)) == 161
    with pytest.raises(InputError, match=r"--strict: left out: .*hidden 2.*; the first: "):
        pipeline.run(config(folder, tmp_path / "data", strict=True))
    (folder / "A" / "notes.txt").rename(folder / "A" / "notes.png")
    with pytest.raises(InputError, match=r"1 pictures were rejected.*notes.png: is not a picture"):
        pipeline.run(config(folder, tmp_path / "other"))


def test_pictures_in_two_classes_are_counted_and_the_first_are_named(folder, tmp_path):
    for number in range(7):
        shutil.copy(folder / "A" / f"{number}.png", folder / "0" / f"again\n{number}.png")
    with pytest.raises(InputError) as caught:
        pipeline.run(config(folder, tmp_path / "data"))
    message = str(caught.value)
    assert message.startswith(f"{folder}: pictures that lie in two classes or splits: 7, the first: ")
    assert r"'0/again\n0.png' and 'A/0.png'; " in message
    assert r"'0/again\n4.png' and 'A/4.png'; remove one of each" in message
    assert "again\\n5" not in message and "\n" not in message


def test_the_same_picture_twice_is_one_example(folder, tmp_path):
    shutil.copy(folder / "A" / "0.png", folder / "A" / "again.png")
    assert len(all_examples(Path(pipeline.run(config(folder, tmp_path / "data"))))) == 160


def test_pictures_may_join_emnist_when_their_classes_agree(make_source, folder, tmp_path):
    emnist = make_source("emnist/byclass")
    together = config(folder, tmp_path / "data", "emnist/byclass", drop_leaked=True)
    together = PreprocessConfig(**(vars(together) | {"source": (str(emnist.folder), str(folder))}))
    data = Path(pipeline.run(together))
    loaded = manifest.read(data)
    assert loaded.request.conversion == picture.VERSION
    splits = loaded.splits
    assert sum(split.num_examples for split in splits.values()) == 600 + 130 + 160
    origins = [
        json.loads(line) for line in gzip.decompress((data / "examples-train.jsonl.gz").read_bytes()).splitlines()
    ]
    assert len(origins) == splits["train"].num_examples
    prefixes = ("emnist/byclass/train#", "0/", "A/", "lower_a/", "lower_g/")
    assert {prefix for prefix in prefixes for origin in origins if origin["source"].startswith(prefix)} == set(prefixes)
    upper_a, lower_g = splits["train"].class_histogram[10], splits["train"].class_histogram[42]
    assert min(upper_a, lower_g) > 20


def test_a_class_that_the_dataset_does_not_have_is_refused(make_source, folder, tmp_path):
    emnist = make_source("emnist/digits")
    settings = config(folder, tmp_path / "data", "emnist/digits")
    settings = PreprocessConfig(**(vars(settings) | {"source": (str(emnist.folder), str(folder))}))
    with pytest.raises(InputError, match="class 'A' is none of emnist/digits; known: 0 1 2"):
        pipeline.run(settings)


def test_merged_classes_take_either_case(tmp_path):
    for name in ("upper_C", "lower_c", "lower_a"):
        for number in range(30):
            save(tmp_path / "pictures" / name / f"{number}.png", 255 - ink(name[-1], number))
    data = Path(pipeline.run(config(tmp_path / "pictures", tmp_path / "data", "emnist/balanced")))
    loaded = manifest.read(data)
    counts = np.sum([split.class_histogram for split in loaded.splits.values()], axis=0)
    assert {loaded.class_names[label]: int(counts[label]) for label in np.flatnonzero(counts)} == {"C": 60, "a": 30}


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "pictures" / "A").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no picture"):
        pipeline.run(config(tmp_path / "pictures", tmp_path / "data"))
