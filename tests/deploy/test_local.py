"""The local target: both steps as one job, with one exit code."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy import job as jobs
from deploy import local, task
from preprocess import cli
from preprocess.config import PreprocessConfig
from tests.conftest import ROOT, run_command
from trainer.config import TrainConfig


@pytest.fixture
def job_file(make_source, tmp_path) -> Path:
    source = make_source("mnist/original", train=400, test=100)
    path = tmp_path / "job.yaml"
    path.write_text(
        f"preprocess: {{dataset: mnist/original, source: {source.folder}, data_dir: {tmp_path / 'data'}}}\n"
        f"train: {{model: dense, epochs: 1, global_batch_size: 50, run_dir: {tmp_path / 'run'}}}\n"
    )
    return path


def test_a_dry_run_prints_commands_that_mean_the_job_and_runs_nothing(job_file, tmp_path):
    done = run_command("deploy", "submit", "--target", "local", "--job", str(job_file), "--dry-run")
    assert done.returncode == 0, done.stderr
    first, second = map(shlex.split, done.stdout.splitlines())
    assert first[:3] == [sys.executable, "-m", "preprocess"]
    assert second[:4] == [sys.executable, "-m", "trainer", "train"]
    job = jobs.read(str(job_file))
    assert cli.parse(PreprocessConfig, first[3:], "x") == job.preprocess
    assert cli.parse(TrainConfig, second[4:], "x") == job.train
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_job_runs_from_source_files_to_a_model(job_file, tmp_path):
    done = run_command("deploy", "submit", "--job", str(job_file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "run")
    assert (tmp_path / "run" / "model" / "saved_model.pb").exists()


def test_the_first_command_that_fails_gives_the_exit_code(job_file, tmp_path):
    next((tmp_path / "source").rglob("t10k-labels*")).unlink()
    done = run_command("deploy", "submit", "--job", str(job_file))
    assert done.returncode == 2
    assert "t10k-labels-idx1-ubyte.gz: no such file" in done.stderr
    assert not (tmp_path / "run").exists()


def test_stopping_the_job_stops_the_command_that_runs_for_it(tmp_path):
    started = tmp_path / "started"
    child = f"import os, pathlib, time; pathlib.Path({str(started)!r}).write_text(str(os.getpid())); time.sleep(60)"
    program = f"import sys; from deploy import local; sys.exit(local._run([sys.executable, '-c', {child!r}]))"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as job:
        while not started.exists() or not started.read_text():
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=20) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_an_unknown_target_is_answered_with_the_known_ones(capsys):
    assert task.main(["submit", "--job", "x", "--target", "moon"]) == 2
    assert "'moon'" in (error := capsys.readouterr().err)
    assert "local" in error


def test_commands_run_with_this_python(job_file):
    assert all(command[0] == sys.executable for command in local.commands(jobs.read(str(job_file))))
