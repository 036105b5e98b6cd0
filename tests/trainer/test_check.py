"""Before a run counts as done, another process loads its exports and reproduces the figures."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from common.errors import FailedError, InputError
from tests.support.datasets import DIGITS
from tests.support.settings import train_config
from trainer import check, main, train
from trainer.config.commands import CheckConfig
from trainer.evaluation.calibration import Calibration
from trainer.runs import run_folder
from trainer.serving import saved_model
from trainer.tasks.characters import TASK


@pytest.fixture
def moved(finished_run, tmp_path) -> Path:
    """A copy of a run, to be damaged."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_a_run_is_checked_by_another_process_that_lists_what_it_found(moved, caplog):
    with caplog.at_level("INFO", "trainer"):
        check.in_fresh_process(moved)
    assert "Dense" in caplog.text
    for line in (
        "model.keras, loaded again, reproduces the test figures",
        "model, loaded again, reproduces the test figures",
        "model, loaded again, takes PNG pictures of 10 classes",
    ):
        assert line in caplog.text


@pytest.mark.parametrize("export_name", ["model.keras", "model"])
def test_an_export_with_other_weights_fails(moved, export_name):
    network = keras.models.load_model(moved / "model.keras")
    logits = network.get_layer("logits")
    kernel, bias = logits.get_weights()
    logits.set_weights([kernel, bias + 0.01 * np.arange(10)])
    if export_name == "model.keras":
        saved_model.save_keras(network, moved / "model.keras")
    else:
        shutil.rmtree(moved / "model")
        calibration = Calibration(json.loads((moved / "metrics.json").read_text())["temperature"])
        saved_model.save_saved_model(saved_model.to_module(network, TASK, DIGITS, calibration), moved / "model")
    with pytest.raises(FailedError, match=rf"run/{export_name}: gives .* but the trained network gave"):
        check.run(CheckConfig(str(moved)))


def test_a_run_whose_check_fails_is_not_done_and_goes_on_there(synthetic_digits, tmp_path, monkeypatch):
    config = train_config(str(synthetic_digits), str(tmp_path / "run"), model="dense", epochs=1)
    with monkeypatch.context() as patched:
        to_module = saved_model.to_module
        patched.setattr(
            saved_model,
            "to_module",
            lambda model, task, schema, _, novelty: to_module(model, task, schema, Calibration(7.0), novelty),
        )
        with pytest.raises(FailedError, match="run/model: gives"):
            train.run(config)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["exit_reason"].startswith("FailedError: ")
    assert train.run(config) == config.run_dir
    assert json.loads((tmp_path / "run" / "run.json").read_text())["exit_reason"] == "completed"


def test_the_check_may_be_left_out_and_that_makes_no_other_run(synthetic_digits, tmp_path, monkeypatch):
    config = train_config(str(synthetic_digits), str(tmp_path / "run"), model="dense", epochs=1, verify_export=False)
    monkeypatch.setattr(check, "subprocess", None)  # none can be started
    train.run(config)
    starts = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
    train.run(replace(config, verify_export=True))
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["exit_reason"], run["starts"]) == ("completed", starts), "it is done already"


def test_the_process_finds_this_package_wherever_it_is_started(moved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}')
    check.in_fresh_process(moved)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") != "-1"


def test_from_the_command_line_the_run_folder_is_the_last_line(finished_run, capsys):
    assert main.main(["check", str(finished_run)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(finished_run)


def test_what_is_not_there_is_named(moved):
    with pytest.raises(InputError, match=r"nowhere: holds no finished run"):
        check.run(CheckConfig("nowhere"))
    (moved / run_folder.PREDICTIONS).write_bytes(b"")
    with pytest.raises(InputError, match=r"predictions\.npz: cannot be read"):
        check.run(CheckConfig(str(moved)))
