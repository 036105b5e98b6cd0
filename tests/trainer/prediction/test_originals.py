"""The pictures of predictions are found again, whatever they lie in."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from common.formats import idx
from common.formats.archive import member_of
from tests.support.pages import write_page
from trainer.config.commands import PredictConfig
from trainer.prediction import inputs, originals
from trainer.prediction.parts import Item, Pixels


def png(seed: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (28, 28), np.uint8)).save(content, "PNG")
    return content.getvalue()


def in_a_folder(folder: Path) -> Path:
    (folder / "below").mkdir()
    for number in range(3):
        (folder / "below" / f"{number}.png").write_bytes(png(number))
    return folder / "below"


def in_a_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"in/{number}.png", png(number))
    return folder / "a.zip"


def in_a_tar(folder: Path) -> Path:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(png(number))
            archive.addfile(info, io.BytesIO(png(number)))
    return folder / "a.tar.gz"


def in_parquet(folder: Path) -> Path:
    rows = [{"bytes": png(number), "path": None} for number in range(3)]
    parquet.write_table(pa.table({"image": rows, "label": [0, 1, 2]}), folder / "a.parquet")
    return folder / "a.parquet"


def images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 28, 28), np.uint8)


def in_idx(folder: Path) -> Path:
    (folder / "images").write_bytes(idx.write(images(0)))
    return folder / "images"


def in_emnist(folder: Path) -> Path:
    (folder / "emnist-x-images-idx3-ubyte").write_bytes(idx.write(images(0)))
    return folder / "emnist-x-images-idx3-ubyte"


def in_an_archive_of_idx(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "b.zip", "w") as archive:
        archive.writestr("train-images-idx3-ubyte", idx.write(images(0)))
        archive.writestr("t10k-images-idx3-ubyte", idx.write(images(1)))
    return folder / "b.zip"


def in_numpy(folder: Path) -> Path:
    np.savez(folder / "a.npz", x_train=images(0), x_test=images(1), y=np.zeros(4, np.uint8))
    return folder / "a.npz"


def in_a_page(folder: Path) -> Path:
    return write_page(folder, "page", ["one", "two"])


FORMS = [
    *(in_a_folder, in_a_zip, in_a_tar, in_parquet, in_idx, in_emnist, in_an_archive_of_idx, in_numpy, in_a_page),
    "a dataset folder",
]


def content(item: Item) -> bytes:
    if isinstance(item.content, Pixels):
        return item.content.values.tobytes()
    return item.content if isinstance(item.content, bytes) else item.content.tobytes()


@pytest.mark.parametrize("write", FORMS, ids=lambda form: getattr(form, "__name__", "in_a_dataset_folder"))
def test_the_picture_of_a_line_is_the_one_that_was_read(tmp_path, write, request):
    location = write(tmp_path) if callable(write) else request.getfixturevalue("synthetic_digits")
    size = (48, None) if write is in_a_page else (28, 28)
    parts, _ = inputs.find(PredictConfig("model", (str(location),), "out"), size)
    items = [item for part in parts for item in part.read()]
    wanted = items[::-1][::2]  # in another order, and not all
    found = dict(originals.find([item.source for item in wanted]))
    assert sorted(found) == list(range(len(wanted))) and len(wanted) > 0
    for number, item in enumerate(wanted):
        assert not found[number].error
        assert content(found[number]) == content(item)


def test_what_is_gone_says_why(tmp_path):
    archive, array, page = in_a_zip(tmp_path), in_idx(tmp_path), in_a_page(tmp_path)
    lines = [
        {"source": str(tmp_path / "gone.png")},
        {"source": member_of(str(archive), "gone.png")},
        {"source": member_of(str(tmp_path / "gone.zip"), "0.png")},
        {"source": str(array), "index": 9},
        {"source": str(tmp_path / "gone"), "index": 0},
        {"source": str(page), "line": "gone"},
        {"source": str(tmp_path / "gone.xml"), "line": "l0"},
        {"source": str(archive), "index": 0},
    ]
    found = dict(originals.find(lines))
    assert sorted(found) == list(range(len(lines)))
    assert all(item.error and item.content is None for item in found.values())
    gone = [found[number].error for number in (1, 3, 5)]
    assert gone == ["is no longer in it"] * 3


def test_an_index_of_several_arrays_is_not_guessed(tmp_path):
    source = str(in_numpy(tmp_path))
    ((_, item),) = originals.find([{"source": source, "index": 0}])
    assert "holds 2 arrays of images" in item.error
