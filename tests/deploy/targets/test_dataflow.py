"""The target Dataflow: Beam and Google's client against a stand-in for its API."""

import io
import tarfile

import pytest
import yaml

from common import storage
from tests.support.commands import deploy, run_command

FOLDER = "gs://test/data/emnist/letters/1.0.0"


@pytest.fixture
def source(make_source, bucket) -> str:
    """A source in the bucket."""
    for path in make_source("emnist/letters").folder.iterdir():
        (storage.to_path(f"{bucket}/source") / path.name).upload_from(path)
    return f"{bucket}/source"


def dry_run(capsys, job: str) -> dict:
    return yaml.safe_load(deploy(capsys, "submit", "--target", "dataflow", "--job", job, "--dry-run"))


def test_a_dry_run_shows_what_beam_is_given(write_job, capsys):
    shown = dry_run(capsys, write_job())
    assert shown["preprocess"]["source"] == ["gs://raw/emnist/gzip"]
    options = shown["beam_options"]
    assert options[:4] == [
        *("--runner=DataflowRunner", "--project=my-project"),
        *("--region=europe-west4", "--job_name=letters-preprocess"),
    ]
    assert "--temp_location=gs://test/tmp/temp" in options
    (setup_file,) = [option for option in options if option.startswith("--setup_file=")]
    assert setup_file.endswith("/setup.py")
    assert not [option for option in options if "sdk_container" in option]


def test_an_image_takes_the_place_of_the_package(write_job, capsys):
    settings = {"image": "registry.example/trainer:1", "max_machines": 40, "subnetwork": "regions/r/subnetworks/s"}
    options = dry_run(capsys, write_job(dataflow=settings))["beam_options"]
    assert "--sdk_container_image=registry.example/trainer:1" in options
    assert "--sdk_location=container" in options
    assert "--max_num_workers=40" in options
    assert "--no_use_public_ips" in options
    assert not [option for option in options if option.startswith("--setup_file")]


def test_a_job_is_sent_with_its_package_seen_and_stopped(write_job, source, google, capsys):
    job = write_job(preprocess={"source": source}, dataflow={"max_machines": 3})
    google.refuse(429, "not so fast", "POST /v1b3", times=1)
    done = run_command("deploy", "submit", "--target", "dataflow", "--job", job)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == FOLDER
    assert f"submitted; the dataset is complete once {FOLDER}/manifest.json exists" in done.stderr
    (sent,) = google.dataflow_jobs.values()
    assert sent["name"] == "letters-preprocess"
    (pool,) = sent["environment"]["workerPools"]
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 3
    # Dataflow installs the package without extras: it must carry what preprocessing needs.
    (location,) = [package["location"] for package in pool["packages"] if package["name"] == "workflow.tar.gz"]
    package = storage.to_path(f"gs://{location.removeprefix('storage.googleapis.com/')}").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        (extras,) = [name for name in archive.getnames() if name.endswith("/extras.txt")]
        assert archive.extractfile(extras).read() == b"preprocess"

    flags = ("--target", "dataflow", "--job", job)
    assert deploy(capsys, "status", *flags) == "PENDING   2026-01-05 03:01 2026-1"
    google.log("2026-1", "read 600 train examples")
    assert deploy(capsys, "logs", *flags).endswith("read 600 train examples")
    complaint = deploy(capsys, "submit", *flags, expect=2)
    assert complaint == "error: letters-preprocess: is running already, as 2026-1; wait for it, or cancel it"
    assert deploy(capsys, "cancel", *flags) == "2026-1"
    assert deploy(capsys, "status", *flags).startswith("CANCELLED")
    complaint = deploy(capsys, "cancel", *flags, expect=2)
    assert complaint == "error: letters-preprocess: is not running in my-project"


def test_a_job_of_others_is_not_cancelled_and_its_name_is_taken(write_job, source, google, capsys):
    google.dataflow_jobs["2026-1"] = {
        "id": "2026-1",
        "name": "letters-preprocess",
        "currentState": "JOB_STATE_RUNNING",
        "createTime": google.now(),
        "labels": {"team": "others"},
    }
    flags = ("--target", "dataflow", "--job", write_job(preprocess={"source": source}))
    assert deploy(capsys, "status", *flags) == "letters-preprocess: never started in my-project"
    complaint = deploy(capsys, "cancel", *flags, expect=2)
    assert complaint == "error: letters-preprocess: is not running in my-project"
    assert google.dataflow_jobs["2026-1"]["currentState"] == "JOB_STATE_RUNNING"
    complaint = deploy(capsys, "submit", *flags, expect=2)
    assert complaint == (
        "error: letters-preprocess: is running already, as 2026-1, but is not this job's: it lacks the label "
        "handwriting_trainer_job=letters; wait for it, or rename the job"
    )


def test_a_refusal_of_the_job_is_one_line_and_leaves_no_dataset(write_job, source, google):
    job = write_job(preprocess={"source": source}, dataflow={"image": "registry.example/trainer:1"})
    google.refuse(403, "Current user cannot act as service account", "POST /v1b3")
    done = run_command("deploy", "submit", "--target", "dataflow", "--job", job)
    assert done.returncode == 2, done.stderr
    refusals = [line for line in done.stderr.splitlines() if "cannot act as service account" in line]
    assert refusals == [done.stderr.splitlines()[-1]]
    assert refusals[0].startswith("error: Dataflow: refused (Current user cannot act as service account)")
    assert "Traceback" not in done.stderr
    assert not storage.to_path(FOLDER).exists()


@pytest.mark.parametrize(
    ("status", "message", "code", "expected"),
    [
        (403, "no", 2, "Dataflow: refused (no); grant the role roles/dataflow.developer on the project"),
        (429, "Quota exceeded for jobs", 1, "a quota of the project my-project is used up (Quota exceeded for jobs)"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_is_lacking(write_job, google, capsys, status, message, code, expected):
    google.refuse(status, message)
    for command in ("submit", "status", "logs", "cancel"):
        assert expected in deploy(capsys, command, "--target", "dataflow", "--job", write_job(), expect=code)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dataflow": {"temp_dir": None}}, "dataflow.temp_dir: is missing in the job description; needed: project,"),
        ({"dataflow": {"temp_dir": "/tmp"}}, "dataflow.temp_dir '/tmp': must be a gs:// folder"),
        ({"dataflow": {"max_machines": 0}}, "dataflow.max_machines 0: must be at least 1"),
        ({"preprocess": {"source": "files"}}, "preprocess.source files: other machines cannot reach it"),
        ({"preprocess": {"data_dir": "data"}}, "preprocess.data_dir data: other machines cannot reach it"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(write_job, google, capsys, changes, problem):
    job = write_job(**changes)
    for flags in ((), ("--dry-run",)):
        assert problem in deploy(capsys, "submit", "--target", "dataflow", "--job", job, *flags, expect=2)
    assert not google.requests


def test_dataflow_has_no_schedule_and_says_who_has(write_job, capsys):
    complaint = deploy(capsys, "schedule", "--target", "dataflow", "--job", write_job(), expect=2)
    assert complaint == "error: --target dataflow: does not support schedule; supported by: local, vertex, kubernetes"
