"""The target Vertex AI: the job as a CustomJob, started on a schedule by Cloud Scheduler.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.customJobs
"""

import base64
import json
import logging
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import storage
from common.dataset import manifest as manifests
from common.errors import FailedError, InputError
from deploy.config.commands import SubmitConfig
from deploy.config.settings import VertexConfig
from deploy.job import Job
from deploy.targets import remote
from deploy.targets.google_cloud import RETRY, SCHEDULER, SCOPE, VERTEX, print_logs, translate_refusals
from deploy.targets.remote import JOB_LABEL, ROOT
from trainer.distributed.gpus import EXPECTED_GPUS

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import CustomJob, JobServiceClient
    from google.cloud.scheduler_v1 import CloudSchedulerClient

_LABEL_LENGTH = 63
_ACTIVE = ("QUEUED", "PENDING", "RUNNING", "PAUSED", "UPDATING")

_log = logging.getLogger(__name__)


def describe(job: Job, config: SubmitConfig) -> str:
    """The CustomJob that `submit` sends, as JSON, without the label that requires reading the dataset."""
    sent = _custom_job(job, config.if_changed, {})
    _parse(sent)
    _log.info("submit adds the label data_fingerprint if %s is a dataset by then", job.train.data.folder)
    return json.dumps(sent, indent=2, ensure_ascii=False)


def submit(job: Job, config: SubmitConfig) -> str:
    """Starts the job unless it is already running; returns Vertex AI's name of the CustomJob."""
    place = _config(job)
    sent = _parse(_custom_job(job, config.if_changed, _data_label(job)))
    if running := _running(job):
        raise InputError(f"{job.name}: is running already, as {running[0].name}; wait for it, or cancel it")
    _upload_package(place)
    with translate_refusals(VERTEX, place.project):
        started = _client(place).create_custom_job(parent=_parent(place), custom_job=sent, retry=RETRY)
    console = f"https://console.cloud.google.com/vertex-ai/locations/{place.region}/training"
    _log.info("%s/%s?project=%s", console, _number(started), place.project)
    return started.name


def status(job: Job) -> str:
    """One line for each run of the job, newest first: state, start, name, and the error message."""
    lines = (
        f"{_state(run):9} {run.create_time:%Y-%m-%d %H:%M} {run.name} {' '.join(run.error.message.split())}".rstrip()
        for run in _runs(job)
    )
    return "\n".join(lines) or f"{job.name}: never started in {job.vertex.project}"


def logs(job: Job, follow: bool) -> None:
    """Prints the log of the newest run, from all its machines."""
    runs = _runs(job)
    if not runs:
        raise InputError(f"{job.name}: never started in {job.vertex.project}, so there are no logs")
    log_filter = f'resource.type="ml_job" resource.labels.job_id="{_number(runs[0])}"'
    print_logs(job.vertex.project, log_filter, (lambda: _runs(job)[0] not in _running(job)) if follow else None)


def cancel(job: Job) -> str:
    """Stops the job's running CustomJobs; returns their names."""
    place, running = _config(job), _running(job)
    if not running:
        raise InputError(f"{job.name}: is not running in {place.project}")
    with translate_refusals(VERTEX, place.project):
        for run in running:
            _client(place).cancel_custom_job(name=run.name, retry=RETRY)
    return "\n".join(run.name for run in running)


def describe_schedule(job: Job) -> str:
    """The Cloud Scheduler job that `schedule` sends, as JSON, with the body of its request decoded from base64."""
    sent = _scheduler_job(job)
    sent["httpTarget"]["body"] = json.loads(base64.b64decode(sent["httpTarget"]["body"]))
    return json.dumps(sent, indent=2, ensure_ascii=False)


def schedule(job: Job) -> str:
    """Creates or updates the Cloud Scheduler job that starts the job on its schedule; returns its name."""
    from google.cloud import scheduler_v1
    from google.protobuf import json_format
    from google.protobuf.field_mask_pb2 import FieldMask

    place = _config(job)
    settings, sent = _scheduler_job(job), scheduler_v1.Job()
    json_format.ParseDict(settings, scheduler_v1.Job.pb(sent))
    _upload_package(place)
    with translate_refusals(SCHEDULER, place.project):
        if _check_schedule(job):
            changed = FieldMask()
            changed.FromJsonString(",".join(name for name in settings if name != "name"))
            return _scheduler(place).update_job(job=sent, update_mask=changed, retry=RETRY).name
        return _scheduler(place).create_job(parent=_parent(place), job=sent, retry=RETRY).name


def unschedule(job: Job) -> str:
    """Removes the Cloud Scheduler job and returns its name. A running CustomJob continues."""
    place, name = _config(job), _schedule_name(job)
    with translate_refusals(SCHEDULER, place.project):
        if not _check_schedule(job):
            raise InputError(f"{name}: there is no such schedule")
        _scheduler(place).delete_job(name=name, retry=RETRY)
    return name


def _custom_job(job: Job, if_changed: bool, labels: dict[str, str]) -> dict[str, Any]:
    config = _config(job)
    machine: dict[str, Any] = {"machineType": config.machine_type}
    if config.accelerator_type:
        machine |= {"acceleratorType": config.accelerator_type, "acceleratorCount": config.accelerator_count}
    pool = {
        "machineSpec": machine,
        "replicaCount": "1",
        "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": config.disk_gb},
        **_program(job, config, if_changed),
    }
    others = [pool | {"replicaCount": str(config.num_machines - 1)}] if config.num_machines > 1 else []
    spec: dict[str, Any] = {
        # Vertex AI names the pools chief and worker in TF_CONFIG.
        "workerPoolSpecs": [pool, *others],
        "scheduling": {
            "timeout": f"{round(3600 * config.timeout_hours)}s",
            "restartJobOnWorkerRestart": config.num_machines > 1,
            "strategy": "SPOT" if config.spot else "STANDARD",
        },
    }
    if config.service_account:
        spec["serviceAccount"] = config.service_account
    if config.tensorboard:
        # Vertex AI then sets AIP_TENSORBOARD_LOG_DIR to a folder below it, and shows the logs written there.
        spec |= {"tensorboard": config.tensorboard, "baseOutputDirectory": {"outputUriPrefix": job.runs_dir}}
    labels = {JOB_LABEL: job.name, "commit": remote.commit_label(), **labels}
    return {"displayName": job.name, "labels": labels, "jobSpec": spec}


def _program(job: Job, config: VertexConfig, if_changed: bool) -> dict[str, Any]:
    module, *arguments = remote.command(job, if_changed)
    environment = {}
    if config.accelerator_type:
        environment = {"env": [{"name": EXPECTED_GPUS, "value": str(config.accelerator_count)}]}
    if config.image:
        container = {"imageUri": config.image, "command": ["python", "-m", module], "args": arguments}
        return {"containerSpec": container | environment}
    package = {"executorImageUri": config.executor_image, "packageUris": [_package(config)]}
    return {"pythonPackageSpec": package | {"pythonModule": module, "args": arguments} | environment}


def _package(config: VertexConfig) -> str:
    folder = f"{remote.commit_label()}-{_device(config)}"
    file = f"handwriting_trainer-{metadata.version('handwriting-trainer')}.tar.gz"
    return f"{config.package_dir.rstrip('/')}/{folder}/{file}"


def _device(config: VertexConfig) -> str:
    return "gpu" if config.accelerator_type else "cpu"


def _upload_package(config: VertexConfig) -> None:
    """Builds this checkout, with the extras that it needs on Vertex AI's machines, and uploads it."""
    if config.image:
        return
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", place, "sdist", "--dist-dir", place]
        environment = os.environ | {"HANDWRITING_TRAINER_EXTRAS": f"preprocess,{_device(config)}"}
        built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if built.returncode:
            raise FailedError(f"the source distribution cannot be built: {' '.join(built.stderr.split())}")
        (package,) = Path(place).glob("*.tar.gz")
        storage.write_atomically(storage.to_path(_package(config)), package.read_bytes())
    _log.info("uploaded %s", _package(config))


def _data_label(job: Job) -> dict[str, str]:
    """A label with the current dataset's fingerprint; none if the dataset cannot be read from here."""
    try:
        manifest = manifests.read(storage.to_path(job.train.data.folder))
    except InputError as reason:
        _log.info("submitting without the label data_fingerprint: %s", reason)
        return {}
    return {"data_fingerprint": manifest.data_fingerprint[:_LABEL_LENGTH]}


def _scheduler_job(job: Job) -> dict[str, Any]:
    config = _config(job)
    if not config.scheduler_account:
        raise InputError("vertex.scheduler_account: is missing in the job description; a schedule needs it")
    # Always Google's own address: Cloud Scheduler sends the request, not this machine.
    address = f"https://{config.region}-aiplatform.googleapis.com/v1/{_parent(config)}/customJobs"
    sent = _custom_job(job, if_changed=True, labels={})  # the data will have changed by then
    _parse(sent)
    return {
        "name": _schedule_name(job),
        "description": f"Starts the job {job.name} on Vertex AI",
        "schedule": job.schedule.cron,
        "timeZone": job.schedule.time_zone,
        "retryConfig": {"retryCount": 3},
        "httpTarget": {
            "uri": address,
            "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": base64.b64encode(json.dumps(sent).encode()).decode(),
            "oauthToken": {"serviceAccountEmail": config.scheduler_account, "scope": SCOPE},
        },
    }


def _schedule_name(job: Job) -> str:
    return f"{_parent(_config(job))}/jobs/{job.name}"


def _config(job: Job) -> VertexConfig:
    """The checked section `vertex`. Raises `InputError` for a missing setting or an impossible combination."""
    config = job.vertex
    remote.check_section("vertex", config, ("project", "region"))
    if (config.image is None) == (config.executor_image is None):
        raise InputError("vertex.image, vertex.executor_image: give exactly one of them in the job description")
    if config.executor_image and not config.package_dir:
        raise InputError("vertex.package_dir: is missing in the job description; executor_image needs it")
    if config.executor_image and not (ROOT / "setup.py").exists():
        raise InputError("vertex.executor_image: needs a checkout of this project to build; give vertex.image")
    if config.tensorboard and not config.service_account:
        raise InputError("vertex.service_account: is missing in the job description; tensorboard needs it")
    return config


def _parse(sent: dict[str, Any]) -> "CustomJob":
    """Converts `sent` to the client's type. Raises `InputError` for an accelerator type that it does not know."""
    from google.cloud.aiplatform_v1 import AcceleratorType, CustomJob
    from google.protobuf import json_format

    accelerator = sent["jobSpec"]["workerPoolSpecs"][0]["machineSpec"].get("acceleratorType")
    known = [kind.name for kind in AcceleratorType if kind]
    if accelerator and accelerator not in known:
        raise InputError(f"vertex.accelerator_type {accelerator}: is not known; known: {', '.join(known)}")
    parsed = CustomJob()
    json_format.ParseDict(sent, CustomJob.pb(parsed))
    return parsed


def _runs(job: Job) -> "list[CustomJob]":
    config = _config(job)
    request = {"parent": _parent(config), "filter": f'labels.{JOB_LABEL}="{job.name}"'}
    with translate_refusals(VERTEX, config.project):
        runs = list(_client(config).list_custom_jobs(request=request, retry=RETRY))
    return sorted(runs, key=lambda run: run.create_time, reverse=True)


def _running(job: Job) -> "list[CustomJob]":
    return [run for run in _runs(job) if _state(run) in _ACTIVE]


def _number(run: "CustomJob") -> str:
    return run.name.rpartition("/")[2]


def _state(run: "CustomJob") -> str:
    return run.state.name.removeprefix("JOB_STATE_")


def _parent(config: VertexConfig) -> str:
    return f"projects/{config.project}/locations/{config.region}"


def _client(config: VertexConfig) -> "JobServiceClient":
    from google.cloud.aiplatform_v1 import JobServiceClient

    return VERTEX.client(JobServiceClient, config.region)


def _scheduler(config: VertexConfig) -> "CloudSchedulerClient":
    from google.cloud.scheduler_v1 import CloudSchedulerClient

    return SCHEDULER.client(CloudSchedulerClient)


def _check_schedule(job: Job) -> bool:
    """Whether this job has a schedule. Raises `InputError` if something else has the schedule's name."""
    config, name = _config(job), _schedule_name(job)
    schedules = _scheduler(config).list_jobs(parent=_parent(config), retry=RETRY)
    present = [schedule for schedule in schedules if schedule.name == name]
    if any(_posted_labels(schedule.http_target.body).get(JOB_LABEL) != job.name for schedule in present):
        raise InputError(f"{name}: is a job of Cloud Scheduler for something else; give this job another name")
    return bool(present)


def _posted_labels(body: bytes) -> dict[str, str]:
    """Labels of the CustomJob in a request's body, since Cloud Scheduler's jobs have none of their own."""
    try:
        return dict(json.loads(body)["labels"])
    except (ValueError, KeyError, TypeError):
        return {}
