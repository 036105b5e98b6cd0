"""The target Dataflow: only the job's preprocessing, by Beam's own DataflowRunner."""

import logging
import os
from typing import TYPE_CHECKING

import yaml
from google.api_core import exceptions, retry

from common import config_io
from common.errors import InputError
from deploy.config.commands import SubmitConfig
from deploy.config.settings import DataflowConfig
from deploy.job import Job
from deploy.targets import remote
from deploy.targets.google_cloud import DATAFLOW, RETRY, print_logs, translate_refusals
from deploy.targets.remote import JOB_LABEL, ROOT

if TYPE_CHECKING:
    from google.cloud.dataflow_v1beta3 import Job as DataflowJob
    from google.cloud.dataflow_v1beta3 import JobsV1Beta3Client

_TELLING_REFUSALS_TOO = "apache_beam.runners.dataflow.internal.apiclient"
_OVER = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")


def describe(job: Job, config: SubmitConfig) -> str:
    """The settings and options that `submit` gives to Beam, as YAML; Beam makes the request to Dataflow from them."""
    described = {"preprocess": config_io.to_plain(job.preprocess), "beam_options": _beam_options(job)}
    return yaml.safe_dump(described, sort_keys=False, allow_unicode=True).rstrip()


def submit(job: Job, config: SubmitConfig) -> str:
    """Starts the preprocessing unless it is already running; returns the dataset folder that it will write."""
    options = _beam_options(job)
    if running := [run for run in _of_that_name(job) if not _is_over(run)]:  # Dataflow takes no second of this name
        problem = f"{running[0].name}: is running already, as {running[0].id}"
        if running[0].id in (run.id for run in _runs(job)):
            raise InputError(f"{problem}; wait for it, or cancel it")
        raise InputError(
            f"{problem}, but is not this job's: it lacks the label {JOB_LABEL}={job.name}; "
            "wait for it, or rename the job"
        )
    # Beam builds the package for the machines and installs it there without extras, so the build adds them.
    os.environ["HANDWRITING_TRAINER_EXTRAS"] = "preprocess"
    from preprocess import pipeline

    logging.getLogger(_TELLING_REFUSALS_TOO).disabled = True
    # Beam itself retries failed requests, but not after 429, too many requests.
    again = RETRY.with_predicate(retry.if_exception_type(exceptions.TooManyRequests))
    with translate_refusals(DATAFLOW, job.dataflow.project):
        return again(pipeline.run)(job.preprocess, tuple(options))


def status(job: Job) -> str:
    """One line for each run of the preprocessing, newest first: state, start, and Dataflow's job id."""
    lines = [f"{_state(run):9} {run.create_time:%Y-%m-%d %H:%M} {run.id}" for run in _runs(job)]
    return "\n".join(lines) or f"{_name(job)}: never started in {job.dataflow.project}"


def logs(job: Job, follow: bool) -> None:
    """Prints the log of the newest run, from all its machines."""
    runs = _runs(job)
    if not runs:
        raise InputError(f"{_name(job)}: never started in {job.dataflow.project}, so there are no logs")
    log_filter = f'resource.type="dataflow_step" resource.labels.job_id="{runs[0].id}"'
    print_logs(job.dataflow.project, log_filter, (lambda: _is_over(_runs(job)[0])) if follow else None)


def cancel(job: Job) -> str:
    """Stops the running preprocessing; returns Dataflow's job ids."""
    from google.cloud import dataflow_v1beta3

    place = _config(job)
    running = [run for run in _runs(job) if not _is_over(run)]
    if not running:
        raise InputError(f"{_name(job)}: is not running in {place.project}")
    change = dataflow_v1beta3.Job(requested_state=dataflow_v1beta3.JobState.JOB_STATE_CANCELLED)
    with translate_refusals(DATAFLOW, place.project):
        for run in running:
            request = {"project_id": place.project, "location": place.region, "job_id": run.id, "job": change}
            _client().update_job(request=request, retry=RETRY)
    return "\n".join(run.id for run in running)


def _beam_options(job: Job) -> list[str]:
    config = _config(job)
    remote.check_paths(job, {})
    temp_dir = config.temp_dir.rstrip("/")
    options = {
        "runner": "DataflowRunner",
        "project": config.project,
        "region": config.region,
        "job_name": _name(job),
        "temp_location": f"{temp_dir}/temp",
        "staging_location": f"{temp_dir}/staging",
        "machine_type": config.machine_type,
        "max_num_workers": config.max_machines,
        "service_account_email": config.service_account,
        "subnetwork": config.subnetwork,
    }
    if config.image:
        options |= {"sdk_container_image": config.image, "sdk_location": "container"}
    else:
        options["setup_file"] = str(ROOT / "setup.py")
    if "://" in DATAFLOW.address():
        options["dataflow_endpoint"] = DATAFLOW.address()
    flags = [f"--{name}={value}" for name, value in options.items() if value is not None]
    flags += [f"--labels=commit={remote.commit_label()}", f"--labels={JOB_LABEL}={job.name}"]
    return [*flags, *(["--no_use_public_ips"] if config.subnetwork else []), "--no_wait_until_finish"]


def _name(job: Job) -> str:
    return f"{job.name}-preprocess"


def _config(job: Job) -> DataflowConfig:
    """The checked section `dataflow`. Raises `InputError` for a missing setting or an impossible combination."""
    config = job.dataflow
    remote.check_section("dataflow", config, ("project", "region", "temp_dir"))
    if not config.image and not (ROOT / "setup.py").exists():
        raise InputError("dataflow.image: is missing in the job description; it is needed outside a checkout")
    return config


def _runs(job: Job) -> "list[DataflowJob]":
    """Dataflow jobs that carry this job's label, newest first."""
    from google.cloud.dataflow_v1beta3 import JobView

    config, client = _config(job), _client()
    place = {"project_id": config.project, "location": config.region, "view": JobView.JOB_VIEW_DESCRIPTION}
    present = _of_that_name(job)
    with translate_refusals(DATAFLOW, config.project):  # `list_jobs` returns no labels
        runs = [client.get_job(request=place | {"job_id": run.id}, retry=RETRY) for run in present]
    return [run for run in runs if run.labels.get(JOB_LABEL) == job.name]


def _of_that_name(job: Job) -> "list[DataflowJob]":
    config = _config(job)
    request = {"project_id": config.project, "location": config.region, "name": _name(job)}
    with translate_refusals(DATAFLOW, config.project):
        runs = list(_client().list_jobs(request=request, retry=RETRY))
    return sorted(runs, key=lambda run: run.create_time, reverse=True)


def _state(run: "DataflowJob") -> str:
    return run.current_state.name.removeprefix("JOB_STATE_")


def _is_over(run: "DataflowJob") -> bool:
    return _state(run) in _OVER


def _client() -> "JobsV1Beta3Client":
    from google.cloud.dataflow_v1beta3 import JobsV1Beta3Client

    return DATAFLOW.client(JobsV1Beta3Client)
