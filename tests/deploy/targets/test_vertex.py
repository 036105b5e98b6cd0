"""The target Vertex AI: Google's own clients against a stand-in for its APIs."""

import base64
import io
import json
import re
import tarfile

import pytest
from google.cloud.aiplatform_v1 import CustomJob
from google.protobuf import json_format

from common import storage
from deploy import job as jobs
from tests.support.commands import deploy, run_command

RUN = "projects/my-project/locations/europe-west4/customJobs/1"
TENSORBOARD = "projects/1/locations/europe-west4/tensorboards/2"
SCHEDULE = "projects/my-project/locations/europe-west4/jobs/letters"

pytestmark = pytest.mark.usefixtures("bucket")


def parsed(body: dict) -> CustomJob:
    """Numbers or names of enumerations, numbers or texts of long integers: JSON may have either."""
    return json_format.ParseDict(body, CustomJob.pb(CustomJob()))


def dry_run(capsys, job: str, *flags: str) -> dict:
    return json.loads(deploy(capsys, "submit", "--target", "vertex", "--job", job, "--dry-run", *flags))


def test_a_dry_run_needs_neither_network_nor_credentials(write_job):
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere", "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"}
    done = run_command("deploy", "submit", "--target", "vertex", "--job", write_job(), "--dry-run", **environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["displayName"] == "letters"


def test_what_is_sent_is_what_the_dry_run_shows(write_job, google, capsys):
    job = write_job(vertex={"accelerator_type": "NVIDIA_L4", "num_machines": 3, "spot": True})
    shown = dry_run(capsys, job)
    assert not google.requests
    assert deploy(capsys, "submit", "--target", "vertex", "--job", job) == RUN
    sent = google.requests[-1]
    assert (sent.method, sent.path) == ("POST", "/v1/projects/my-project/locations/europe-west4/customJobs")
    assert parsed(sent.body) == parsed(shown)


def test_the_job_travels_whole_in_the_arguments(write_job, capsys):
    path = write_job()
    (pool,) = dry_run(capsys, path, "--if-changed")["jobSpec"]["workerPoolSpecs"]
    container = pool["containerSpec"]
    assert container["imageUri"] == "registry.example/trainer:1"
    assert container["command"] == ["python", "-m", "deploy"]
    command, flag, description, if_changed = container["args"]
    assert (command, flag, if_changed) == ("run", "--job", "--if-changed")
    there, here = jobs.read(description), jobs.read(path)
    assert (there.preprocess, there.train, there.serving) == (here.preprocess, here.train, here.serving)


def test_machines_accelerators_and_how_they_are_scheduled(write_job, capsys):
    settings = {
        "num_machines": 4,
        "machine_type": "g2-standard-24",
        "accelerator_type": "NVIDIA_L4",
        "accelerator_count": 2,
        "spot": True,
        "timeout_hours": 1.5,
        "service_account": "trainer@my-project.iam.gserviceaccount.com",
        "tensorboard": TENSORBOARD,
    }
    spec = dry_run(capsys, write_job(vertex=settings))["jobSpec"]
    chief, workers = spec["workerPoolSpecs"]
    machine = {"machineType": "g2-standard-24", "acceleratorType": "NVIDIA_L4", "acceleratorCount": 2}
    assert chief["machineSpec"] == workers["machineSpec"] == machine
    assert (chief["replicaCount"], workers["replicaCount"]) == ("1", "3")
    assert chief["containerSpec"] == workers["containerSpec"]
    assert chief["containerSpec"]["env"] == [{"name": "EXPECTED_GPUS", "value": "2"}]
    assert spec["scheduling"] == {"timeout": "5400s", "restartJobOnWorkerRestart": True, "strategy": "SPOT"}
    assert spec["serviceAccount"] == "trainer@my-project.iam.gserviceaccount.com"
    assert spec["tensorboard"].endswith("tensorboards/2")
    assert spec["baseOutputDirectory"] == {"outputUriPrefix": "gs://test/runs"}


def test_one_machine_is_one_pool_and_not_taken_away(write_job, capsys):
    spec = dry_run(capsys, write_job())["jobSpec"]
    assert len(spec["workerPoolSpecs"]) == 1
    assert spec["scheduling"]["strategy"] == "STANDARD"
    assert spec["workerPoolSpecs"][0]["machineSpec"] == {"machineType": "n2-standard-8"}


def test_the_package_takes_the_place_of_an_image(write_job, google, capsys):
    settings = {"image": None, "executor_image": "registry.example/tf:1", "package_dir": "gs://test/packages/"}
    job = write_job(vertex=settings | {"accelerator_type": "NVIDIA_L4"})
    (pool,) = dry_run(capsys, job)["jobSpec"]["workerPoolSpecs"]
    spec = pool["pythonPackageSpec"]
    assert (spec["executorImageUri"], spec["pythonModule"]) == ("registry.example/tf:1", "deploy")
    assert spec["args"][:2] == ["run", "--job"]
    assert spec["env"] == [{"name": "EXPECTED_GPUS", "value": "1"}]
    (package,) = map(storage.to_path, spec["packageUris"])
    assert not package.exists()
    for command in ("submit", "schedule"):
        storage.remove(package)
        deploy(capsys, command, "--target", "vertex", "--job", job)
        with tarfile.open(fileobj=io.BytesIO(package.read_bytes())) as archive:
            names = {name.split("/", 1)[-1]: name for name in archive.getnames()}
            assert {"deploy/retraining.py", "deploy/job_template.yaml", "common/_build.py"} <= set(names)
            assert archive.extractfile(names["extras.txt"]).read() == b"preprocess,gpu"
    (pool,) = google.custom_jobs[RUN]["jobSpec"]["workerPoolSpecs"]
    assert pool["pythonPackageSpec"]["packageUris"] == [str(package)]


def test_labels_tell_commit_and_data(write_job, google, capsys, make_source, bucket):
    from common.dataset import manifest
    from preprocess import pipeline

    source = make_source("emnist/letters")
    folder = storage.to_path(pipeline.run(source.config(f"{bucket}/data")))
    deploy(capsys, "submit", "--target", "vertex", "--job", write_job())
    labels = google.custom_jobs[RUN]["labels"]
    assert labels["handwriting_trainer_job"] == "letters"
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", labels["commit"])
    assert labels["data_fingerprint"] == manifest.read(folder).data_fingerprint[:63]
    assert all(re.fullmatch("[a-z0-9_-]{1,63}", text) for pair in labels.items() for text in pair)


def test_a_job_is_seen_read_and_stopped(write_job, google, capsys):
    job = write_job()
    assert deploy(capsys, "status", "--target", "vertex", "--job", job) == "letters: never started in my-project"
    deploy(capsys, "submit", "--target", "vertex", "--job", job)
    assert deploy(capsys, "status", "--target", "vertex", "--job", job) == f"PENDING   2026-01-05 03:01 {RUN}"
    for text in ("one", "two", "three"):
        google.log("1", text)
    google.log("2", "of another job")
    lines = deploy(capsys, "logs", "--target", "vertex", "--job", job).splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["one", "two", "three"]
    assert deploy(capsys, "cancel", "--target", "vertex", "--job", job) == RUN
    assert deploy(capsys, "status", "--target", "vertex", "--job", job).startswith("CANCELLED")
    complaint = deploy(capsys, "cancel", "--target", "vertex", "--job", job, expect=2)
    assert complaint == "error: letters: is not running in my-project"


def test_logs_are_followed_until_the_job_ends(write_job, google, capsys, monkeypatch):
    job = write_job()
    deploy(capsys, "submit", "--target", "vertex", "--job", job)
    google.log("1", "one")

    def wait(_: float) -> None:
        google.log("1", "two")
        google.custom_jobs[RUN]["state"] = "JOB_STATE_SUCCEEDED"

    monkeypatch.setattr("deploy.targets.google_cloud.time.sleep", wait)
    lines = deploy(capsys, "logs", "--target", "vertex", "--job", job, "--follow").splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["one", "two"]


def test_what_went_wrong_is_in_the_status(write_job, google, capsys):
    job = write_job()
    deploy(capsys, "submit", "--target", "vertex", "--job", job)
    google.custom_jobs[RUN] |= {"state": "JOB_STATE_FAILED", "error": {"code": 8, "message": "out of\nmemory"}}
    assert deploy(capsys, "status", "--target", "vertex", "--job", job).endswith(f"{RUN} out of memory")


def test_a_second_start_beside_a_running_one_is_refused(write_job, google, capsys):
    job = write_job()
    deploy(capsys, "submit", "--target", "vertex", "--job", job)
    complaint = deploy(capsys, "submit", "--target", "vertex", "--job", job, expect=2)
    assert complaint == f"error: letters: is running already, as {RUN}; wait for it, or cancel it"
    google.custom_jobs[RUN]["state"] = "JOB_STATE_SUCCEEDED"
    assert deploy(capsys, "submit", "--target", "vertex", "--job", job).endswith("customJobs/2")


def test_a_schedule_posts_the_job_with_oauth(write_job, google, capsys):
    job = write_job(schedule={"cron": "30 2 * * *", "time_zone": "Europe/Zurich"})
    shown = json.loads(deploy(capsys, "schedule", "--target", "vertex", "--job", job, "--dry-run"))
    assert not google.requests
    assert deploy(capsys, "schedule", "--target", "vertex", "--job", job) == SCHEDULE
    sent = google.schedules[SCHEDULE]
    assert (sent["schedule"], sent["timeZone"]) == ("30 2 * * *", "Europe/Zurich")
    target = sent["httpTarget"]
    where = "projects/my-project/locations/europe-west4/customJobs"
    assert target["uri"] == f"https://europe-west4-aiplatform.googleapis.com/v1/{where}"
    assert target["oauthToken"] == {
        "serviceAccountEmail": "scheduler@my-project.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
    }
    body = json.loads(base64.b64decode(target["body"]))
    assert body == shown["httpTarget"]["body"]
    (pool,) = body["jobSpec"]["workerPoolSpecs"]
    assert pool["containerSpec"]["args"][-1] == "--if-changed"
    assert "data_fingerprint" not in body["labels"]
    assert parsed(body).display_name == "letters"


def test_a_schedule_is_changed_and_removed(write_job, google, capsys):
    job = write_job()
    flags = ("--target", "vertex", "--job", job)
    deploy(capsys, "schedule", *flags)
    job = write_job(vertex={"image": "registry.example/trainer:2"})
    assert deploy(capsys, "schedule", *flags, "--cron", "0 5 * * *", "--time-zone", "Asia/Tokyo") == SCHEDULE
    (schedule,) = google.schedules.values()
    assert (schedule["schedule"], schedule["timeZone"]) == ("0 5 * * *", "Asia/Tokyo")
    assert "registry.example/trainer:2" in base64.b64decode(schedule["httpTarget"]["body"]).decode()
    assert deploy(capsys, "unschedule", *flags) == SCHEDULE
    assert not google.schedules
    complaint = deploy(capsys, "unschedule", *flags, expect=2)
    assert complaint == f"error: {SCHEDULE}: there is no such schedule"


OF_OTHERS = {
    "that visits a page": {"uri": "https://shop.example/backup"},
    "that starts another job": {"uri": "https://x", "body": base64.b64encode(b'{"labels": {"a": "b"}}').decode()},
}


@pytest.mark.parametrize("target", OF_OTHERS.values(), ids=OF_OTHERS)
def test_a_schedule_of_others_is_not_taken_over(write_job, google, capsys, target):
    other = {"name": SCHEDULE, "schedule": "0 1 * * *", "timeZone": "Etc/UTC", "httpTarget": target}
    google.schedules[SCHEDULE] = dict(other)
    for command in ("schedule", "unschedule"):
        complaint = deploy(capsys, command, "--target", "vertex", "--job", write_job(), expect=2)
        assert f"{SCHEDULE}: is a job of Cloud Scheduler for something else; give this job another name" in complaint
        assert google.schedules == {SCHEDULE: other}


@pytest.mark.parametrize(
    ("status", "message", "code", "expected"),
    [
        (403, "Permission 'aiplatform.customJobs.create' denied", 2, "the role roles/aiplatform.user on the project"),
        (403, "no permission iam.serviceAccounts.actAs on x@y", 2, "the role roles/iam.serviceAccountUser"),
        (403, "Vertex AI API has not been used in project", 2, "gcloud services enable aiplatform.googleapis.com"),
        (404, "The project does not exist", 2, "Vertex AI: refused (The project does not exist)"),
        (409, "there is one", 2, "Vertex AI: already exists (there is one)"),
        (400, "Machine type n9 is not supported", 2, "Vertex AI: refused (Machine type n9 is not supported)"),
        (429, "Quota CustomModelTrainingL4GPUs exceeded", 1, "a quota of the project my-project is used up (Quota Cus"),
        (503, "try again", 75, "Vertex AI: cannot be reached (try again)"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_is_lacking(write_job, google, capsys, status, message, code, expected):
    google.refuse(status, message, "POST /v1/")
    complaint = deploy(capsys, "submit", "--target", "vertex", "--job", write_job(), expect=code)
    assert complaint.startswith("error: Vertex AI: ")
    assert message in complaint
    assert expected in complaint
    assert not google.custom_jobs


@pytest.mark.parametrize("status", [429, 503])
def test_what_passes_is_tried_again(write_job, google, capsys, status):
    google.refuse(status, "not now", times=3)
    assert deploy(capsys, "submit", "--target", "vertex", "--job", write_job()) == RUN
    assert len(google.custom_jobs) == 1


def test_other_apis_name_their_own_roles(write_job, google, capsys):
    job = write_job()
    google.refuse(403, "no", "/locations/europe-west4/jobs")
    complaint = deploy(capsys, "schedule", "--target", "vertex", "--job", job, expect=2)
    assert "Cloud Scheduler: refused (no); grant the role roles/cloudscheduler.admin" in complaint
    deploy(capsys, "submit", "--target", "vertex", "--job", job)
    google.refuse(403, "no", "entries:list")
    complaint = deploy(capsys, "logs", "--target", "vertex", "--job", job, expect=2)
    assert "Cloud Logging: refused (no); grant the role roles/logging.viewer" in complaint


def test_wrong_credentials_are_told_without_what_is_in_them(write_job, google, capsys, tmp_path):
    from tests.support.cloud_stub import GoogleCloud

    with GoogleCloud() as other:
        other.write_credentials(tmp_path / "key.json")
    complaint = deploy(capsys, "submit", "--target", "vertex", "--job", write_job(), expect=2)
    assert "the credentials are rejected" in complaint
    assert "PRIVATE" not in complaint
    (tmp_path / "key.json").write_text('{"private_key": "secret"}')
    complaint = deploy(capsys, "submit", "--target", "vertex", "--job", write_job(), expect=2)
    assert "credentials" in complaint
    assert "secret" not in complaint


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"vertex": {"project": None}}, "vertex.project: is missing in the job description; needed: project, region"),
        ({"vertex": {"image": None}}, "vertex.image, vertex.executor_image: give exactly one of them"),
        ({"vertex": {"executor_image": "x"}}, "vertex.image, vertex.executor_image: give exactly one of them"),
        ({"vertex": {"image": None, "executor_image": "x"}}, "vertex.package_dir: is missing in the job"),
        ({"vertex": {"num_machines": 0}}, "vertex.num_machines 0: must be at least 1"),
        ({"vertex": {"accelerator_type": "L4"}}, "vertex.accelerator_type L4: is not known; known: NVIDIA_TESLA_K80"),
        (
            {"vertex": {"tensorboard": TENSORBOARD}},
            "vertex.service_account: is missing in the job description; tensorboard",
        ),
        ({"vertex": {"machines": 1}}, "unknown name machines"),
        ({"preprocess": {"source": "files"}}, "preprocess.source files: other machines cannot reach it; give gs://"),
        ({"preprocess": {"data_dir": "data"}}, "preprocess.data_dir data: other machines cannot reach it"),
        ({"runs_dir": "runs"}, "runs_dir runs: other machines cannot reach it"),
        (
            {"train": {"initialize_from": "runs/first"}},
            "train.initialize_from runs/first: other machines cannot reach it",
        ),
        ({"serving": {"dir": "/srv"}}, "serving.dir /srv: other machines cannot reach it"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(write_job, google, capsys, changes, problem):
    job = write_job(**changes)
    for flags in ((), ("--dry-run",)):
        assert problem in deploy(capsys, "submit", "--target", "vertex", "--job", job, *flags, expect=2)
    assert not google.custom_jobs


def test_a_schedule_needs_an_account_to_start_with(write_job, google, capsys):
    job = write_job(vertex={"scheduler_account": None})
    complaint = deploy(capsys, "schedule", "--target", "vertex", "--job", job, expect=2)
    assert complaint.startswith("error: vertex.scheduler_account: is missing")


def test_sources_that_are_no_files_are_taken(write_job, capsys):
    for source in ("nist", "synthetic", "tfds:mnist"):
        sent = dry_run(capsys, write_job(preprocess={"source": source}))
        assert f'"source": ["{source}"]' in json.dumps(sent).replace('\\"', '"')
