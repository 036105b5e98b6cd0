"""A run folder holds one run, and says how it stands."""

import json
from dataclasses import replace

import pytest

from preprocess.errors import InputError
from trainer.config import TrainConfig
from trainer.run_folder import COMPLETED, RunFolder

CONFIG = TrainConfig("d", "r")
FACTS = {"data_fingerprint": "f", "seed": 0}


def test_a_complete_run_is_found_done_and_an_interrupted_one_begins_anew(tmp_path):
    files = RunFolder(tmp_path / "run")
    assert files.start(CONFIG, FACTS)
    assert json.loads(files.run.read_text())["exit_reason"] is None
    files.metrics_by_epoch.write_text("left by the interrupted run")
    assert files.start(CONFIG, FACTS)
    assert not files.metrics_by_epoch.exists()
    files.end(COMPLETED)
    assert not files.start(replace(CONFIG, data="elsewhere"), FACTS)
    run = json.loads(files.run.read_text())
    assert run["exit_reason"] == "completed"
    assert run["started"] <= run["ended"]


@pytest.mark.parametrize(
    ("config", "facts", "complaint"),
    [
        (replace(CONFIG, epochs=3, seed=5), FACTS, r"another run \(other epochs, seed\)"),
        (CONFIG, FACTS | {"data_fingerprint": "g"}, "a run on other data"),
    ],
)
def test_another_run_is_refused(tmp_path, config, facts, complaint):
    files = RunFolder(tmp_path / "run")
    files.start(CONFIG, FACTS)
    files.end(COMPLETED)
    before = {path: path.read_bytes() for path in files.path.iterdir()}
    with pytest.raises(InputError, match=complaint):
        files.start(config, facts)
    assert {path: path.read_bytes() for path in files.path.iterdir()} == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        RunFolder(tmp_path).start(CONFIG, FACTS)
    with pytest.raises(InputError, match="is a file"):
        RunFolder(tmp_path / "thesis.txt").start(CONFIG, FACTS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
