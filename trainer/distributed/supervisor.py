"""The supervisor of a worker: a small process that can kill it.

TensorFlow's call that joins the workers blocks until every peer connects, and ignores signals and timeouts.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time

from common.errors import PeerLostError, StoppedError
from common.signals import end_with

JOINING, JOINED = b"1", b"2"
"""Reports of a worker: TensorFlow begins to join the workers; it has joined them."""

_REPORT_PIPE = "HANDWRITING_TRAINER_SUPERVISOR"


def supervise(arguments: list[str], timeout_seconds: float) -> int:
    """Runs `python -m trainer` with `arguments` as a worker, and returns its exit code.

    Kills the worker, and raises `PeerLostError`, if TensorFlow has not joined the workers after the timeout, or if it
    has aborted the process, as it may when a peer is lost. SIGTERM is passed on; while TensorFlow joins the workers the
    worker cannot take it, and `StoppedError` is raised.
    """
    read_end, write_end = os.pipe()
    environment = os.environ | {_REPORT_PIPE: f"{os.getpid()}:{write_end}"}
    command = [sys.executable, "-m", "trainer", *arguments]
    is_stopping = threading.Event()
    with subprocess.Popen(command, env=environment, pass_fds=[write_end]) as worker:
        previous = signal.signal(signal.SIGTERM, lambda *_: is_stopping.set())
        try:
            os.close(write_end)
            _wait_until_joined(worker, read_end, timeout_seconds, is_stopping)
            is_passed_on = False
            while worker.poll() is None:
                if is_stopping.is_set() and not is_passed_on:
                    worker.terminate()
                    is_passed_on = True
                time.sleep(0.1)
        except KeyboardInterrupt:  # a terminal sends it to both processes
            worker.wait()
        except BaseException:
            worker.kill()
            raise
        finally:
            signal.signal(signal.SIGTERM, previous)
            os.close(read_end)
    if worker.returncode in (-signal.SIGABRT, -signal.SIGSEGV):
        raise PeerLostError("TensorFlow ended this worker, as it does when a peer is lost; start all workers again")
    return worker.returncode if worker.returncode >= 0 else 128 - worker.returncode


def _wait_until_joined(
    worker: subprocess.Popen, read_end: int, timeout_seconds: float, is_stopping: threading.Event
) -> None:
    deadline, state = None, b""
    while state != JOINED and worker.poll() is None:
        ready, _, _ = select.select([read_end], [], [], 0.1)
        if ready:
            state = os.read(read_end, 1)
            if not state:  # the worker is ending
                return
            deadline = time.monotonic() + timeout_seconds
        if is_stopping.is_set() and state != JOINED:
            raise StoppedError
        if deadline and state == JOINING and time.monotonic() > deadline:
            raise PeerLostError(f"the workers did not join within {timeout_seconds:g} s; start all workers again")


def is_supervised() -> bool:
    """Whether this process is a worker with a supervisor."""
    return _REPORT_PIPE in os.environ


def report(state: bytes) -> None:
    """Reports `JOINING` or `JOINED` to the supervisor, if any; from `JOINING` on, this process ends with it."""
    if not is_supervised():
        return
    parent, _, pipe = os.environ[_REPORT_PIPE].partition(":")
    if state == JOINING:
        end_with(int(parent))
    os.write(int(pipe), state)
