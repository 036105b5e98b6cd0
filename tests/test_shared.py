"""What is made once for all workers of a test session is made once, and by no other way is taken for made."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.shared import build_once


def test_of_several_that_want_a_folder_one_builds_it_and_the_others_wait(tmp_path):
    builds = []

    def build(folder):
        builds.append(folder)
        time.sleep(0.2)
        (folder / "content").write_text("all of it")

    def want(_):
        return (build_once(tmp_path / "shared", build) / "content").read_text()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(want, range(4))) == ["all of it"] * 4
    assert builds == [tmp_path / "shared"]


def test_what_a_failed_build_leaves_is_not_taken_for_the_folder(tmp_path):
    def fail(folder):
        (folder / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        build_once(tmp_path / "shared", fail)
    folder = build_once(tmp_path / "shared", lambda folder: (folder / "content").touch())
    assert [path.name for path in folder.iterdir()] == ["content"]
