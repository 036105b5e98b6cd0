"""The local target: a retraining on this machine."""

import shlex
import signal
import subprocess
import sys

from deploy import job as jobs
from deploy.config import SubmitConfig
from deploy.job import Job


def describe(job: Job, config: SubmitConfig) -> str:
    """What `submit` would run, as a line for a shell."""
    return shlex.join(_command(job, config.if_changed))


def submit(job: Job, config: SubmitConfig) -> int:
    """Runs `job` in the foreground and returns its exit code."""
    return _run(_command(job, config.if_changed))


def _command(job: Job, if_changed: bool) -> list[str]:
    command = [sys.executable, "-m", "deploy", "run", "--job", jobs.to_json(job)]
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
