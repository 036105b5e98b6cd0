"""The job description: checked before anything runs."""

import pytest

from deploy import job as jobs
from preprocess.errors import InputError

GOOD = """
preprocess: {dataset: emnist/letters, source: files, data_dir: data, num_shards: 4}
train: {config: article_cnn, epochs: 3, run_dir: runs/a, cnn: {pool: 3}}
"""


def write(tmp_path, text: str) -> str:
    (tmp_path / "job.yaml").write_text(text)
    return str(tmp_path / "job.yaml")


def test_a_job_is_the_two_configurations(tmp_path):
    job = jobs.read(write(tmp_path, GOOD))
    assert (job.preprocess.dataset, job.preprocess.num_shards) == ("emnist/letters", 4)
    assert job.preprocess.source == ("files",)
    assert job.train.data == "data/emnist/letters/1.0.0"
    assert (job.train.model, job.train.epochs, job.train.global_batch_size, job.train.cnn.pool) == ("cnn", 3, 1024, 3)


def test_a_length_in_the_job_replaces_the_recipes(tmp_path):
    train = jobs.read(write(tmp_path, GOOD.replace("epochs: 3", "steps: 30"))).train
    assert (train.epochs, train.steps) == (None, 30)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("preprocess: {}", "must hold the sections preprocess and train, and no others; found preprocess"),
        (GOOD + "serving: {}", "found preprocess, train, serving"),
        (GOOD.replace("num_shards", "numshards"), "unknown name numshards.*job.yaml.preprocess"),
        (GOOD.replace("epochs: 3", "epochs: many"), "many.*job.yaml.train.epochs"),
        (GOOD.replace("run_dir: runs/a", "data: x"), "train.data follows from the preprocess section"),
        (GOOD.replace("run_dir: runs/a, ", ""), "run_dir is missing"),
        (GOOD.replace("article_cnn", "article_x"), "recipes: article_cnn"),
        (GOOD.replace("epochs: 3", "epochs: 0"), "--epochs 0: must be at least 1"),
        (GOOD.replace("emnist/letters", "emnist/leters"), "unknown dataset 'emnist/leters'"),
        (GOOD.replace("num_shards: 4", "num_shards: 0"), "--num-shards 0"),
        (GOOD.replace("data_dir: data", "data_dir: s3://bucket/data"), "s3://bucket/.*give a local path or gs://"),
        (GOOD.replace("article_cnn", "5"), "train.config must be a recipe's name"),
        (GOOD.replace("epochs: 3", "3: epochs"), "unknown name 3"),
        (GOOD.replace("cnn: {pool: 3}", "cnn: 5"), "expected a mapping"),
        ("- a", "expected a mapping"),
    ],
)
def test_a_bad_job_is_refused_by_name(tmp_path, text, complaint):
    with pytest.raises(InputError, match=complaint):
        jobs.read(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--job .*none.yaml: no such file"):
        jobs.read(str(tmp_path / "none.yaml"))
