"""Whole commands on buckets: over a bad network, with expiring credentials, and without permissions."""

import json
import logging
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from common import cli, storage
from common.storage import gcs
from deploy import job as jobs
from preprocess import main as preprocess_task
from preprocess import pipeline
from tests.support import faulty_bucket as faults
from tests.support.datasets import contents
from tests.support.lines import PAGE_PATTERN
from tests.support.lines import config as line_config
from tests.support.settings import train_config
from trainer import export, report, train
from trainer import main as trainer_task
from trainer.config import recipes
from trainer.config.commands import ExportConfig, ReportConfig

SECRETS = {name: f"{name}-that-nobody-may-see" for name in ("token", "refresh", "client", "environment")}


@pytest.fixture
def credentials(faulty_bucket, tmp_path, monkeypatch) -> None:
    """A file of credentials, such as Google's tools leave; the proxy gives tokens for it, and wants them."""
    user = {
        "type": "external_account_authorized_user",
        "audience": "none",
        "client_id": "client",
        "client_secret": SECRETS["client"],
        "refresh_token": SECRETS["refresh"],
        "token_url": f"{faulty_bucket.address}/token",
    }
    (tmp_path / "credentials.json").write_text(json.dumps(user))
    faulty_bucket.token = SECRETS["token"]
    no_emulator(faulty_bucket, monkeypatch)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "credentials.json"))
    monkeypatch.setenv("PRIVATE_KEY", SECRETS["environment"])


def no_emulator(faulty_bucket, monkeypatch) -> None:
    """Emulators are sent no credentials; here it is Google's own address that leads elsewhere."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", faulty_bucket.address)
    gcs._client.cache_clear()


@pytest.fixture
def no_credentials(faulty_bucket, tmp_path, monkeypatch):
    """A machine where nobody has logged in."""
    faulty_bucket.token = SECRETS["token"]
    no_emulator(faulty_bucket, monkeypatch)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))


def test_a_token_that_has_expired_is_replaced(faulty_bucket, credentials):
    path = storage.to_path("gs://test/file")
    storage.write_atomically(path, b"one")
    faulty_bucket.token = "another"
    assert path.read_bytes() == b"one"
    faulty_bucket.spoil("401", "POST", "/upload/")
    storage.write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert faulty_bucket.happened["401"] == 1


def commands(source: str, data: str, run: str, model: str) -> dict[str, list[str]]:
    """Each command with what it reads and writes."""
    return {
        "preprocess": ["--dataset", "emnist/digits", "--source", source, "--data-dir", data],
        "train": ["train", "--data", data, "--run-dir", run, "--model", "dense", "--epochs", "1"],
        "evaluate": ["evaluate", "--model", model, "--data", data, "--output", f"{run}/test.json"],
        "report": ["report", run],
    }


def complaint(command: list[str], capsys) -> str:
    """What the command says at its end, which is one line and exit code 2."""
    main = preprocess_task.main if command[0].startswith("--") else trainer_task.main
    assert main(command) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert "Traceback" not in lines
    return lines[-1].removeprefix("error: ")


@pytest.mark.parametrize("name", ["preprocess", "train", "evaluate", "report"])
def test_where_a_bucket_may_not_be_read_the_role_is_named(faulty_bucket, capsys, name):
    faulty_bucket.spoil("403", "GET", "/b/test/", times=math.inf)
    command = commands("gs://test/source", "gs://test/data", "gs://test/run", "gs://test/run")[name]
    assert complaint(command, capsys) == (
        "gs://test: access refused (the caller lacks a permission); "
        "grant this account the role roles/storage.objectViewer on the bucket"
    )


@pytest.mark.parametrize("name", ["preprocess", "train", "evaluate", "report"])
def test_where_a_bucket_may_not_be_written_the_role_is_named(
    faulty_bucket, make_source, finished_run, synthetic_digits, tmp_path, monkeypatch, capsys, name
):
    monkeypatch.setenv("HOME", str(tmp_path))  # for the cache
    source, data, run = str(make_source("emnist/digits").folder), str(synthetic_digits), "gs://test/run"
    if name == "report":
        storage.to_path(run).upload_from(finished_run)
    faulty_bucket.spoil("403", "POST", "/upload/", times=math.inf)
    command = commands(source, "gs://test/data" if name == "preprocess" else data, run, str(finished_run))[name]
    assert complaint(command, capsys) == (
        "gs://test: access refused (the caller lacks a permission); "
        "grant this account the role roles/storage.objectUser on the bucket"
    )


def test_what_a_worker_is_refused_is_told_in_one_line_too(faulty_bucket, make_source, capsys):
    faulty_bucket.spoil("403", "POST", "/part-train", times=math.inf)
    command = commands(str(make_source("emnist/digits").folder), "gs://test/data", "", "")["preprocess"]
    assert complaint(command, capsys).startswith("gs://test: access refused")
    assert not storage.objects_below(storage.to_path("gs://test/data"))


def test_lines_in_a_bucket_over_a_bad_network_are_those_on_a_disk(
    faulty_bucket, quick_retries, line_pairs, small_lines, monkeypatch
):
    storage.to_path("gs://test/lines").upload_from(line_pairs)
    faulty_bucket.rate = 0.2
    faulty_bucket.kinds = tuple(sorted({*faults.PASSING} - {"stall"}))
    folder = pipeline.run(line_config("gs://test/lines", where="gs://test/data", group_pattern=PAGE_PATTERN))
    faulty_bucket.mend()
    assert contents(storage.to_path(folder)) == contents(small_lines)
    assert not storage.objects_below(storage.to_path("gs://test/data/mine/lines/.1.0.0.incomplete"))


def test_lines_that_may_not_be_read_are_told_in_one_line(faulty_bucket, line_pairs, capsys):
    storage.to_path("gs://test/lines").upload_from(line_pairs)
    faulty_bucket.spoil("403", "GET", "001-1.png", times=math.inf)
    flags = ["--dataset", "mine/lines", "--source", "gs://test/lines", "--data-dir", "gs://test/data"]
    assert complaint(flags, capsys).startswith("gs://test: access refused")
    assert not storage.objects_below(storage.to_path("gs://test/data"))


@pytest.mark.parametrize("name", ["preprocess", "train", "evaluate", "report"])
def test_a_bucket_that_is_not_there_is_named(bucket, capsys, name):
    places = ("gs://nowhere/source", "gs://nowhere/data", "gs://nowhere/run", "gs://nowhere/run")
    assert complaint(commands(*places)[name], capsys) == "gs://nowhere: does not exist; check the name of the bucket"


@pytest.mark.parametrize("name", ["preprocess", "train", "evaluate", "report"])
def test_without_credentials_a_private_bucket_says_how_to_give_them(no_credentials, capsys, name):
    command = commands("gs://test/source", "gs://test/data", "gs://test/run", "gs://test/run")[name]
    assert complaint(command, capsys) == (
        "the bucket cannot be read or written without credentials; run gcloud auth application-default login, "
        "or set GOOGLE_APPLICATION_CREDENTIALS"
    )


def test_in_a_pod_credentials_that_are_not_there_yet_may_come(no_credentials, monkeypatch, capsys):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert trainer_task.main(["report", "gs://test/run"]) == 75
    assert capsys.readouterr().err == "error: the bucket: this machine has no credentials yet\n"


def test_without_credentials_a_public_bucket_may_be_read(faulty_bucket, no_credentials):
    faulty_bucket.token = None
    storage.write(storage.to_path("gs://test/file"), b"for all to see")
    assert storage.to_path("gs://test/file").read_bytes() == b"for all to see"


def test_credentials_that_cannot_be_read_are_not_passed_over(no_credentials, tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.json").write_text('{"type": "service_account", "private_key": "nobody may see"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "bad.json"))
    message = complaint(["report", "gs://test/run"], capsys)
    assert (
        message
        == f"GOOGLE_APPLICATION_CREDENTIALS={tmp_path / 'bad.json'}: holds no Google credentials; name another file"
    )


def test_an_account_that_has_been_removed_is_told_of(faulty_bucket, credentials, capsys):
    faulty_bucket.spoil("401", "POST", "/token", times=math.inf)
    assert complaint(["report", "gs://test/run"], capsys).startswith(
        "the bucket: the credentials are not accepted; run gcloud"
    )


@pytest.mark.parametrize(
    ("fault", "method", "address", "message"),
    [
        ("503", "GET", "/b/test", "the bucket cannot be reached ("),
        ("429", "GET", "/b/test", "the bucket cannot be reached ("),
        ("503", "POST", "/token", "the bucket: the credentials cannot be renewed at present (OAuthError)"),
        ("reset", "POST", "/token", "the bucket: the credentials cannot be renewed at present (TransportError)"),
    ],
)
def test_what_does_not_pass_within_minutes_may_pass_later_and_has_its_own_exit_code(
    faulty_bucket, credentials, quick_retries, monkeypatch, capsys, fault, method, address, message
):
    monkeypatch.setattr(gcs, "_SECONDS_OF_RETRIES", 0.2)
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    monkeypatch.setattr(gcs.DEFAULT_RETRY, "_timeout", 0.2)
    faulty_bucket.spoil(fault, method, address, times=math.inf)
    assert trainer_task.main(["report", "gs://test/run"]) == 75
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {message}")


def test_a_job_in_a_bucket_over_a_bad_network_is_the_job_on_a_disk_and_tells_no_secret(
    faulty_bucket, credentials, quick_retries, synthetic_digits, finished_run, tmp_path, monkeypatch, capsys, caplog
):
    """A fifth of all requests go wrong, some because the token has expired."""
    faulty_bucket.spoil("403", "GET", "/b/test?", times=math.inf)  # roles for objects do not let read about buckets
    faulty_bucket.rate = 0.2
    faulty_bucket.kinds = tuple(sorted({*faults.PASSING, "401"} - {"stall"}))  # a stalled answer takes half a minute
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    caplog.set_level(logging.INFO)
    said = []

    def run(command: Callable[[], int]) -> str:
        code, printed = command(), capsys.readouterr()
        said.append(printed.out + printed.err)
        assert code == 0, printed.err
        return printed.out.splitlines()[-1]

    def trainer(*arguments: str) -> str:
        return run(lambda: trainer_task.main(arguments))

    flags = ("--dataset", "synthetic/digits", "--source", "synthetic", "--data-dir", "gs://test/data")
    data = run(lambda: preprocess_task.main(flags))
    settings = ("--model", "dense", "--epochs", "3", "--global-batch-size", "64")
    settings += ("--checkpoint-steps", "20", "--calibration-pictures", "17")
    folder = trainer("train", "--data", data, "--run-dir", "gs://test/runs/dense", *settings)
    figures = trainer("evaluate", "--model", folder, "--data", data, "--output", "gs://test/figures.json")
    page = trainer("report", folder)
    # The command would first set the number of TensorFlow's threads, which has begun to work in this process.
    formats = run(lambda: cli.run(lambda: export.run(ExportConfig(folder, formats=("litert",)))))

    assert sum(faulty_bucket.happened.values()) > 0.15 * len(faulty_bucket.asked) > 30
    assert set(faulty_bucket.happened) >= {*faulty_bucket.kinds} - {faults.FLIP}  # of which there are few
    faulty_bucket.mend()
    for path in synthetic_digits.iterdir():
        assert (storage.to_path(data) / path.name).read_bytes() == path.read_bytes(), path.name
    for name in ("metrics.jsonl", "metrics.json", "predictions.npz"):
        assert (storage.to_path(folder) / name).read_bytes() == (finished_run / name).read_bytes()
    expected = json.loads((finished_run / "metrics.json").read_text())["test"]["accuracy"]
    assert json.loads(storage.to_path(figures).read_text())["accuracy"] == expected
    assert page == f"{folder}/report/index.html"
    # LiteRT's converter does not give the same bytes twice; what they answer is the same.
    exported = json.loads(storage.read(storage.to_path(f"{formats}/formats.json")))["formats"]["litert"]
    assert exported["test"]["accuracy"] == pytest.approx(expected, abs=1e-6)
    assert exported["size_bytes"] == len(storage.read(storage.to_path(f"{formats}/model.tflite")))

    everything = {"output": "".join([*said, caplog.text]).encode()}
    everything |= {path.name: path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()}
    everything |= {str(path): path.read_bytes() for path in storage.to_path("gs://test/").rglob("*") if path.is_file()}
    assert {f"{folder}/run.json", f"{folder}/config.yaml", f"{folder}/model/saved_model.pb"} <= set(everything)
    secrets = [secret.encode() for secret in (*SECRETS.values(), "upload_id=")]
    assert not [name for name, content in everything.items() for secret in secrets if secret in content]


def test_settings_are_read_from_a_bucket(bucket):
    storage.write_atomically(storage.to_path(f"{bucket}/recipe.yaml"), b"{model: dense, epochs: 7}")
    config = recipes.defaults(f"{bucket}/recipe.yaml")
    assert (config.model, config.epochs) == ("dense", 7)
    job = b"{name: letters, runs_dir: gs://test/runs, serving: {dir: gs://test/serving}, "
    job += b"preprocess: {dataset: emnist/letters, source: gs://test/files, data_dir: gs://test/data}, "
    job += b"train: {config: gs://test/recipe.yaml}}\n"
    storage.write_atomically(storage.to_path(f"{bucket}/job.yaml"), job)
    assert jobs.read(f"{bucket}/job.yaml").train.epochs == 7


def test_a_dataset_larger_than_the_cache_trains_as_from_a_disk(bucket, synthetic_digits, tmp_path):
    data = storage.to_path(f"{bucket}/digits")
    data.upload_from(synthetic_digits)
    settings = {"model": "dense", "epochs": 2, "global_batch_size": 64, "verify_export": False}
    settings |= {"in_memory_limit_mb": 1, "shuffle_buffer_examples": 500}
    settings |= {"cache_dir": str(tmp_path / "cache"), "cache_limit_gb": 0.002}
    from_disk = train.run(train_config(str(synthetic_digits), str(tmp_path / "disk"), **settings))
    from_bucket = train.run(train_config(str(data), str(tmp_path / "bucket"), **settings))
    for name in ("metrics.jsonl", "metrics.json"):
        assert (Path(from_bucket) / name).read_bytes() == (Path(from_disk) / name).read_bytes()
    (cache,) = (tmp_path / "cache" / "datasets").iterdir()
    kept = [path for path in cache.iterdir() if "-train." in path.name]
    assert 0 < len(kept) < 16, "some have gone"


def test_runs_in_a_bucket_are_compared(bucket, finished_run):
    runs = [f"{bucket}/runs/{name}" for name in ("first-of-two", "second-of-two")]
    for run in runs:
        storage.to_path(run).upload_from(finished_run)
    page = report.run(ReportConfig(tuple(runs), output=f"{bucket}/comparison.html"))
    assert {"first-of-two", "second-of-two"} <= set(re.findall(r"[\w-]+-of-two", storage.to_path(page).read_text()))
