"""What `--input` names, and how the items are called."""

import gzip
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from common.errors import InputError
from common.formats import archive, idx
from common.storage import to_path
from tests.support.pages import write_page
from trainer.config.commands import PredictConfig
from trainer.prediction import inputs
from trainer.prediction.parts import Part


def find(*locations: str) -> list[Part]:
    return inputs.find(PredictConfig("model", locations, "out.jsonl"), (28, 28))[0]


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("", "--input '': is empty"),
        pytest.param(
            *("d/**ok.png", r"--input d/\*\*ok\.png: is no pattern; \*\* stands alone"),
            marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="is a pattern from Python 3.13 on"),
        ),
        ("~no-such-user/x.png", "~no-such-user/x.png: there is no home folder of that name"),
        ("~no-such-user/*.png", r"~no-such-user/\*\.png: there is no home folder of that name"),
    ],
)
def test_what_names_nothing_is_refused(tmp_path, monkeypatch, location, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "ok.png").touch()
    with pytest.raises(InputError, match=complaint):
        find(location)


def write_forms(folder: Path) -> None:
    """Files of many kinds, under names that say little or the wrong thing."""
    images = np.zeros((2, 28, 28), np.uint8)
    (folder / "some").write_bytes(gzip.compress(idx.write(images)))
    np.savez(folder / "arrays", x_test=images, y_test=np.zeros(2, np.uint8))
    (folder / "table.csv").write_text("\n".join(",".join(["0"] * 785) for _ in range(2)))
    (folder / "a.png").write_bytes(b"x")
    (folder / "b").write_bytes(b"y")
    (folder / "notes.txt").write_text("nothing")
    (folder / "damaged.idx").write_bytes(b"zero")
    (folder / "nowhere.png").symlink_to(folder / "gone")
    os.mkfifo(folder / "pipe")
    (folder / "again").symlink_to(folder)
    np.savez(folder / "others", floats=images / 255, large=images.repeat(2, axis=1), good=images[:1])
    np.save(folder / "colours.npy", np.zeros((2, 28, 28, 3), np.uint8))
    (folder / "page.xml").write_text("<PcGts/>")
    for hidden in (".hidden", "Thumbs.db"):
        (folder / hidden).write_text("")
    with zipfile.ZipFile(folder / "pictures.data", "w") as archive:
        for name in ("A/1.png", "A/notes.txt", "__MACOSX/A/1.png"):
            archive.writestr(name, "z")
    with zipfile.ZipFile(folder / "digits.zip", "w") as archive:
        archive.writestr("gzip/t10k-images-idx3-ubyte", idx.write(images))
    pa_table = pa.table({"image": [{"bytes": b"p", "path": None}, {"bytes": None, "path": "x"}]})
    parquet.write_table(pa_table, folder / "rows")


def test_every_file_of_a_folder_has_an_answer_and_is_known_by_its_content(tmp_path):
    write_forms(tmp_path)
    parts, hidden = inputs.find(PredictConfig("model", (str(tmp_path),), "out.jsonl"), (28, 28))
    items = [item for part in parts for item in part.read()]
    prefix = f"{tmp_path}/"
    found = {}
    for item in items:
        assert (item.content is None) == bool(item.error)
        found.setdefault(item.source["source"].removeprefix(prefix), []).append(item.content is not None)
    assert found == {
        "a.png": [True],
        "b": [True],
        "notes.txt": [True],
        "nowhere.png": [False],
        "damaged.idx": [False],
        "pipe": [False],
        "again": [False],
        "others.npz": [False, False, True],
        "colours.npy": [False],
        "page.xml": [False],
        "some": [True, True],
        "arrays.npz": [True, True],
        "table.csv": [True, True],
        "rows": [True, False],
        "pictures.data::A/1.png": [True],
        "pictures.data::A/notes.txt": [True],
        "digits.zip::gzip/t10k-images-idx3-ubyte": [True, True],
    }
    assert {item.source.get("array") for item in items if "arrays.npz" in item.source["source"]} == {"x_test"}
    assert [Path(path).name for path in hidden] == [".hidden", "Thumbs.db"]
    errors = {Path(item.source["source"]).name: item.error for item in items if item.error}
    assert "a pipe" in errors["pipe"]
    assert "a link to a folder that holds it" in errors["again"]
    assert "recognises characters" in errors["page.xml"]


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive_of_many_files_is_passed_through_a_few_times_whatever_they_are_called(tmp_path, monkeypatch, kind):
    (tmp_path / "folder").mkdir()
    for number in range(50):
        (tmp_path / "folder" / str(number)).write_bytes(b"\x89PNG, or so")
    (tmp_path / "folder" / "table").write_text(",".join(["0"] * 784))
    path = shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path / "folder")
    opened = []
    monkeypatch.setattr(archive, "to_path", lambda location: opened.append(location) or to_path(location))
    assert [part.path for part in find(path)] == [f"{path}::table"]
    assert len(opened) < 9


def test_models_of_lines_answer_for_arrays_of_characters(tmp_path):
    np.save(tmp_path / "x_test.npy", np.zeros((2, 28, 28), np.uint8))
    (part,), _ = inputs.find(PredictConfig("model", (str(tmp_path),), "out.jsonl"), (40, None))
    assert [item.error for item in part.read()] == ["holds images of characters; the model reads lines"]


def test_an_array_is_read_up_to_its_damage_and_keeps_count(tmp_path):
    np.save(tmp_path / "longer.npy", np.zeros((300, 28, 28), np.uint8))
    (tmp_path / "longer.npy").write_bytes((tmp_path / "longer.npy").read_bytes()[:-1])
    items = [item for part in find(str(tmp_path / "longer.npy")) for item in part.read()]
    assert [item.source["index"] for item in items] == list(range(257))
    assert [item.source["index"] for item in items if item.error] == [256]


def test_a_hidden_folder_that_is_named_is_read(tmp_path):
    folder = tmp_path / ".hidden"
    (folder / "empty").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"x")
    (part,) = find(str(folder))
    assert [item.source for item in part.read()] == [{"source": str(folder / "a.png")}]


def test_an_archive_is_read_up_to_its_damage(tmp_path):
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("1.png", "2.png"):
            archive.writestr(name, name * 20)
    path.write_bytes(path.read_bytes().replace(b"2.png2.png", b"2.png3.png", 1))
    first, damaged = (item for part in find(str(path)) for item in part.read())
    assert first.source == {"source": f"{path}::1.png"}
    assert "is damaged" in damaged.error


def test_the_picture_of_a_page_is_no_line_whatever_its_name(tmp_path):
    write_page(tmp_path, "scan", ["abc"]).rename(tmp_path / "page.xml")
    write_page(tmp_path, "damaged", ["abc"]).write_text("<PcGts")
    for line in ("page.png", "other.png"):
        shutil.copy(tmp_path / "scan.png", tmp_path / line)
    config = PredictConfig("model", (str(tmp_path),), "out.jsonl")
    (damaged, page, pictures), _ = inputs.find(config, (40, None))
    assert [item.problem for item in damaged.read()] == ["bad-page"]
    assert [item.source["line"] for item in page.read()] == ["l0"]
    assert [Path(path).name for path in pictures.paths] == ["other.png", "page.png"]


def test_names_that_are_not_utf_8_become_text(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "ä\udce9.png").write_bytes(b"x")
    (folder / "some.idx").write_bytes(idx.write(np.zeros((1, 28, 28), np.uint8))[:-1])
    picture, damaged = (item for part in find(str(folder)) for item in part.read())
    assert picture.source == {"source": f"{tmp_path}/caf\\xe9/ä\\xe9.png"}
    assert picture.content == b"x"
    assert damaged.source == {"source": f"{tmp_path}/caf\\xe9/some.idx", "index": 0}
    json.dumps([picture.source, damaged.source, damaged.error], ensure_ascii=False).encode()
