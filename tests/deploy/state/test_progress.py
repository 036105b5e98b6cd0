"""`job-status.json`: how far a retraining is, also after it has ended in whatever way."""

import json

import pytest

from common import storage
from common.errors import InputError, StoppedError, TemporaryError
from deploy.state import progress
from deploy.state.progress import Decided


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    if request.param == "disk":
        return tmp_path / "runs" / "digits"
    return storage.to_path(f"{request.getfixturevalue('bucket')}/runs/digits")


def begin(folder, check_lock=lambda: None) -> progress.Recorder:
    return progress.begin(folder, "digits", "commit", check_lock)


def test_each_step_leaves_its_state(folder):
    recorder = begin(folder)
    with recorder.ending():
        with recorder.step("preprocess") as result:
            assert progress.read(folder).steps["preprocess"].state == "running"
            result.text = "made"
        with recorder.step("train") as result:
            result.was_done = True
    found = progress.read(folder)
    assert found == recorder.status
    assert {name: step.state for name, step in found.steps.items()} == {
        "preprocess": "done",
        "train": "found_done",
        "evaluate": "skipped",
        "gate": "skipped",
        "promote": "skipped",
    }
    assert (found.state, found.steps["preprocess"].result) == ("completed", "made")


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (InputError("the source is missing"), "failed", "the source is missing"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError"),
        (StoppedError(), "stopped", "stopped from outside; started again, it goes on"),
        (KeyboardInterrupt(), "stopped", "stopped from outside; started again, it goes on"),
    ],
)
def test_the_end_is_recorded_however_it_comes(tmp_path, error, state, reason):
    recorder = begin(tmp_path)
    with pytest.raises(type(error)), recorder.ending(), recorder.step("train"):
        raise error
    found = progress.read(tmp_path)
    assert (found.state, found.reason, found.steps["train"].state) == (state, reason, "failed")


def test_the_last_decision_is_remembered_by_the_next_retraining(folder):
    decided = Decided("data", "recipe", "then")
    begin(folder).update(decided=decided)
    assert begin(folder).status.decided == decided
    assert progress.read(folder).decided == decided


def test_who_has_lost_the_lock_does_not_write_into_the_others_status(tmp_path):
    def lost() -> None:
        if is_lost:
            raise TemporaryError("the lock was lost")

    is_lost = False
    recorder = begin(tmp_path, lost)
    before = (tmp_path / "job-status.json").read_bytes()
    is_lost = True
    with pytest.raises(TemporaryError, match="the lock was lost"), recorder.ending(), recorder.step("train"):
        pass
    assert (tmp_path / "job-status.json").read_bytes() == before


def test_it_can_be_read_without_this_project(tmp_path):
    begin(tmp_path).update(outcome="promoted", version=3, run="runs/digits/a")
    found = json.loads((tmp_path / "job-status.json").read_text())
    assert (found["job"], found["outcome"], found["version"], found["run"]) == (
        "digits",
        "promoted",
        3,
        "runs/digits/a",
    )
    assert set(found["steps"]) == {"preprocess", "train", "evaluate", "gate", "promote"}


def test_a_damaged_one_is_named(tmp_path):
    (tmp_path / "job-status.json").write_text("{")
    with pytest.raises(InputError, match=r"job-status.json: is damaged; remove it"):
        progress.read(tmp_path)
