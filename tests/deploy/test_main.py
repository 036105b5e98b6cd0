"""The command `python -m deploy`: the job template, and the commands that each target supports."""

import dataclasses
import re
from importlib import resources

import pytest
import yaml

from common import storage
from deploy import job as jobs
from deploy.config import settings as configs
from deploy.job import Job
from deploy.main import main

SECTIONS = {
    "gate": configs.GateConfig,
    "serving": configs.ServingConfig,
    "schedule": configs.ScheduleConfig,
    "vertex": configs.VertexConfig,
    "kubernetes": configs.KubernetesConfig,
    "dataflow": configs.DataflowConfig,
}


def test_init_writes_a_description_that_can_be_run(tmp_path, capsys):
    assert main(["init", "--job", str(tmp_path / "job.yaml")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'job.yaml'}\n"
    job = jobs.read(str(tmp_path / "job.yaml"))
    assert (job.name, job.preprocess.source, job.target) == ("handwriting", ("synthetic",), "local")


def test_init_leaves_what_is_there(tmp_path, capsys):
    (tmp_path / "job.yaml").write_text("mine")
    assert main(["init", "--job", str(tmp_path / "job.yaml")]) == 2
    assert "job.yaml: already exists" in capsys.readouterr().err
    assert (tmp_path / "job.yaml").read_text() == "mine"


def test_init_writes_into_a_bucket(faulty_bucket, capsys):
    assert main(["init", "--job", "gs://test/job.yaml"]) == 0
    assert jobs.read("gs://test/job.yaml").name == "handwriting"
    storage.write_atomically(storage.to_path("gs://test/job.yaml"), b"mine")
    assert main(["init", "--job", "gs://test/job.yaml"]) == 2
    assert "gs://test/job.yaml: already exists" in capsys.readouterr().err


def test_every_setting_of_a_section_stands_there_with_its_default():
    """Those that are commented out are the defaults; a newly made setting must be explained."""
    text = resources.files("deploy").joinpath("job_template.yaml").read_text()
    uncommented = yaml.safe_load(re.sub(r"(?m)^(\s*)# (\w+:)", r"\1\2", text))
    for name, config_type in SECTIONS.items():
        assert set(uncommented[name]) == {field.name for field in dataclasses.fields(config_type)}
        written = yaml.safe_load(text)[name]
        for field in dataclasses.fields(config_type):
            if field.name not in written:
                value = uncommented[name][field.name]
                assert (tuple(value) if isinstance(value, list) else value) == field.default, field.name
    assert {field.name for field in dataclasses.fields(Job)} >= set(yaml.safe_load(text))
    for line in text.splitlines():
        assert len(line) <= 120


def test_what_a_target_lacks_is_said_with_those_that_have_it(tmp_path, monkeypatch, capsys):
    from deploy.targets import local

    assert main(["init", "--job", str(tmp_path / "job.yaml")]) == 0
    monkeypatch.delattr(local, "cancel")
    monkeypatch.setattr("deploy.main.get_args", lambda _: ())
    assert main(["cancel", "--job", str(tmp_path / "job.yaml")]) == 2
    assert "--target local: does not support cancel; supported by: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "submit", "status", "logs", "cancel", "schedule", "rollback", "history"])
def test_each_command_wants_a_job(command, capsys):
    assert main([command]) == 2
    assert "--job" in capsys.readouterr().err
    assert main([command, "--job", "none.yaml"]) == 2
    assert "--job none.yaml: no such file" in capsys.readouterr().err
