"""Workers of a test session share folders made once, and do not run exclusive tests at the same time."""

import os
import subprocess
import sys
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


_GROUP = """
import pathlib
import pytest

@pytest.mark.xdist_group("alone")
@pytest.mark.parametrize("number", range(6))
def test_one_of_several(number, worker_id):
    pathlib.Path(f"{number}.txt").write_text(worker_id)
"""


def test_tests_of_a_group_run_on_one_worker(tmp_path):
    """Of some versions of pytest and pytest-xdist they do not, and nothing says so."""
    (tmp_path / "test_group.py").write_text(_GROUP)
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "--dist", "loadgroup"]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # other plugins take longer to load than all else
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    workers = [path.read_text() for path in tmp_path.glob("*.txt")]
    assert len(workers) == 6
    assert len(set(workers)) == 1
