"""The table of what was served and what was refused, from decisions of any age."""

import json

import pytest

from common.errors import InputError
from deploy import history
from deploy import job as jobs

DECISION = {
    "decided_at": "2026-11-24T19:32:16+00:00",
    "outcome": "refuse",
    "reason": "not better",
    "challenger": "runs/a",
    "gate": {"challenger": {"accuracy": 0.5}},
    "floors": [],  # as it was called once
}


@pytest.fixture
def decision_file(write_job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = jobs.read(write_job(runs_dir="runs", serving={"dir": "serving"}))
    path = job.folder / "data-recipe" / "gate.json"
    path.parent.mkdir(parents=True)
    return job, path


def test_a_refused_model_has_a_line(decision_file):
    job, path = decision_file
    path.write_text(json.dumps(DECISION))
    assert "refused                       50.00 %   not better (runs/a)" in history.table(job)


@pytest.mark.parametrize("content", ["", "{}", "[]", "{", "null", json.dumps(DECISION | {"decided_at": 5})])
def test_a_damaged_decision_is_named(decision_file, content):
    job, path = decision_file
    path.write_text(content)
    with pytest.raises(InputError, match=r"gate.json: is damaged; remove it"):
        history.table(job)
