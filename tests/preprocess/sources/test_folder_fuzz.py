"""Random folders of pictures: every file is an example, or left out by name, or the folder is refused in one line."""

import io
import os
import random
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from preprocess.config import PreprocessConfig
from preprocess.sources.base import Source
from preprocess.sources.discover import discover

FOLDERS = (
    *("A", "B", "upper_a", " A", "e\u0301", "\u00e9", "41", "7a", "hsf_0", "train", "val", "Test", "by_class", "w 1"),
    *("__MACOSX", ".git", "\u3042", "a\udce9b", "x" * 200),
)
FILES = (
    *("1.png", "2.PNG", "3.tif", "notes.txt", "no suffix", ".DS_Store", "Thumbs.db", "caf\udce9.png", "new\nline.png"),
    *("labels.md", "-1.png", "*.png", "x" * 200 + ".png"),
)


def picture(number: int, form: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (9, 9), np.uint8)
    Image.fromarray(pixels).save(buffer, form, **settings)
    return buffer.getvalue()


PICTURES = [picture(number, "PNG") for number in range(9)]
CONTENTS = [
    *PICTURES,
    *PICTURES,
    picture(9, "TIFF"),
    picture(9, "GIF"),
    picture(9, "JPEG"),
    b"",
    b"text",
    PICTURES[0][:40],
]


def grow(folder: Path, draw: random.Random, depth: int) -> None:
    folder.mkdir(exist_ok=True)
    for name in draw.sample(FILES, draw.randrange(4)):
        path = folder / name
        match draw.randrange(12):
            case 0:
                path.symlink_to(draw.choice(["nowhere", folder, folder.parent, "/dev/null"]))
            case 1 if draw.random() < 0.2:
                os.mkfifo(path)
            case _:
                path.write_bytes(draw.choice(CONTENTS))
    for name in draw.sample(FOLDERS, draw.randrange(5 - depth)):
        grow(folder / name, draw, depth + 1)


def number_of_files(folder: Path, above: tuple[Path, ...] = ()) -> int:
    real = folder.resolve()
    if real in above:
        return 0
    return sum(number_of_files(path, (*above, real)) if path.is_dir() else 1 for path in folder.iterdir())


def check(root: Path, seed: int) -> bool:
    """Whether the folder was read; it may as well be refused."""
    grow(root, random.Random(seed), 0)
    try:
        source = discover(PreprocessConfig("mine/own", (str(root),), str(root / "data")))
    except InputError as error:
        assert "\n" not in str(error).replace("new\nline.png", "")
        return False
    examples = sum(len(split.pictures) for split in source.splits)
    others = sum(one.problem != "later-pages" and not Path(one.path).is_dir() for one in source.left_out)
    assert examples + others == number_of_files(root)
    check_packed(root, source)
    return True


def check_packed(root: Path, source: Source) -> None:
    """A zip of the folder lists what the folder does, but for what an archive cannot hold."""
    packed = root.parent / f"{root.name}.zip"
    paths = [path for path in sorted(root.rglob("*")) if not path.is_symlink()]
    if any("\udce9" in str(path) for path in paths) or len(paths) < len(list(root.rglob("*"))):
        return  # names in a zip are text, and zipfile follows links to files
    with zipfile.ZipFile(packed, "w") as out:
        for path in paths:
            if path.is_dir() or path.is_file():
                out.write(path, path.relative_to(root.parent))
    of_zip = discover(PreprocessConfig("mine/own", (str(packed),), str(root / "data")))
    listings = [
        sorted((picture.example_id, picture.split, picture.name) for split in one.splits for picture in split.pictures)
        for one in (source, of_zip)
    ]
    assert listings[0] == listings[1]
    problems = [Counter(one.problem for one in some.left_out) for some in (source, of_zip)]
    problems[0].pop("no-file", None)
    assert problems[0] == problems[1]


@pytest.mark.parametrize("seeds", [range(50), pytest.param(range(50, 1050), marks=pytest.mark.thorough)], ids=str)
def test_no_file_of_a_random_folder_vanishes(seeds, tmp_path):
    read = [check(tmp_path / str(seed), seed) for seed in seeds]
    assert len(seeds) / 10 < sum(read) < len(seeds)
