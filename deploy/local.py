"""The local target: the job's commands, one after the other, on this machine."""

import shlex
import signal
import subprocess
import sys

from deploy.job import Job
from preprocess.cli import to_flags


def commands(job: Job) -> list[list[str]]:
    """The commands that make up `job`, in order."""
    return [
        [sys.executable, "-m", "preprocess", *to_flags(job.preprocess)],
        [sys.executable, "-m", "trainer", "train", *to_flags(job.train)],
    ]


def describe(job: Job) -> str:
    """What `submit` would run, as lines for a shell."""
    return "\n".join(shlex.join(command) for command in commands(job))


def submit(job: Job) -> int:
    """Runs `job` in the foreground and returns its exit code: that of the first command that fails, or 0."""
    for command in commands(job):
        if code := _run(command):
            return code
    return 0


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
