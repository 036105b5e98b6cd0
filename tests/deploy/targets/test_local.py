"""The local target: in the foreground, detached, by cron; looked at and stopped."""

import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import job as jobs
from deploy import progress
from deploy.main import main
from deploy.progress import Process
from deploy.targets import local
from tests.support import ROOT
from tests.support.commands import run_command


def deploy(command: str, job_file: Path, *flags: str) -> int:
    return main([command, "--job", str(job_file), *flags])


def test_a_dry_run_prints_the_command_that_means_the_job_and_runs_nothing(job_file, tmp_path):
    done = run_command("deploy", "submit", "--target", "local", "--job", str(job_file), "--dry-run")
    assert done.returncode == 0, done.stderr
    command = shlex.split(done.stdout)
    assert command[:5] == [sys.executable, "-m", "deploy", "run", "--job"]
    assert jobs.read(command[5]) == jobs.read(str(job_file))
    assert not (tmp_path / "data").exists()


def test_flags_of_a_submission_are_those_of_the_run(job_file, capsys):
    assert deploy("submit", job_file, "--dry-run", "--if-changed", "--policy", "not_worse") == 0
    command = shlex.split(capsys.readouterr().out)
    assert command[-1] == "--if-changed"
    assert jobs.read(command[5]).gate.policy == "not_worse"


def test_in_the_foreground_the_exit_code_is_that_of_the_run(job_file, source):
    next(source.folder.glob("t10k-labels*")).unlink()
    done = run_command("deploy", "submit", "--job", str(job_file))
    assert done.returncode == 2
    assert "t10k-labels-idx1-ubyte.gz: no such file" in done.stderr


def test_stopping_the_submission_stops_what_runs_for_it(tmp_path):
    started = tmp_path / "started"
    child = f"import os, pathlib, time; pathlib.Path({str(started)!r}).write_text(str(os.getpid())); time.sleep(60)"
    program = f"import sys; from deploy.targets import local; sys.exit(local._run([sys.executable, '-c', {child!r}]))"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as job:
        while not started.exists() or not started.read_text():
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=20) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


@pytest.fixture
def endless_job(job_file):
    """A job that trains until it is cancelled."""
    job_file.write_text(job_file.read_text().replace("epochs: 6", "epochs: 100000"))
    yield job_file
    deploy("cancel", job_file)  # what a test that has failed left at work


@pytest.mark.tensorflow
def test_a_detached_retraining_is_looked_at_followed_and_cancelled(endless_job, capsys, caplog):
    assert deploy("submit", endless_job, "--detach") == 0
    assert capsys.readouterr().out.startswith("digits: at work as process ")
    follower = subprocess.Popen(
        [sys.executable, "-m", "deploy", "logs", "--job", str(endless_job), "--follow"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert any(line.startswith("epoch 3/100000") for line in follower.stdout)
    assert deploy("submit", endless_job, "--detach") == 2
    assert "is writing it; wait for that one, or stop it" in caplog.text
    assert deploy("status", endless_job) == 0
    words = capsys.readouterr().out
    assert "digits: running, begun" in words
    assert "  train       running" in words
    assert deploy("cancel", endless_job) == 0
    assert capsys.readouterr().out == "digits: stopped; the same command resumes it\n"
    assert follower.communicate(timeout=20)[0].endswith("error: stopped by SIGTERM\n")
    assert deploy("status", endless_job) == 0
    assert "digits: stopped" in capsys.readouterr().out
    assert deploy("cancel", endless_job) == 2
    assert "digits: no retraining is at work" in capsys.readouterr().err


def test_a_detached_start_that_fails_at_once_says_why(job_file, tmp_path, capsys):
    (tmp_path / "runs").write_text("in the way")
    assert deploy("submit", job_file, "--detach") == 2
    assert "runs" in capsys.readouterr().err


def test_a_stranger_with_the_number_of_the_process_is_left_alone(job_file, tmp_path, capsys):
    folder = tmp_path / "runs" / "digits"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        with progress.recording(folder, "digits", "commit") as recorder:
            process = replace(recorder.status.process, pid=stranger.pid)
            recorder.update(process=process)
            assert deploy("cancel", job_file) == 2
            assert f"process {stranger.pid} is not the retraining any more" in capsys.readouterr().err
            recorder.update(process=Process("elsewhere", process.pid, process.started))
            assert deploy("cancel", job_file) == 2
            assert "is at work on elsewhere; cancel it there" in capsys.readouterr().err
        assert stranger.poll() is None
        stranger.kill()


def test_before_anything_was_started_that_is_said(job_file, capsys):
    assert deploy("status", job_file) == 0
    assert capsys.readouterr().out == "digits: no retraining has been started yet\n"
    assert deploy("logs", job_file) == 2
    assert "log.txt: no such file" in capsys.readouterr().err
    assert deploy("history", job_file) == 0
    assert capsys.readouterr().out == "digits: nothing has been decided yet\n"


def test_what_a_machine_keeps_of_a_job_in_a_bucket_lies_in_its_cache(job_file, monkeypatch, tmp_path, bucket):
    monkeypatch.setenv("HOME", str(tmp_path))
    job = jobs.read(str(job_file))
    places = {local._place(replace(job, runs_dir=f"{bucket}/{name}")) for name in ("one", "two")}
    assert len(places) == 2
    assert all(place.parent == tmp_path / ".cache/handwriting-trainer/jobs" for place in places)
    assert local._place(job) == tmp_path / "runs" / "digits"


def test_an_unknown_target_is_answered_with_the_known_ones(capsys):
    assert main(["submit", "--job", "x", "--target", "moon"]) == 2
    assert "'moon'" in (error := capsys.readouterr().err)
    assert "local" in error
