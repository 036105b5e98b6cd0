"""A run folder in a bucket: nothing is lost, and a new machine resumes the run from it."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
from google.api_core.exceptions import Forbidden, RetryError

from common import storage
from common.errors import FailedError, InputError, TemporaryError
from common.storage import gcs
from tests.support import ROOT
from tests.support.faulty_bucket import HOLD
from tests.support.settings import train_config
from trainer import train
from trainer.distributed.cluster import ALONE
from trainer.runs import run_folder
from trainer.runs.uploader import Uploader


@pytest.fixture
def remote(bucket):
    return storage.to_path(f"{bucket}/runs/first")


def names(remote) -> list[str]:
    return sorted(str(path.relative_to(remote)) for path in remote.rglob("[!.]*") if path.is_file())


def wait_for(condition) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come")


def test_what_a_checkpoint_needs_comes_to_the_bucket_before_it(remote, tmp_path, monkeypatch):
    run, written, swap = tmp_path / "run", [], gcs.compare_and_swap
    (run / "checkpoints").mkdir(parents=True)
    for name in ("checkpoints/step-1.npz", "ancestry.npz", "config.yaml", "metrics.jsonl"):
        (run / name).write_bytes(b"one")
    monkeypatch.setattr(gcs, "compare_and_swap", lambda path, *others: written.append(path.name) or swap(path, *others))
    uploader = Uploader(run, remote)
    monkeypatch.setattr(uploader, "_check_turn", lambda: None)
    uploader.push()
    assert written == ["ancestry.npz", "config.yaml", "step-1.npz", "metrics.jsonl"]


def test_what_is_written_comes_to_the_bucket_and_what_goes_goes(remote, tmp_path, caplog):
    run = tmp_path / "run"
    with caplog.at_level("INFO", "trainer"), Uploader(run, remote).running():
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "step-1.npz").write_bytes(b"one")
        (run / "metrics.jsonl").write_text("first\n")
        (run / "incomplete-model").mkdir()
        (run / "incomplete-model" / "half").write_bytes(b"?")
        (run / ".config.yaml.x").write_bytes(b"?")
        wait_for(lambda: len(names(remote)) == 3)
        assert names(remote) == ["checkpoints/step-1.npz", "metrics.jsonl", "run.json"], "while it runs"
        (run / "checkpoints" / "step-1.npz").rename(run / "checkpoints" / "step-2.npz")
        with (run / "metrics.jsonl").open("a") as file:
            file.write("second\n")
    assert sorted(storage.objects_below(remote)) == ["checkpoints/step-2.npz", "metrics.jsonl", "run.json"]
    assert (remote / "metrics.jsonl").read_text() == "first\nsecond\n"
    assert re.search(rf"{remote} holds the whole run; the upload was never more than \d+ s behind", caplog.text)


def test_event_files_go_to_a_tensorboard_elsewhere_too(bucket, remote, tmp_path, monkeypatch):
    monkeypatch.setenv("AIP_TENSORBOARD_LOG_DIR", f"{bucket}/runs/logs/")  # as Vertex AI does
    run, uploader = train._local_run_dir(train_config("data", str(remote), cache_dir=str(tmp_path)), ALONE)
    with uploader.running():
        (run / "logs" / "train").mkdir(parents=True)
        (run / "logs" / "train" / "events").write_bytes(b"curves")
        (run / "metrics.jsonl").write_text("first\n")
    assert names(remote) == ["logs/train/events", "metrics.jsonl", "run.json"]
    board = storage.to_path(f"{bucket}/runs/logs/first")
    assert names(board) == ["train/events"]
    assert (board / "train" / "events").read_bytes() == b"curves"


def test_on_an_empty_machine_it_is_as_in_the_bucket_and_what_is_there_only_goes(remote, tmp_path):
    (remote / "metrics.jsonl").write_text("theirs")
    (remote / "checkpoints" / "step-2.npz").write_bytes(b"two")
    local = tmp_path / "run"
    (local / "checkpoints").mkdir(parents=True)
    (local / "metrics.jsonl").write_text("ours")
    (local / "checkpoints" / "step-9.npz").write_bytes(b"nine")
    Uploader(local, remote).pull()
    contents = {path.relative_to(local).as_posix(): path.read_bytes() for path in local.rglob("*") if path.is_file()}
    assert contents == {"metrics.jsonl": b"theirs", "checkpoints/step-2.npz": b"two"}


def test_what_did_not_get_there_is_named(remote, tmp_path):
    uploader = Uploader(tmp_path / "run", remote)
    with pytest.raises(FailedError, match=r"missing or incomplete: config.yaml, metrics.json"), uploader.running():
        for name in ("metrics.json", "config.yaml", "report.html"):
            (tmp_path / "run" / name).write_text(name)
        wait_for(lambda: "report.html" in names(remote))
        (remote / "config.yaml").unlink()
        (remote / "metrics.json").write_text("other")


def test_of_two_jobs_the_later_goes_on_and_the_earlier_writes_no_more(remote, tmp_path):
    earlier, later = Uploader(tmp_path / "earlier", remote), Uploader(tmp_path / "later", remote)
    with pytest.raises(TemporaryError, match="another job has taken over this run folder"), earlier.running():
        (tmp_path / "earlier" / "metrics.jsonl").write_text("1\n")
        wait_for(lambda: names(remote) == ["metrics.jsonl", "run.json"])
        with later.running():
            assert (tmp_path / "later" / "metrics.jsonl").read_text() == "1\n"
            (tmp_path / "later" / "metrics.jsonl").write_text("1\nlater's 2\n")
            (tmp_path / "earlier" / "metrics.jsonl").write_text("1\nearlier's 2\n")
            (tmp_path / "earlier" / "model.keras").write_text("earlier's")
            for _ in range(3):
                with pytest.raises(TemporaryError, match="another job has taken over"):
                    earlier.push()
                later.push()
    assert names(remote) == ["metrics.jsonl", "run.json"]
    assert (remote / "metrics.jsonl").read_text() == "1\nlater's 2\n"


def test_nothing_is_written_over_what_was_not_seen(faulty_bucket, tmp_path):
    """In the moment between a look at whose turn it is and a write."""
    remote, run = storage.to_path("gs://test/run"), tmp_path / "run"
    with pytest.raises(TemporaryError, match="another job has taken over"), Uploader(run, remote).running():
        (run / "metrics.jsonl").write_text("1\n")
        wait_for(lambda: names(remote) == ["metrics.jsonl", "run.json"])
        (remote / "metrics.jsonl").write_text("another job's\n")
        (run / "metrics.jsonl").write_text("1\n2\n")
    assert (remote / "metrics.jsonl").read_text() == "another job's\n"


def test_the_end_of_an_earlier_job_is_not_written_into_the_run_of_the_later(faulty_bucket, tmp_path, monkeypatch):
    """Not even in the moment between a look at whose turn it is and a write."""
    remote, run = storage.to_path("gs://test/run"), tmp_path / "run"
    uploader = Uploader(run, remote)
    with pytest.raises(TemporaryError, match=r"run.json: another job has taken over"), uploader.running():
        later = run_folder.take_turn(remote)
        before = (remote / "run.json").read_bytes()
        run_folder.mark_finished(run, run_folder.COMPLETED)
        monkeypatch.setattr(uploader, "_check_turn", lambda: None)
    assert (remote / "run.json").read_bytes() == before
    assert run_folder.whose_turn(remote) == later


def test_of_many_that_start_at_once_the_last_has_the_turn(faulty_bucket):
    remote = storage.to_path("gs://test/run")
    with ThreadPoolExecutor(8) as pool:
        turns = set(pool.map(run_folder.take_turn, [remote] * 8))
    assert len(turns) == 8
    assert run_folder.whose_turn(remote) in turns


def test_a_run_of_an_earlier_version_is_gone_on_with(remote, tmp_path):
    """There, a hidden object said whose turn it was."""
    earlier = {"commit": "c", "starts": ["then"], "ended": "later", "exit_reason": "StoppedError"}
    storage.write_atomically(remote / "run.json", json.dumps(earlier).encode())
    storage.write_atomically(remote / ".writer", b"another's")
    run, config = tmp_path / "run", train_config("data", str(remote))
    with Uploader(run, remote).running():
        begun = json.loads((run / "run.json").read_text())
        assert begun == earlier | {"turn": begun["turn"], "ended": None, "exit_reason": None}
        run_folder.begin(run, config, {"commit": "d"})
    ended = json.loads((remote / "run.json").read_text())
    assert (ended["commit"], len(ended["starts"]), ended["turn"]) == ("d", 2, begun["turn"])


def test_a_write_whose_answer_was_lost_is_not_taken_for_another_jobs(faulty_bucket, quick_retries, tmp_path):
    remote, run = storage.to_path("gs://test/run"), tmp_path / "run"

    def holds(text: str) -> bool:
        return [path.read_text() for path in remote.glob("metrics.jsonl")] == [text]

    faulty_bucket.spoil("lost", "POST", "run.json")
    with Uploader(run, remote).running():
        faulty_bucket.spoil("lost", "POST", "run.json")
        run_folder.mark_finished(run, "once")
        wait_for(lambda: "once" in (remote / "run.json").read_text())
        for number in range(3):
            faulty_bucket.spoil("lost", "POST", "metrics.jsonl")
            (run / "metrics.jsonl").write_text(f"{number}\n")
            wait_for(partial(holds, f"{number}\n"))
        faulty_bucket.spoil("lost", "DELETE", "metrics.jsonl")
        (run / "metrics.jsonl").unlink()
    assert faulty_bucket.happened["lost"] == 6
    assert list(storage.objects_below(remote)) == ["run.json"]


def test_over_a_bad_network_all_arrives_and_all_that_went_goes(faulty_bucket, quick_retries, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.runs.uploader._SECONDS_BETWEEN", 0.05)
    remote, run = storage.to_path("gs://test/run"), tmp_path / "run"
    faulty_bucket.rate = 0.2
    expected = {}
    with Uploader(run, remote).running():
        for number in range(60):
            expected[f"step-{number}.npz"] = bytes([number]) * 10_000
            (run / f"step-{number}.npz").write_bytes(expected[f"step-{number}.npz"])
            if number > 9:
                (run / f"step-{number - 10}.npz").unlink()
                del expected[f"step-{number - 10}.npz"]
            time.sleep(0.05)
    faulty_bucket.mend()
    expected["run.json"] = (run / "run.json").read_bytes()
    assert {path.name: path.read_bytes() for path in remote.iterdir()} == expected
    assert sum(faulty_bucket.happened.values()) > 20
    Uploader(tmp_path / "other", remote).pull()
    assert {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()} == expected


def test_how_far_it_is_behind_is_told_and_bounded(faulty_bucket, quick_retries, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("trainer.runs.uploader._LONGEST_LAG_SECONDS", 0.3)
    monkeypatch.setattr("common.storage.gcs._SECONDS_OF_RETRIES", 0.1)
    remote, run = storage.to_path("gs://test/run"), tmp_path / "run"
    uploader = Uploader(run, remote)
    with uploader.running():
        faulty_bucket.spoil("503", "POST", "metrics.jsonl", times=math.inf)
        (run / "metrics.jsonl").write_text("1\n")
        wait_for(lambda: re.search(rf"{remote} is \d s behind: the bucket cannot be reached", caplog.text))
        time.sleep(0.3)
        with pytest.raises(RetryError):  # the training does not go on without end
            uploader.throttle()
        faulty_bucket.mend()
        uploader.throttle()
        assert (remote / "metrics.jsonl").read_text() == "1\n"


def test_what_the_bucket_refuses_ends_the_run_at_once(faulty_bucket, tmp_path):
    remote, run = storage.to_path("gs://test/run"), tmp_path / "run"
    faulty_bucket.spoil("403", "POST", times=math.inf)
    with pytest.raises(Forbidden), Uploader(run, remote).running():
        pytest.fail("it began")


@pytest.mark.parametrize("name", ["../outside", "a/../../b", "a/./b", "a//b", "a\\b", "/b"])
def test_no_object_leads_out_of_the_folder(remote, tmp_path, monkeypatch, name):
    # The emulator takes no such names, a bucket does.
    listing = [SimpleNamespace(name=f"{remote.blob}/{other}") for other in ("fine", name)]
    monkeypatch.setattr(remote.client.client, "list_blobs", lambda *_, **__: listing)
    with pytest.raises(InputError, match="cannot be a file name"):
        Uploader(tmp_path / "run", remote).pull()
    assert not list(tmp_path.rglob("*b"))


@pytest.mark.xdist_group("alone")
def test_killed_while_a_checkpoint_is_uploaded_it_goes_on_from_the_one_before(
    faulty_bucket, synthetic_digits, tmp_path, finished_run
):
    """On another machine, whose disk is empty; the end is the same bit for bit. A third finds it done."""
    data, run = storage.to_path("gs://test/digits"), storage.to_path("gs://test/runs/dense")
    data.upload_from(synthetic_digits)
    command = [sys.executable, "-m", "trainer", "train", "--data", str(data), "--run-dir", str(run)]
    command += ["--model", "dense", "--epochs", "3", "--global-batch-size", "64", "--checkpoint-steps", "20"]
    command += ["--no-verify-export", "--calibration-pictures", "17"]

    def start(machine: str) -> subprocess.Popen:
        return subprocess.Popen(
            [*command, "--cache-dir", str(tmp_path / machine)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )

    faulty_bucket.spoil(HOLD, "POST", "checkpoints/step-", after=1)
    with start("first") as first:
        while not faulty_bucket.happened[HOLD]:
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
    assert len(list(run.glob("checkpoints/*.npz"))) == 1, "the one before, and none that is half there"
    with start("second") as second:
        log = second.stderr.read()
        assert second.wait() == 0, log
    assert "resuming from step" in log
    for name in ("metrics.jsonl", "metrics.json"):
        assert (run / name).read_text() == (finished_run / name).read_text()
    assert json.loads((run / "run.json").read_text())["exit_reason"] == "completed"
    assert train.run(
        train_config(
            str(data), str(run), model="dense", epochs=3, global_batch_size=64, cache_dir=str(tmp_path / "third")
        )
    ) == str(run)


@pytest.mark.xdist_group("alone")
def test_sigterm_leaves_the_last_checkpoint_in_the_bucket(bucket, synthetic_digits, tmp_path):
    run = storage.to_path(f"{bucket}/runs/stopped")
    command = [sys.executable, "-m", "trainer", "train", "--data", str(synthetic_digits), "--run-dir", str(run)]
    command += ["--model", "dense", "--epochs", "500", "--global-batch-size", "64", "--cache-dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        while not (run / "config.yaml").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        time.sleep(2)
        process.terminate()
        began = time.monotonic()
        process.communicate()
        assert process.returncode == 143
        assert time.monotonic() - began < 10
    assert list(run.glob("checkpoints/*.npz"))
    assert json.loads((run / "run.json").read_text())["exit_reason"] == "StoppedError"
