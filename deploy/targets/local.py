"""The local target: a retraining on this machine, in the foreground, detached, or started by cron."""

import hashlib
import logging
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from common import storage
from common.cli import show
from common.errors import FailedError, InputError
from deploy import job as jobs
from deploy import progress
from deploy import status as statuses
from deploy.config.commands import SubmitConfig
from deploy.job import Job
from deploy.targets import crontab

LOG = "log.txt"
_SCHEDULED_JOB = "scheduled-job.json"
_POLL_SECONDS = 0.2
_SECONDS_TO_END = 60

_log = logging.getLogger(__name__)


def describe(job: Job, config: SubmitConfig) -> str:
    """What `submit` would run, as a line for a shell."""
    return shlex.join(_command(jobs.to_json(job), config.if_changed))


def submit(job: Job, config: SubmitConfig) -> str | int:
    """Runs `job` in the foreground and returns its exit code; or, detached, returns when it is at work.

    Raises `InputError` if a retraining of this job is at work already.
    """
    command = _command(jobs.to_json(job), config.if_changed)
    return _detach(job, command) if config.detach else _run(command)


def _command(job: str, if_changed: bool) -> list[str]:
    command = [sys.executable, "-m", "deploy", "run", "--job", job]
    return [*command, "--if-changed"] if if_changed else command


def _run(command: list[str]) -> int:
    process = subprocess.Popen(command)
    # Whoever stops the job means the command that runs for it.
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    except KeyboardInterrupt:  # a terminal sends it to both processes
        code = process.wait() or 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, previous)
    return code if code >= 0 else 128 - code  # as a shell names the end by a signal


def _detach(job: Job, command: list[str]) -> str | int:
    log = _place(job) / LOG
    storage.make_folder(log.parent)
    began = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    while process.poll() is None:
        status = progress.read(job.folder)
        if status and status.process.pid == process.pid:
            return f"{job.name}: at work as process {process.pid}; its log: {log}"
        time.sleep(_POLL_SECONDS)
    with log.open("rb") as file:
        file.seek(began)
        _log.error("%s", file.read().decode(errors="replace").rstrip("\n"))
    return process.returncode


def status(job: Job) -> str:
    """How far the retraining is, or how the last one ended."""
    return statuses.describe(job.folder, job.name)


def logs(job: Job, follow: bool) -> None:
    """Prints what retrainings that were detached or started by cron have said."""
    log = _place(job) / LOG
    if not log.exists():
        raise InputError(f"{log}: no such file; only what is detached, or started by cron, leaves a log")
    for text in _read(job, log, follow):
        show(text, end="")


def _read(job: Job, log: Path, follow: bool) -> Iterator[str]:
    with log.open(encoding="utf-8", errors="replace") as file:
        is_over = not follow
        while True:
            yield file.read()
            if is_over:
                return
            is_over = not progress.is_at_work(job.folder)  # what it said last is still to be read
            time.sleep(_POLL_SECONDS)


def cancel(job: Job) -> str:
    """Has a retraining on this machine stop, and waits until it has. Raises `InputError` if there is none."""
    status = progress.read(job.folder)
    if status is None or not progress.is_at_work(job.folder):
        raise InputError(f"{job.name}: no retraining is at work")
    if status.process.host != socket.gethostname():
        raise InputError(f"{job.name}: is at work on {status.process.host}; cancel it there")
    try:
        process = psutil.Process(status.process.pid)
        is_it = process.create_time() == status.process.started
    except psutil.NoSuchProcess:
        is_it = False
    if not is_it:  # another has its number, or it has ended just now
        raise InputError(f"{job.name}: process {status.process.pid} is not the retraining any more")
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except psutil.TimeoutExpired:
        raise FailedError(f"{job.name}: process {process.pid} was told to stop, but is at work still") from None
    return f"{job.name}: stopped; the same command resumes it"


def describe_schedule(job: Job) -> str:
    """The line that `schedule` would put into the crontab."""
    return crontab.line(job, _scheduled_command(job), _place(job) / LOG)


def schedule(job: Job) -> str:
    """Has cron start the job as it is described now. Raises `InputError` if this machine has no cron."""
    line = describe_schedule(job)
    storage.write_atomically(_place(job) / _SCHEDULED_JOB, jobs.to_json(job).encode())
    crontab.replace(job, line)
    return f"{job.name}: scheduled by cron, {job.schedule.cron}; its log: {_place(job) / LOG}"


def unschedule(job: Job) -> str:
    """Takes the job's line out of the crontab."""
    crontab.replace(job, None)
    (_place(job) / _SCHEDULED_JOB).unlink(missing_ok=True)
    return f"{job.name}: no longer scheduled"


def _scheduled_command(job: Job) -> list[str]:
    return _command(str(_place(job) / _SCHEDULED_JOB), if_changed=True)


def _place(job: Job) -> Path:
    """What this machine keeps of a job: in its folder, or, where that is in a bucket, in the cache."""
    if isinstance(job.folder, Path):
        return job.folder.absolute()
    digest = hashlib.sha256(str(job.folder).encode()).hexdigest()[:8]
    return Path(storage.CACHE_DIR).expanduser() / "jobs" / f"{job.name}-{digest}"
