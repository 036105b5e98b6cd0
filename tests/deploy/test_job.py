"""The job description: checked before anything runs."""

import json

import pytest

from common.errors import InputError
from deploy import job as jobs

GOOD = """
name: letters
preprocess: {dataset: emnist/letters, source: files, data_dir: data, num_shards: 4}
train: {config: article_cnn, epochs: 3, cnn: {pool: 3}}
runs_dir: runs
serving: {dir: serving}
gate: {min_accuracy: 0.9}
"""


def write(tmp_path, text: str) -> str:
    (tmp_path / "job.yaml").write_text(text)
    return str(tmp_path / "job.yaml")


def test_a_job_is_the_configurations_of_its_parts(tmp_path):
    job = jobs.read(write(tmp_path, GOOD))
    assert (job.preprocess.dataset, job.preprocess.num_shards) == ("emnist/letters", 4)
    assert job.preprocess.source == ("files",)
    assert (job.train.model, job.train.epochs, job.train.global_batch_size, job.train.cnn.pool) == ("cnn", 3, 1024, 3)
    assert (job.gate.min_accuracy, job.gate.policy) == (0.9, "better")
    assert (job.target, job.schedule.cron) == ("local", "0 3 * * 1")


def test_where_data_and_runs_lie_follows(tmp_path):
    job = jobs.read(write(tmp_path, GOOD))
    assert job.train.data.folder == "data/emnist/letters/1.0.0"
    assert job.train.run_dir == str(job.folder) == "runs/letters"
    assert str(job.serving_folder) == "serving/letters"


def test_new_data_replaces_old_unless_that_is_forbidden(tmp_path):
    assert jobs.read(write(tmp_path, GOOD)).preprocess.overwrite
    forbidden = GOOD.replace("num_shards: 4", "overwrite: false")
    assert not jobs.read(write(tmp_path, forbidden)).preprocess.overwrite


def test_a_length_in_the_job_replaces_the_recipes(tmp_path):
    train = jobs.read(write(tmp_path, GOOD.replace("epochs: 3", "steps: 30"))).train
    assert (train.epochs, train.steps) == (None, 30)


def test_a_job_as_a_line_of_json_is_the_same_job(tmp_path):
    job = jobs.read(write(tmp_path, GOOD))
    line = jobs.to_json(job)
    assert "\n" not in line
    assert jobs.read(line) == job


def test_the_line_holds_only_what_is_needed_where_the_job_runs(tmp_path):
    line = jobs.to_json(jobs.read(write(tmp_path, GOOD)))
    assert set(json.loads(line)) == {"name", "preprocess", "train", "runs_dir", "gate", "serving"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("preprocess: {}", "train is missing; needed: name, preprocess, train, runs_dir, serving; known: .*schedule"),
        (GOOD + "servings: {}", "unknown name servings"),
        (GOOD.replace("name: letters", ""), "name is missing"),
        (GOOD.replace("name: letters", "name: Letters!"), "'Letters!': must be at most 40 lower-case letters"),
        (GOOD.replace("num_shards", "numshards"), "unknown name numshards.*job.yaml.preprocess"),
        (GOOD.replace("epochs: 3", "epochs: many"), "many.*job.yaml.train.epochs"),
        (GOOD.replace("epochs: 3", "data: x"), "train.data follows from the preprocess section"),
        (GOOD.replace("epochs: 3", "run_dir: x"), "train.run_dir follows from runs_dir"),
        (GOOD.replace("runs_dir: runs", ""), "runs_dir is missing"),
        (GOOD.replace("article_cnn", "article_x"), "recipes: article_cnn"),
        (GOOD.replace("epochs: 3", "epochs: 0"), "job.yaml: train.epochs 0: must be at least 1"),
        (GOOD.replace("emnist/letters", "emnist/leters"), "unknown dataset 'emnist/leters'"),
        (GOOD.replace("num_shards: 4", "num_shards: 0"), "job.yaml: preprocess.num_shards 0: must be at least 1"),
        (GOOD.replace("data_dir: data", "data_dir: s3://bucket/data"), "s3://bucket/.*give a local path or gs://"),
        (GOOD.replace("article_cnn", "5"), "train: config must be a recipe's name"),
        (GOOD.replace("epochs: 3", "3: epochs"), "unknown name 3"),
        (GOOD.replace("cnn: {pool: 3}", "cnn: 5"), "expected a mapping"),
        (GOOD + "target: moon", "job.yaml.target"),
        (GOOD.replace("min_accuracy: 0.9", "min_accuracy: 90"), "gate.min_accuracy 90.0: must be from 0 to 1"),
        (GOOD.replace("min_accuracy: 0.9", "policy: worse"), "job.yaml.gate.policy"),
        (GOOD.replace("min_accuracy: 0.9", "significance_level: 0.5"), "gate.significance_level 0.5: must be above 0"),
        (GOOD.replace("dir: serving", "dir: serving, keep_versions: 0"), "serving.keep_versions 0: must be at least 1"),
        (GOOD + "schedule: {cron: 0 3 * *}", "must have five fields: minute, hour,"),
        (GOOD + "schedule: {cron: 0 24 * * *}", "'24' is not a valid hour; give .* from 0 to 23"),
        (GOOD + "schedule: {cron: 0 3 * * 5-1}", "'5-1' is not a valid day of the week"),
        (GOOD + "schedule: {time_zone: Mars/Olympus}", "'Mars/Olympus': is not an IANA time zone"),
        ("- a", "expected a mapping"),
    ],
)
def test_a_bad_job_is_refused_by_name(tmp_path, text, complaint):
    with pytest.raises(InputError, match=complaint):
        jobs.read(write(tmp_path, text))


def test_json_that_is_none_is_refused():
    with pytest.raises(InputError, match="--job: is not the JSON of a job description"):
        jobs.read('{"name": ')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--job .*none.yaml: no such file"):
        jobs.read(str(tmp_path / "none.yaml"))
