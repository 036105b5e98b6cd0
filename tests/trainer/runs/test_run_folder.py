"""A run folder holds one run and its state."""

import json
from dataclasses import replace

import pytest

from common.errors import InputError
from tests.support.settings import changed, train_config
from trainer.runs import run_folder

CONFIG = train_config("d", "r")
FACTS = {"data_fingerprint": "f", "seed": 0}


def start(folder, config=CONFIG, run_info=FACTS) -> bool:
    """As a run does: whether there was anything to do."""
    if run_folder.is_complete(folder, config, run_info["data_fingerprint"]):
        return False
    run_folder.begin(folder, config, run_info)
    return True


def test_a_complete_run_is_found_done_and_an_interrupted_one_goes_on(tmp_path):
    folder = tmp_path / "run"
    assert start(folder)
    assert json.loads((folder / "run.json").read_text())["exit_reason"] is None
    for name in ("metrics.jsonl", "metrics.json", "curves.png", "incomplete-model"):
        (folder / name).write_text("left by the interrupted run")
    (folder / "checkpoints").mkdir()
    assert start(folder)
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["checkpoints", "config.yaml", "metrics.jsonl", "run.json"]
    run_folder.mark_finished(folder, run_folder.COMPLETED)
    assert start(folder), "without its results a run is not done"
    for name in (*run_folder._BY_EPOCH, *run_folder._FINAL):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    run_folder.mark_finished(folder, run_folder.COMPLETED)
    assert not start(folder, changed(CONFIG, data="elsewhere"))
    run = json.loads((folder / "run.json").read_text())
    assert run["exit_reason"] == "completed"
    assert len(run["starts"]) == 3
    assert run["starts"] == sorted(run["starts"])


def test_lines_of_epochs_that_are_to_be_trained_again_go(tmp_path):
    lines = [{"epoch": 1, "loss": 0.1}, {"epoch": 2, "loss": 0.2}]
    for line in lines:
        run_folder.append_json_line(tmp_path / "timings.jsonl", line)
    run_folder.truncate_history(tmp_path, lines[:1])
    for name in ("metrics.jsonl", "timings.jsonl"):
        assert (tmp_path / name).read_text() == '{"epoch": 1, "loss": 0.1}\n'


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("config.yaml", "config.yaml"),
        ("config.yaml", ".config.yaml.x7"),
        ("run.json", "run.json"),
        ("run.json", ".run.json.partial"),
    ],
)
def test_a_run_killed_at_its_very_start_can_be_started_again(tmp_path, name, left):
    start(tmp_path / "run")
    (tmp_path / "killed").mkdir()
    (tmp_path / "run" / name).rename(tmp_path / "killed" / left)
    assert start(tmp_path / "killed")


@pytest.mark.parametrize(
    ("config", "run_info", "complaint"),
    [
        (replace(CONFIG, epochs=3, seed=5), FACTS, r"another run \(other epochs, seed\)"),
        (CONFIG, FACTS | {"data_fingerprint": "g"}, "a run on other data"),
    ],
)
def test_another_run_is_refused(tmp_path, config, run_info, complaint):
    folder = tmp_path / "run"
    start(folder)
    run_folder.mark_finished(folder, run_folder.COMPLETED)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match=complaint):
        start(folder, config, run_info)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        start(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        start(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_damaged_state_is_named(tmp_path):
    start(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run.json: is damaged"):
        start(tmp_path / "run")
