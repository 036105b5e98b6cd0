"""`job-status.json`: how far a retraining is, also after it has ended in whatever way."""

import json

import pytest

from common import storage
from common.errors import InputError, StoppedError
from deploy import progress
from deploy.progress import Decided


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    if request.param == "disk":
        return tmp_path / "runs" / "digits"
    return storage.to_path(f"{request.getfixturevalue('bucket')}/runs/digits")


def recording(folder):
    return progress.recording(folder, "digits", "commit")


def test_each_step_leaves_its_state(folder):
    with recording(folder) as recorder:
        with recorder.step("preprocess") as result:
            assert progress.read(folder).steps["preprocess"].state == "running"
            result.text = "made"
        with recorder.step("train") as result:
            result.was_done = True
    status = progress.read(folder)
    assert status == recorder.status
    assert {name: step.state for name, step in status.steps.items()} == {
        "preprocess": "done",
        "train": "found_done",
        "evaluate": "skipped",
        "gate": "skipped",
        "promote": "skipped",
    }
    assert (status.state, status.steps["preprocess"].result) == ("completed", "made")


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (InputError("the source is missing"), "failed", "the source is missing"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError"),
        (StoppedError(), "stopped", "stopped from outside; the same command resumes it"),
        (KeyboardInterrupt(), "stopped", "stopped from outside; the same command resumes it"),
    ],
)
def test_the_end_is_recorded_however_it_comes(tmp_path, error, state, reason):
    with pytest.raises(type(error)), recording(tmp_path) as recorder, recorder.step("train"):
        raise error
    status = progress.read(tmp_path)
    assert (status.state, status.reason, status.steps["train"].state) == (state, reason, "failed")


def test_the_last_decision_is_remembered_by_the_next_retraining(folder):
    decided = Decided("data", "recipe", "then")
    with recording(folder) as recorder:
        recorder.update(decided=decided)
    with recording(folder) as recorder:
        assert recorder.status.decided == decided
        assert progress.read(folder).decided == decided


def test_it_can_be_read_without_this_project(tmp_path):
    with recording(tmp_path) as recorder:
        recorder.update(outcome="promoted", version=3, run="runs/digits/a")
    plain = json.loads((tmp_path / "job-status.json").read_text())
    assert (plain["job"], plain["outcome"], plain["version"], plain["run"]) == (
        "digits",
        "promoted",
        3,
        "runs/digits/a",
    )
    assert set(plain["steps"]) == {"preprocess", "train", "evaluate", "gate", "promote"}


def test_a_damaged_one_is_named(tmp_path):
    (tmp_path / "job-status.json").write_text("{")
    with pytest.raises(InputError, match=r"job-status.json: is damaged; remove it"):
        progress.read(tmp_path)
