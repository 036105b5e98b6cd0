"""A job without the GPUs that it was started for ends at once; the error names driver and library."""

import pytest

from common.errors import InputError
from deploy.main import main as deploy
from trainer import main
from trainer.distributed import gpus


@pytest.mark.tensorflow
def test_a_training_that_finds_fewer_gpus_than_it_was_started_for_ends_as_bad_input(
    synthetic_digits, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("EXPECTED_GPUS", "99")
    flags = ("--model", "dense", "--steps", "1", "--run-dir", str(tmp_path / "run"))
    assert main.main(["train", "--data", str(synthetic_digits), *flags]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("error: EXPECTED_GPUS 99: ")
    assert "NVIDIA's driver: " in complaint
    assert "libcuda.so.1" in complaint
    assert "/usr/local/nvidia/lib64" in complaint
    assert not (tmp_path / "run").exists()


def test_a_retraining_ends_before_its_first_step_where_the_drivers_library_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpus, "DRIVER_LIBRARY", "libcuda-that-is-not-there.so.1")
    monkeypatch.setenv("EXPECTED_GPUS", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/elsewhere")
    monkeypatch.chdir(tmp_path)
    assert deploy(["init"]) == 0
    assert deploy(["run", "--job", "job.yaml"]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert "its library libcuda-that-is-not-there.so.1: cannot be loaded (" in complaint
    assert "LD_LIBRARY_PATH (/opt/elsewhere)" in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]


def test_nothing_is_asked_where_nobody_has_said_how_many_there_should_be(monkeypatch):
    monkeypatch.delenv("EXPECTED_GPUS", raising=False)
    gpus.check_driver()
    gpus.check_count(0, is_built_with_cuda=False)


def test_more_than_were_asked_for_are_welcome(monkeypatch):
    monkeypatch.setenv("EXPECTED_GPUS", "2")
    gpus.check_count(2, is_built_with_cuda=True)
    gpus.check_count(3, is_built_with_cuda=True)
    with pytest.raises(InputError, match=r"EXPECTED_GPUS 2: 1 found .*; this TensorFlow was built without CUDA"):
        gpus.check_count(1, is_built_with_cuda=False)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023", "535.129.03"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (x@y)", "550.54.15"),
        ("something else", "of an unknown version"),
    ],
)
def test_the_drivers_version_is_read_from_the_kernel(monkeypatch, tmp_path, text, version):
    (tmp_path / "version").write_text(f"{text}\nGCC version: gcc version 12.2.0\n")
    monkeypatch.setattr(gpus, "_DRIVER_VERSION", tmp_path / "version")
    monkeypatch.setenv("EXPECTED_GPUS", "1")
    with pytest.raises(InputError, match=f"NVIDIA's driver: {version};"):
        gpus.check_count(0, is_built_with_cuda=True)


@pytest.mark.parametrize("text", ["one", "-1", "1.5", ""])
def test_what_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv("EXPECTED_GPUS", text)
    with pytest.raises(InputError, match=f"EXPECTED_GPUS '{text}': must be the number"):
        gpus.num_expected()
