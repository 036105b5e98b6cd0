"""A run folder may lie in a bucket: nothing of it is lost, and a machine that comes up empty goes on with it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from preprocess import storage
from preprocess.errors import FailedError, InputError
from tests.conftest import ROOT
from trainer import evaluate, report, train
from trainer.config import EvaluateConfig, ReportConfig, TrainConfig
from trainer.mirror import Mirror


@pytest.fixture
def remote(bucket):
    return storage.to_path(f"{bucket}/runs/one")


def names(remote) -> list[str]:
    return sorted(str(path.relative_to(remote)) for path in remote.rglob("*") if path.is_file())


def test_what_is_written_comes_to_the_bucket_and_what_goes_goes(remote, tmp_path):
    mirror = Mirror(tmp_path / "run", remote)
    mirror.pull()
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "step-1.npz").write_bytes(b"one")
    (tmp_path / "run" / "metrics.jsonl").write_text("first\n")
    (tmp_path / "run" / "incomplete-model").mkdir()
    (tmp_path / "run" / "incomplete-model" / "half").write_bytes(b"?")
    (tmp_path / "run" / ".config.yaml.x").write_bytes(b"?")
    with mirror.running():
        for _ in range(100):
            if len(names(remote)) == 2:
                break
            time.sleep(0.1)
        assert names(remote) == ["checkpoints/step-1.npz", "metrics.jsonl"], "while it runs"
        (tmp_path / "run" / "checkpoints" / "step-1.npz").rename(tmp_path / "run" / "checkpoints" / "step-2.npz")
        with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
            file.write("second\n")
    assert names(remote) == ["checkpoints/step-2.npz", "metrics.jsonl"]
    assert (remote / "metrics.jsonl").read_text() == "first\nsecond\n"


def test_on_an_empty_machine_it_is_as_in_the_bucket_and_what_is_there_only_goes(remote, tmp_path):
    (remote / "metrics.jsonl").write_text("theirs")
    (remote / "checkpoints" / "step-2.npz").write_bytes(b"two")
    local = tmp_path / "run"
    (local / "checkpoints").mkdir(parents=True)
    (local / "metrics.jsonl").write_text("ours")
    (local / "checkpoints" / "step-9.npz").write_bytes(b"nine")
    Mirror(local, remote).pull()
    found = {path.relative_to(local).as_posix(): path.read_bytes() for path in local.rglob("*") if path.is_file()}
    assert found == {"metrics.jsonl": b"theirs", "checkpoints/step-2.npz": b"two"}


def test_what_did_not_get_there_is_named(remote, tmp_path):
    mirror = Mirror(tmp_path / "run", remote)
    mirror.pull()
    for name in ("metrics.json", "config.yaml"):
        (tmp_path / "run" / name).write_text(name)
    mirror.push()
    mirror.verify()
    (remote / "config.yaml").unlink()
    (remote / "metrics.json").write_text("other")
    with pytest.raises(FailedError, match=r"not there, or not whole: config.yaml, metrics.json"):
        mirror.verify()


@pytest.mark.parametrize("name", ["../outside", "a/../../b", "a/./b", "a//b", "a\\b", "/b"])
def test_no_object_leads_out_of_the_folder(remote, tmp_path, monkeypatch, name):
    # The emulator takes no such names, a bucket does.
    listing = [SimpleNamespace(name=f"{remote.blob}/{one}") for one in ("fine", name)]
    monkeypatch.setattr(remote.client.client, "list_blobs", lambda *_, **__: listing)
    with pytest.raises(InputError, match="is no name of a file"):
        Mirror(tmp_path / "run", remote).pull()
    assert not list(tmp_path.rglob("*b"))


@pytest.mark.slow
def test_a_run_in_a_bucket_is_the_run_on_a_disk(bucket, synthetic_digits, tmp_path, finished_run):
    """Killed on one machine and gone on with on another, both with their own empty cache; then evaluated and shown."""
    storage.to_path(f"{bucket}/digits").upload_from(synthetic_digits)
    run = storage.to_path(f"{bucket}/runs/dense")
    command = [sys.executable, "-m", "trainer", "train", "--data", f"{bucket}/digits", "--run-dir", str(run)]
    command += ["--model", "dense", "--epochs", "3", "--global-batch-size", "64", "--checkpoint-steps", "20"]

    def start(machine: str) -> subprocess.Popen:
        return subprocess.Popen(
            [*command, "--cache-dir", str(tmp_path / machine)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )

    with start("first") as first:
        while not list(run.glob("checkpoints/*.npz")):
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
    with start("second") as second:
        told = second.stderr.read()
        assert second.wait() == 0, told
    for name in ("metrics.jsonl", "metrics.json"):
        assert (run / name).read_text() == (finished_run / name).read_text()
    assert json.loads((run / "run.json").read_text())["exit_reason"] == "completed"
    shutil.rmtree(tmp_path / "second")
    assert train.run(
        TrainConfig(f"{bucket}/digits", str(run), "dense", 3, global_batch_size=64, cache_dir=str(tmp_path / "third"))
    ) == str(run)
    output = f"{bucket}/figures/test.json"
    assert evaluate.run(EvaluateConfig(str(run), f"{bucket}/digits", output=output, cache_dir=str(tmp_path))) == output
    found = json.loads(storage.to_path(output).read_text())
    assert found["accuracy"] == json.loads((run / "metrics.json").read_text())["test"]["accuracy"]
    page = storage.to_path(report.run(ReportConfig((str(run),))))
    assert page == run / "report" / "index.html"
    assert "data:image/png" in page.read_text()


def test_sigterm_leaves_the_last_checkpoint_in_the_bucket(bucket, synthetic_digits, tmp_path):
    run = storage.to_path(f"{bucket}/runs/stopped")
    command = [sys.executable, "-m", "trainer", "train", "--data", str(synthetic_digits), "--run-dir", str(run)]
    command += ["--model", "dense", "--epochs", "500", "--global-batch-size", "64", "--cache-dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        while not (run / "run.json").exists():
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
