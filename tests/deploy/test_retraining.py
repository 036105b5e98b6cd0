"""Whole retrainings: on a schedule, interrupted, several at once, with several workers, in a bucket."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from common import storage
from deploy import job as jobs
from deploy import progress
from deploy import serving as servings
from deploy.gate import comparison
from deploy.gate.decision import decide
from deploy.main import main
from deploy.serving import Model, NewVersion
from preprocess import pipeline
from tests.support import ROOT
from tests.support.commands import deploy, run_command
from tests.support.jobs import Source
from tests.support.workers import free_port, tf_config
from trainer.data import datasets
from trainer.evaluation import holdout
from trainer.runs import run_folder

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("models_loaded_once")]


def run(job_file: Path) -> subprocess.CompletedProcess[str]:
    return run_command("deploy", "run", "--job", str(job_file))


def start(job_file: Path, *flags: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "deploy", "run", "--job", str(job_file), *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, **pipes)


def read_status(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "runs" / "digits" / "job-status.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.xdist_group("alone")
def test_three_weeks_of_a_schedule(source, job_file, crontab, tmp_path, capsys):
    """Cron starts what `schedule` has installed; a worse model of bad data is refused, a better one promoted.

    In the first week, that is; later, this process does what the line says.
    """
    deploy(capsys, "schedule", "--job", str(job_file))
    due = crontab.read_text().split(maxsplit=5)[5]
    words = shlex.split(due)
    command = words[words.index("deploy") + 1 : words.index(">>")]
    log, serving = tmp_path / "runs" / "digits" / "log.txt", tmp_path / "serving" / "digits"

    assert subprocess.run(["sh", "-c", due], cwd="/", check=False).returncode == 0, log.read_text()
    promoted = "digits: promoted: version 1: no model is in use yet; every threshold is met: accuracy"
    assert log.read_text().splitlines()[-1].startswith(promoted)
    first = contents(serving)

    source.write(train=700, test=1100, wrong=0.7)
    ending = deploy(capsys, *command)
    assert ending.startswith("digits: refused: ")
    assert contents(serving) == first, "what is served is untouched"
    refused = json.loads((Path(read_status(tmp_path)["run"]) / "gate.json").read_text())
    assert (refused["outcome"], refused["champion"]) == ("refuse", "version 1")
    assert refused["gate"]["champion"]["accuracy"] > refused["gate"]["challenger"]["accuracy"]
    assert refused["reason"] in ending

    source.write(train=1800, test=1200)
    assert deploy(capsys, *command).startswith("digits: promoted: version 2: better than version 1: ")
    assert servings.read(serving).current.version == 2
    assert "versions: 2 }" in (serving / "models.config").read_text()
    second = contents(serving)
    assert {name: second[name] for name in first if name.startswith("1/")} == {
        name: content for name, content in first.items() if name.startswith("1/")
    }

    assert deploy(capsys, *command).startswith("digits: unchanged: neither data nor recipe has changed since")
    assert read_status(tmp_path)["steps"]["train"]["state"] == "skipped"
    assert contents(serving) == second

    lines = deploy(capsys, "history", "--job", str(job_file)).splitlines()
    assert [line.split()[1] for line in lines[1:-1]] == ["promoted", "refused", "promoted"]
    assert lines[-1] == "in use: version 2"

    deploy(capsys, "rollback", "--job", str(job_file))
    assert servings.read(serving).current.version == 1
    ending = deploy(capsys, "run", "--job", str(job_file))  # though nothing has changed
    assert ending.startswith("digits: refused: this very model was rolled back at ")
    assert servings.read(serving).current.version == 1

    deploy(capsys, "unschedule", "--job", str(job_file))
    assert crontab.read_text() == ""


def wait_for_step(tmp_path: Path, name: str, process: subprocess.Popen) -> None:
    """Returns when the process is at work on that step."""
    while process.poll() is None:
        status = progress.read(tmp_path / "runs" / "digits")
        if status and status.process.pid == process.pid and status.steps[name].state == "running":
            return
        time.sleep(0.01)
    raise AssertionError(process.stderr.read())


def test_a_kill_in_any_step_changes_nothing_that_is_served_and_the_next_run_goes_on(promoted, tmp_path, capsys):
    before = contents(tmp_path / "serving")
    Source(tmp_path / "source").write(train=1800)
    for step in ("preprocess", "train", "evaluate"):
        with start(promoted) as process:
            wait_for_step(tmp_path, step, process)
            process.kill()
        assert contents(tmp_path / "serving") == before
        assert "interrupted; the same command resumes it" in deploy(capsys, "status", "--job", str(promoted))
    ending = deploy(capsys, "run", "--job", str(promoted))
    assert ending.startswith("digits: promoted: version 2: better than version 1")
    states = {name: step["state"] for name, step in read_status(tmp_path)["steps"].items()}
    assert (states["preprocess"], states["train"]) == ("found_done", "found_done")
    assert (states["gate"], states["promote"]) == ("done", "done")


def test_an_overlapping_start_is_refused_and_the_first_may_be_stopped(job_file, tmp_path):
    with start(job_file) as process:
        wait_for_step(tmp_path, "train", process)
        overlapping = run(job_file)
        assert overlapping.returncode == 2
        assert "is writing it; wait for that one, or stop it" in overlapping.stderr
        process.terminate()
        assert process.wait(20) == 143
    status = read_status(tmp_path)
    assert (status["state"], status["steps"]["train"]["state"]) == ("stopped", "failed")


def test_bad_input_is_told_in_one_line_and_recorded(source, job_file, tmp_path):
    next(source.folder.glob("t10k-labels*")).unlink()
    done = run(job_file)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("t10k-labels-idx1-ubyte.gz: no such file")
    status = read_status(tmp_path)
    assert (status["state"], status["steps"]["preprocess"]["state"]) == ("failed", "failed")
    assert status["reason"].endswith("no such file")
    assert servings.read(tmp_path / "serving" / "digits").current is None


def test_a_serving_folder_that_cannot_be_is_told_before_the_work(job_file, tmp_path, capsys):
    (tmp_path / "serving").write_text("in the way")
    assert main(["run", "--job", str(job_file)]) == 2
    assert "serving/digits: " in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.fixture
def two_workers() -> tuple[str, str]:
    """The `TF_CONFIG` of each; the first is the chief."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    return tf_config("worker", 0, worker=addresses), tf_config("worker", 1, worker=addresses)


def printed_by(worker: subprocess.Popen) -> str:
    """What a worker has printed that ends well."""
    printed, complaint = worker.communicate(timeout=200)
    assert worker.returncode == 0, complaint
    return printed


@pytest.mark.xdist_group("alone")
@pytest.mark.thorough  # the two pods of an Indexed Job do the same in a bucket
def test_of_two_workers_the_chief_does_all_but_the_training(job_file, two_workers, tmp_path):
    chief, other = (start(job_file, TF_CONFIG=worker) for worker in two_workers)
    assert printed_by(chief).splitlines()[-1].startswith("digits: promoted: version 1")
    assert printed_by(other).splitlines()[-1] == "digits: trained as worker 1; the chief continues alone"
    facts = json.loads((Path(read_status(tmp_path)["run"]) / "run.json").read_text())
    assert facts["num_replicas"] == 2


@pytest.mark.parametrize(("flags", "outcome"), [(["--if-changed"], "unchanged"), ([], "kept")])
def test_the_other_worker_is_told_that_there_is_nothing_to_train(
    promoted, two_workers, flags, outcome, monkeypatch, capsys
):
    monkeypatch.setenv("TF_CONFIG", two_workers[0])  # this process is the chief
    with start(promoted, *flags, TF_CONFIG=two_workers[1]) as other:
        ending = deploy(capsys, "run", "--job", str(promoted), *flags)
        assert ending.startswith(f"digits: {outcome}: ")
        assert printed_by(other).startswith(f"digits: {outcome}, with nothing to train")


@pytest.mark.thorough  # two pods do so, too; what differs in a bucket is tested of each part
def test_all_may_lie_in_a_bucket(source, job_file, faulty_bucket, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))  # for the cache
    settings = yaml.safe_load(job_file.read_text())
    settings["preprocess"]["data_dir"] = "gs://test/data"
    settings |= {"runs_dir": "gs://test/runs", "serving": {"dir": "gs://test/serving"}}
    line = json.dumps(settings)
    assert main(["run", "--job", line]) == 0
    assert capsys.readouterr().out.startswith("digits: promoted: version 1")
    serving = storage.to_path("gs://test/serving/digits")
    assert servings.read(serving).current.version == 1
    assert 'base_path: "gs://test/serving/digits"' in (serving / "models.config").read_text()
    assert not list(storage.to_path("gs://test/").rglob("lock.json")), "job-status.json is the lock"

    assert main(["run", "--job", line]) == 0
    assert capsys.readouterr().out == "digits: kept: version 1 is this very model\n"
    assert main(["status", "--job", line]) == 0
    assert "digits: kept" in capsys.readouterr().out
    settings["train"]["epochs"], settings["gate"]["min_accuracy"] = 1, 1.0
    assert main(["run", "--job", json.dumps(settings)]) == 0
    assert capsys.readouterr().out.startswith("digits: refused: accuracy is ")
    assert main(["history", "--job", line]) == 0
    assert [row.split()[1] for row in capsys.readouterr().out.splitlines()[1:-1]] == ["promoted", "refused"]


def test_a_challenger_whose_champion_was_replaced_is_compared_again(promoted, tmp_path, monkeypatch, caplog, capsys):
    """Nothing is in use; while this job verifies its copy, another promotes a model that is as good."""
    serving, model = tmp_path / "serving" / "digits", tmp_path / "model"
    (serving / "1").rename(model)
    (model / "README.md").write_text("another model")
    shutil.rmtree(serving)
    verify = comparison.verify

    def interfered(copy, config, evaluation):
        verify(copy, config, evaluation)
        facts = Model(servings.fingerprint(model), "elsewhere", "data", 0.5, "quicker")
        files = {"trained_on.npy": (model / "assets.extra" / "trained_on.npy").read_bytes()}
        other = NewVersion(model, facts, files, verify=lambda copy: None)
        assert servings.promote(servings.read(serving), other, keep=5) == 2

    monkeypatch.setattr(comparison, "verify", interfered)
    assert main(["run", "--job", str(promoted)]) == 0
    assert "the model in use was replaced during the comparison; comparing" in caplog.text
    assert capsys.readouterr().out.startswith("digits: refused: not better than version 2: ")
    assert servings.read(serving).current.version == 2
    assert not (serving / "1").exists()


def test_a_finished_run_may_be_sent_through_the_gate(promoted, tmp_path, capsys):
    (finished,) = (tmp_path / "runs" / "digits").glob("*-*/")
    promote = ["promote", "--job", str(promoted), "--run"]
    assert main([*promote, str(finished)]) == 0
    assert capsys.readouterr().out == "digits: kept: version 1 is this very model\n"
    shutil.rmtree(tmp_path / "serving")
    assert main([*promote, str(finished)]) == 0
    assert capsys.readouterr().out.startswith("digits: promoted: version 1: no model is in use yet")
    status = read_status(tmp_path)
    assert (status["state"], status["outcome"], status["run"]) == ("completed", "promoted", str(finished))
    assert [step["state"] for step in status["steps"].values()] == ["skipped"] * 2 + ["found_done"] * 2 + ["done"]
    assert status["decided"], "--if-changed goes by the retraining before it"
    trained_on = np.load(tmp_path / "serving/digits/1/assets.extra/trained_on.npy")
    assert len(trained_on) == 700, "training and validation"

    assert main([*promote, str(tmp_path / "none")]) == 2
    assert "none: holds no finished run" in capsys.readouterr().err
    Source(tmp_path / "source").write(train=800)
    pipeline.run(jobs.read(str(promoted)).preprocess)
    assert main([*promote, str(finished)]) == 2
    assert "was trained on other data than" in capsys.readouterr().err


def test_examples_that_the_model_in_use_was_trained_on_do_not_decide(promoted, tmp_path, capsys):
    """In the second week the first 200 training examples have become test examples."""
    Source(tmp_path / "source").write(train=700, moved=200)
    pipeline.run(jobs.read(str(promoted)).preprocess)
    job = jobs.read(str(promoted))
    config = replace(job.train, run_dir=str(next((tmp_path / "runs" / "digits").glob("*-*/"))))
    evaluation, _, _ = comparison.evaluate(config, servings.read(job.serving_folder), tmp_path / "evaluation.npz")
    assert evaluation.champion.has_seen.sum() == 200
    decision = decide(evaluation, job.gate)
    assert decision.gate.left_out + decision.reporting.left_out == 200
    assert decision.gate.num_examples + decision.reporting.num_examples == 1000


def test_what_a_models_ancestors_have_seen_does_not_decide(promoted, tmp_path):
    """The run's own record says so; runs of earlier versions have none, and have seen their dataset only."""
    job = jobs.read(str(promoted))
    config = replace(job.train, run_dir=str(next((tmp_path / "runs" / "digits").glob("*-*/"))))
    recorded, serving = Path(config.run_dir) / run_folder.TRAINED_ON, servings.read(job.serving_folder)
    test = datasets.open(config.data.folder, config.data.cache_dir, 1).examples("test")
    of_ancestors = holdout.pixel_hashes(test)[:30]
    run_folder.write_hashes(recorded, np.union1d(np.load(recorded), of_ancestors))
    evaluation, trained_on, _ = comparison.evaluate(config, serving, tmp_path / "evaluation.npz")
    assert np.flatnonzero(evaluation.challenger.has_seen).tolist() == list(range(30))
    assert set(of_ancestors.tolist()) < set(trained_on.tolist()), "which go with the model when it is promoted"
    recorded.unlink()
    evaluation, trained_on, _ = comparison.evaluate(config, serving, tmp_path / "again.npz")
    assert not evaluation.challenger.has_seen.any()
    assert len(trained_on) == 700


def test_what_is_served_is_not_trusted_blindly(promoted, tmp_path, capsys):
    (tmp_path / "serving/digits/1/variables/variables.index").write_bytes(b"damaged")
    (finished,) = (tmp_path / "runs" / "digits").glob("*-*/")
    (finished / "model" / "README.md").write_text("another model")
    assert main(["promote", "--job", str(promoted), "--run", str(finished)]) == 2
    assert "serving/digits/1: its files have changed" in capsys.readouterr().err
