"""What `--input` names, and how the items are called."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from common.formats import idx
from tests.support.pages import write_page
from trainer.config.commands import PredictConfig
from trainer.prediction import inputs


def find(*locations: str) -> list[inputs.Part]:
    return inputs.find(PredictConfig("model", locations, "out.jsonl"), (28, 28))


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


def test_what_a_folder_holds_besides_is_counted_and_named(tmp_path, caplog):
    for name in ("a.png", "b.jfif", "notes.txt", "z", ".hidden", "Thumbs.db", "digits.idx"):
        (tmp_path / name).write_bytes(idx.write(np.zeros((1, 28, 28), np.uint8)))
    pictures, digits = find(str(tmp_path))
    assert [Path(path).name for path in pictures.paths] == ["a.png", "b.jfif"]
    assert Path(digits.path).name == "digits.idx"
    assert re.search(r"2 files are left out, .*; the first: .*notes\.txt", caplog.text)


def test_the_picture_of_a_page_is_no_line_whatever_its_name(tmp_path):
    write_page(tmp_path, "scan", ["abc"]).rename(tmp_path / "page.xml")
    write_page(tmp_path, "damaged", ["abc"]).write_text("<PcGts")
    for line in ("page.png", "other.png"):
        shutil.copy(tmp_path / "scan.png", tmp_path / line)
    damaged, page, pictures = inputs.find(PredictConfig("model", (str(tmp_path),), "out.jsonl"), (40, None))
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
