"""A run folder holds one run, and says how it stands."""

import json
from dataclasses import replace

import pytest

from preprocess.errors import InputError
from trainer import run_folder
from trainer.config import TrainConfig

CONFIG = TrainConfig("d", "r")
FACTS = {"data_fingerprint": "f", "seed": 0}


def test_a_complete_run_is_found_done_and_an_interrupted_one_begins_anew(tmp_path):
    folder = tmp_path / "run"
    assert run_folder.start(folder, CONFIG, FACTS)
    assert json.loads((folder / "run.json").read_text())["exit_reason"] is None
    (folder / "metrics.jsonl").write_text("left by the interrupted run")
    assert run_folder.start(folder, CONFIG, FACTS)
    assert not (folder / "metrics.jsonl").exists()
    run_folder.end(folder, run_folder.COMPLETED)
    assert run_folder.start(folder, CONFIG, FACTS), "without its results a run is not done"
    for name in run_folder._RESULTS:
        (folder / name).touch()
    run_folder.end(folder, run_folder.COMPLETED)
    assert not run_folder.start(folder, replace(CONFIG, data="elsewhere"), FACTS)
    run = json.loads((folder / "run.json").read_text())
    assert run["exit_reason"] == "completed"
    assert run["started"] <= run["ended"]


@pytest.mark.parametrize("left", ["config.yaml", ".config.yaml.x7"])
def test_a_run_killed_at_its_very_start_can_be_started_again(tmp_path, left):
    run_folder.start(tmp_path / "run", CONFIG, FACTS)
    (tmp_path / "killed").mkdir()
    (tmp_path / "run" / "config.yaml").rename(tmp_path / "killed" / left)
    assert run_folder.start(tmp_path / "killed", CONFIG, FACTS)


@pytest.mark.parametrize(
    ("config", "facts", "complaint"),
    [
        (replace(CONFIG, epochs=3, seed=5), FACTS, r"another run \(other epochs, seed\)"),
        (CONFIG, FACTS | {"data_fingerprint": "g"}, "a run on other data"),
    ],
)
def test_another_run_is_refused(tmp_path, config, facts, complaint):
    folder = tmp_path / "run"
    run_folder.start(folder, CONFIG, FACTS)
    run_folder.end(folder, run_folder.COMPLETED)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match=complaint):
        run_folder.start(folder, config, facts)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        run_folder.start(tmp_path, CONFIG, FACTS)
    with pytest.raises(InputError, match="is a file"):
        run_folder.start(tmp_path / "thesis.txt", CONFIG, FACTS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_damaged_state_is_named(tmp_path):
    run_folder.start(tmp_path / "run", CONFIG, FACTS)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run.json: is damaged"):
        run_folder.start(tmp_path / "run", CONFIG, FACTS)
