"""One retraining at a time: an overlapping start is refused, a holder that is gone is in nobody's way."""

import subprocess
import sys
import threading

import pytest

from common import storage
from common.errors import InputError, TemporaryError
from deploy import job as jobs
from deploy.main import main
from deploy.state import lock
from tests.support import ROOT


@pytest.fixture
def quick_beats(monkeypatch):
    monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lock, "_EXPIRES_SECONDS", 1.0)
    monkeypatch.setattr(lock, "_POLL_SECONDS", 0.05)


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path, quick_beats):
    if request.param == "disk":
        return tmp_path / "runs" / "digits"
    request.getfixturevalue("faulty_bucket")
    return storage.to_path("gs://test/runs/digits")


def test_an_overlapping_start_is_refused(folder):
    with lock.held(folder):
        assert lock.is_held(folder)
        with (
            pytest.raises(InputError, match=f"{storage.this_process()} is (writing it|at work); wait"),
            lock.held(folder),
        ):
            pass
        with pytest.raises(InputError), lock.held(folder):  # nor has that one broken the lock
            pass


def test_a_start_beside_another_is_bad_input_by_hand_and_may_pass_where_nobody_is(job_file, monkeypatch, capsys):
    command = ["run", "--job", str(job_file)]
    with lock.held(jobs.read(str(job_file)).folder):
        assert main(command) == 2
        assert f"{storage.this_process()} is writing it; wait for that one, or stop it" in capsys.readouterr().err
        assert main([*command, "--if-changed"]) == 75, "as a schedule starts it"
        assert f"{storage.this_process()} is writing it; wait for that one, or stop it" in capsys.readouterr().err
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        assert main(command) == 75, "in a pod"


def test_at_the_end_it_is_free(folder):
    for _ in range(2):
        with lock.held(folder):
            pass
        assert not lock.is_held(folder)


def test_other_jobs_do_not_mind(folder):
    with lock.held(folder), lock.held(folder.parent / "letters"):
        assert lock.is_held(folder)


HOLDER = """
import sys, time
from deploy.state import lock
from common import storage
lock._BEAT_SECONDS = 0.1
with lock.held(storage.to_path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_holder_that_was_killed_is_followed(folder):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError), lock.held(folder):
            pass
        holder.kill()
    with lock.held(folder):
        pass


def test_of_many_that_follow_one_has_it(folder):
    if folder.parts[0] == "gs://":
        storage.write_atomically(folder / "lock.json", b"of a holder that is gone")
    results, is_held = [], threading.Event()

    def follow() -> None:
        try:
            with lock.held(folder):
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


def test_a_holder_that_was_cut_off_finds_that_it_has_lost_the_lock(faulty_bucket, quick_beats):
    folder = storage.to_path("gs://test/runs/digits")
    with lock.held(folder) as check:
        check()
        storage.write_atomically(folder / "lock.json", b"another's")
        with pytest.raises(TemporaryError, match="the lock was lost"):
            for _ in range(100):
                threading.Event().wait(0.05)
                check()
    assert storage.read(folder / "lock.json") == b"another's"


def test_a_lock_that_was_taken_over_at_the_very_end_is_left_alone(faulty_bucket):
    folder = storage.to_path("gs://test/runs/digits")
    with lock.held(folder):  # no beat comes in this time
        storage.write_atomically(folder / "lock.json", b"another's")
    assert storage.read(folder / "lock.json") == b"another's"
