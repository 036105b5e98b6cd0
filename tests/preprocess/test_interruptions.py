"""After a kill at any moment, or a full disk, nothing reads as a dataset, and the next run succeeds."""

import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from common import storage
from common.dataset import manifest
from common.errors import InputError
from common.formats import idx
from preprocess import pipeline, publish, stages
from preprocess.config import PreprocessConfig
from preprocess.describe import statistics
from tests.support import ROOT
from tests.support.datasets import contents
from tests.support.forms import FORMS
from tests.support.lines import PAGE_PATTERN
from tests.support.lines import config as line_config
from tests.support.sources import write_gzip

_THOROUGH = [pytest.param(kind, 3, marks=pytest.mark.thorough) for kind in FORMS]


def command_for(config: PreprocessConfig) -> list[str]:
    flags = {"--dataset": config.dataset, "--source": config.source[0], "--data-dir": config.data_dir}
    return [sys.executable, "-m", "preprocess", *(part for pair in flags.items() for part in pair)]


@pytest.mark.parametrize(("kind", "kills"), [("idx", 2), *_THOROUGH])
def test_kill_9_at_random_moments(make_source, tmp_path, kind, kills):
    location = FORMS[kind](make_source("emnist/digits", train=2000, test=500))
    config = PreprocessConfig("emnist/digits", (str(location),), str(tmp_path / "data"))
    undisturbed = Path(pipeline.run(replace(config, data_dir=str(tmp_path / "undisturbed"))))
    folder = manifest.dataset_folder(config.data_dir, config.dataset)
    work = folder.with_name(".1.0.0.incomplete")
    command = command_for(config)
    moments = random.Random(kind)
    killed = 0
    while killed < kills:
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as job:
            while not work.exists() and job.poll() is None:
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.4))
            if job.poll() is None:
                job.kill()
                killed += 1
        if (folder / "manifest.json").exists():
            manifest.check_shards(folder, manifest.read(folder))  # it had just finished
            shutil.rmtree(folder)
    pipeline.run(config)
    assert contents(folder) == contents(undisturbed)
    assert not work.exists()


def test_a_job_of_lines_that_was_killed_begins_anew(line_pairs, small_lines, tmp_path):
    config = line_config(line_pairs, where=tmp_path / "data", group_pattern=PAGE_PATTERN)
    folder = manifest.dataset_folder(config.data_dir, config.dataset)
    work = folder.with_name(".1.0.0.incomplete")
    command = [*command_for(config), "--group-pattern", PAGE_PATTERN]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as job:
        while not list(work.glob("part-*")) and job.poll() is None:
            time.sleep(0.002)
        job.kill()
    assert not (folder / "manifest.json").exists()
    assert list(work.glob("part-*"))
    pipeline.run(config)
    assert contents(folder) == contents(small_lines)
    assert not work.exists()


def test_kill_9_while_characters_are_drawn(tmp_path):
    config = PreprocessConfig("synthetic/digits", ("synthetic",), str(tmp_path / "data"))
    command = command_for(config)
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as job:
        children = Path(f"/proc/{job.pid}/task/{job.pid}/children")
        while not (workers := [int(pid) for pid in children.read_text().split()]):
            time.sleep(0.01)
        time.sleep(0.5)
        job.kill()
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            break
        time.sleep(0.1)
    else:
        pytest.fail("worker processes outlived the job")
    # The next run begins as the first did.
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_two_processes_at_once_one_wins_and_the_other_says_so(make_source, tmp_path):
    source = make_source("emnist/digits")
    config = source.config(tmp_path / "data")
    command = command_for(config)
    folder = manifest.dataset_folder(config.data_dir, config.dataset)
    with storage.lock(folder):  # this process is in the middle of it
        other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert other.stderr.splitlines()[-1] == (
        f"error: {folder}: {storage.this_process()} is writing it; wait for that one, or stop it"
    )
    assert not folder.exists()
    assert pipeline.run(config) == str(folder)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB, where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("count", [1100, 3000])
def test_a_full_disk_is_said_in_one_line(make_source, small_disk, count):
    """With few examples the part files still fit, but not the shards beside them."""
    source = make_source("emnist/digits", train=count, test=130)
    with pytest.raises(InputError, match=r".*: no disk space left; nothing was replaced"):
        pipeline.run(source.config(small_disk / "data"))
    assert not [path for path in small_disk.rglob("[!.]*") if path.is_file()]


class _ConnectionLostError(Exception):
    pass


def test_publishing_that_is_tried_again_after_any_step_goes_on_where_it_was(make_source, tmp_path, monkeypatch):
    """The dataset replaces another of more shards, is compared with it, has disputed images, and leaks."""
    source = make_source("emnist/digits", train=200, test=20)
    images = source.images["train"].copy()
    images[:2], images[2:9] = images[3], source.images["test"][:7]
    write_gzip(source.path("images", "train"), idx.write(images.transpose(0, 2, 1)))
    folder = Path(pipeline.run(source.config(tmp_path / "data", num_shards=3)))
    (folder / "left-out.jsonl").write_text("of the dataset before\n")
    work, before = folder.with_name(".1.0.0.incomplete"), tmp_path / "before"
    shutil.copytree(folder.parent, before)
    prepared, arguments = tmp_path / "prepared", []

    def keep(self, _, *others):
        shutil.copytree(work, prepared)
        arguments.extend((self.plan, others[0], others[1]))

    with monkeypatch.context() as patch:
        patch.setattr(stages.FinishDataset, "process", keep)
        again = source.config(tmp_path / "data", num_shards=2, overwrite=True, compare=str(folder), drop_leaked=True)
        pipeline.run(again)

    def restore():
        shutil.rmtree(folder.parent)
        shutil.copytree(before, folder.parent)
        shutil.copytree(prepared, work)

    def publish_until(number: int) -> int:
        """Publishes, but for the steps after the first `number`; returns the number of steps."""
        steps = 0

        def interrupted(step):
            def taken(place, *others):
                nonlocal steps
                if steps == number:
                    for path in list(place.iterdir())[::2] if step is storage_remove else ():
                        path.unlink()  # half removed
                    raise _ConnectionLostError
                steps += 1
                step(place, *others)

            return taken

        storage_remove = storage.remove
        with monkeypatch.context() as patch:
            for name in ("make_folder", "write", "write_atomically", "move", "remove"):
                patch.setattr(storage, name, interrupted(getattr(storage, name)))
            publish.publish(*arguments)
        return steps

    restore()
    number_of_steps = publish_until(sys.maxsize)
    expected = contents(folder)
    assert {"disputed.jsonl", "drift.json"} < expected.keys()
    assert "left-out.jsonl" not in expected
    assert not work.exists()
    for number in (0, *range(number_of_steps // 3, number_of_steps)):  # until then, one write is like another
        restore()
        with pytest.raises(_ConnectionLostError):
            publish_until(number)
        publish.publish(*arguments)
        assert contents(folder) == expected, number
        assert not work.exists()
    publish.publish(*arguments)  # all was done, but nobody heard of it
    assert contents(folder) == expected
    assert not work.exists()


def test_a_shard_that_is_made_again_is_published_although_the_manifest_is_there(make_source, tmp_path, monkeypatch):
    config = make_source("emnist/digits").config(tmp_path / "data", num_shards=2)
    folder = Path(pipeline.run(config))
    expected = contents(folder)
    next(folder.glob("*-train*")).unlink()
    finish, draw = stages.FinishDataset.process, statistics.draw

    def fail(_):
        raise _ConnectionLostError

    def twice(self, *arguments):
        monkeypatch.setattr(statistics, "draw", fail)
        with pytest.raises(_ConnectionLostError):
            finish(self, *arguments)
        monkeypatch.setattr(statistics, "draw", draw)
        return finish(self, *arguments)

    monkeypatch.setattr(stages.FinishDataset, "process", twice)
    pipeline.run(config)
    assert contents(folder) == expected
