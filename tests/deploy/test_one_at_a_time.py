"""One retraining at a time: an overlapping start is refused, one that is gone is in nobody's way."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from common import storage
from common.errors import InputError, StoppedError, TemporaryError
from common.storage import locks
from deploy import job as jobs
from deploy import progress, status
from deploy.main import main
from tests.support import ROOT


@pytest.fixture
def quick_beats(monkeypatch):
    monkeypatch.setattr(progress, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(progress, "_EXPIRES_SECONDS", 1.0)
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.05)


@pytest.fixture
def remote(faulty_bucket, quick_beats):
    return storage.to_path("gs://test/runs/digits")


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path, quick_beats):
    return tmp_path / "runs" / "digits" if request.param == "disk" else request.getfixturevalue("remote")


def recording(folder):
    return progress.recording(folder, "digits", "commit")


def leave_running(folder) -> progress.Status:
    """The status of a retraining that is gone, which stays as it is."""
    with recording(folder) as recorder:
        left = replace(recorder.status, id="another's")
    storage.write_atomically(folder / "job-status.json", progress._to_json(left))
    return left


def test_an_overlapping_start_is_refused(folder):
    with recording(folder):
        assert progress.is_at_work(folder)
        with (
            pytest.raises(InputError, match=f"{storage.this_process()} is (writing it|at work); wait"),
            recording(folder),
        ):
            pass
        with pytest.raises(InputError), recording(folder):  # nor has that one changed anything
            pass
    assert progress.read(folder).state == "completed"


def test_a_start_beside_another_is_bad_input_by_hand_and_may_pass_where_nobody_is(job_file, monkeypatch, capsys):
    command = ["run", "--job", str(job_file)]
    with recording(jobs.read(str(job_file)).folder):
        assert main(command) == 2
        assert f"{storage.this_process()} is writing it; wait for that one, or stop it" in capsys.readouterr().err
        assert main([*command, "--if-changed"]) == 75, "as a schedule starts it"
        assert f"{storage.this_process()} is writing it; wait for that one, or stop it" in capsys.readouterr().err
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        assert main(command) == 75, "in a pod"


@pytest.mark.parametrize("error", [None, InputError("bad"), StoppedError()])
def test_at_the_end_it_is_free_at_once(folder, error, monkeypatch):
    monkeypatch.setattr(progress, "_EXPIRES_SECONDS", 600.0)
    for _ in range(2):
        try:
            with recording(folder):
                if error:
                    raise error
        except (InputError, StoppedError) as raised:
            assert raised is error
        assert not progress.is_at_work(folder)


def test_other_jobs_do_not_mind(folder):
    with recording(folder), recording(folder.parent / "letters"):
        assert progress.is_at_work(folder)


HOLDER = """
import sys, time
from deploy import progress
from common import storage
progress._BEAT_SECONDS = 0.1
with progress.recording(storage.to_path(sys.argv[1]), "digits", "commit") as recorder, recorder.step("train"):
    print("at work", flush=True)
    time.sleep(60)
"""


def test_one_that_was_killed_is_followed(folder):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"at work\n"
        with pytest.raises(InputError, match=f"process {holder.pid} on "), recording(folder):
            pass
        assert status.describe(folder, "digits").startswith("digits: running, begun ")
        holder.kill()
    while progress.is_at_work(folder):  # in a bucket, for a moment
        time.sleep(0.05)
    assert status.describe(folder, "digits").startswith("digits: interrupted; the same command resumes it, begun ")
    with recording(folder) as recorder:
        assert progress.read(folder).process.pid == os.getpid()
        assert recorder.status.steps["train"].state == "waiting"


def test_of_many_that_follow_at_the_same_moment_one_has_it(folder, monkeypatch):
    leave_running(folder)
    results, is_held = [], threading.Event()
    wait, have_waited, together = progress._wait_until_gone, set(), threading.Barrier(4)

    def wait_first_for_each_other(*arguments) -> None:
        if threading.get_ident() in have_waited:
            return wait(*arguments)
        have_waited.add(threading.get_ident())
        return together.wait(10)

    monkeypatch.setattr(progress, "_wait_until_gone", wait_first_for_each_other)

    def follow() -> None:
        try:
            with recording(folder):
                results.append("held")
                is_held.wait(10)
        except InputError:
            results.append("refused")

    threads = [threading.Thread(target=follow) for _ in range(4)]
    for thread in threads:
        thread.start()
    while results.count("refused") < 3:
        assert any(thread.is_alive() for thread in threads)
    is_held.set()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["held", "refused", "refused", "refused"]


def test_one_that_ends_while_another_waits_for_it_is_followed_at_once(remote, monkeypatch):
    monkeypatch.setattr(progress, "_BEAT_SECONDS", 600.0)
    monkeypatch.setattr(progress, "_EXPIRES_SECONDS", 600.0)
    waits = threading.Event()
    monkeypatch.setattr(progress._log, "info", lambda *_: waits.set())
    followed = []

    def follow() -> None:
        with recording(remote) as recorder:
            followed.append(recorder.status.id)

    with recording(remote):
        follower = threading.Thread(target=follow)
        follower.start()
        assert waits.wait(10)
    follower.join(10)
    assert followed == [progress.read(remote).id]


def test_one_that_was_cut_off_finds_that_it_has_lost(remote):
    another = leave_running(remote)
    before = storage.read(remote / "job-status.json")
    with (
        pytest.raises(TemporaryError, match="another retraining has taken over; this one is stopped"),
        recording(remote) as recorder,
    ):
        storage.write_atomically(remote / "job-status.json", before)
        time.sleep(0.5)  # the heartbeat loses, and is not heard of
        recorder.update(reason="not to be seen")
    assert storage.read(remote / "job-status.json") == before
    assert progress.read(remote) == another


def test_one_that_was_taken_over_at_the_very_end_leaves_the_others_status_alone(remote, monkeypatch):
    monkeypatch.setattr(progress, "_BEAT_SECONDS", 600.0)
    another = leave_running(remote)
    before = storage.read(remote / "job-status.json")
    with pytest.raises(TemporaryError, match="another retraining has taken over"), recording(remote):
        storage.write_atomically(remote / "job-status.json", before)
    assert progress.read(remote) == another


def test_a_write_whose_answer_was_lost_is_its_own(remote, faulty_bucket, quick_retries):
    faulty_bucket.spoil("lost", "POST", "job-status.json", times=4)
    with recording(remote) as recorder:
        time.sleep(0.5)
        for name in progress.STEPS:
            faulty_bucket.spoil("lost", "POST", "job-status.json")
            with recorder.step(name):
                pass
    assert faulty_bucket.happened["lost"] == 4 + len(progress.STEPS)
    assert progress.read(remote) == recorder.status


def test_stopped_at_the_moment_of_a_write_it_is_recorded_as_stopped(folder, monkeypatch):
    """Before what was written is noted."""
    monkeypatch.setattr(progress, "_BEAT_SECONDS", 600.0)
    swap = locks.compare_and_swap

    def stopped(*arguments):
        swap(*arguments)
        monkeypatch.setattr(storage, "compare_and_swap", swap)
        raise StoppedError

    with pytest.raises(StoppedError), recording(folder) as recorder:
        monkeypatch.setattr(storage, "compare_and_swap", stopped)
        recorder.update(run="a")
        pytest.fail("it went on")
    assert progress.read(folder) == recorder.status
    assert (recorder.status.state, recorder.status.run) == ("stopped", "a")


def test_a_heartbeat_that_fails_for_a_while_stops_nothing(remote, faulty_bucket, quick_retries, monkeypatch, caplog):
    monkeypatch.setattr("common.storage.gcs._SECONDS_OF_RETRIES", 0.05)
    with recording(remote):
        faulty_bucket.spoil("503", "POST", "job-status.json", times=float("inf"))
        while "the bucket cannot be reached" not in caplog.text:
            time.sleep(0.05)
        faulty_bucket.mend()
    assert progress.read(remote).state == "completed"


def test_the_status_of_an_earlier_version_is_read_and_followed(folder):
    left = leave_running(folder)
    plain = json.loads(progress._to_json(left))
    del plain["id"]
    storage.write_atomically(folder / "job-status.json", json.dumps(plain).encode())
    storage.write_atomically(folder / "lock.json", b"{}")
    assert progress.read(folder) == replace(left, id="")
    with recording(folder) as recorder:
        assert progress.read(folder).id == recorder.status.id
