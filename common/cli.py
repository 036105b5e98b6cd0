"""The frame of every command: sub-commands, logs on stderr, one-line errors, exit codes."""

import contextlib
import inspect
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from common import storage
from common.errors import CommandError, NoReaderError, StoppedError, unknown


def run_one_of(
    commands: dict[str, Callable[[list[str]], str | int | None]], prog: str, arguments: Sequence[str]
) -> int:
    """Runs the sub-command named by the first argument, as `run` does, with the rest. `--help` lists all of them."""
    name, *others = arguments or ["--help"]

    def command() -> str | int | None:
        if name in ("-h", "--help"):
            return _overview(commands, prog)
        if name not in commands:
            raise unknown("command", name, tuple(commands))
        return commands[name](others)

    return run(command)


def _overview(commands: dict[str, Callable], prog: str) -> str:
    """The usage text: one line per command."""
    width = max(map(len, commands))
    lines = (f"  {name:{width}}  {inspect.getdoc(command).splitlines()[0]}" for name, command in commands.items())
    return "\n".join([f"usage: {prog} COMMAND [--help]\n", *lines])


def show(text: str, end: str = "\n") -> None:
    """Prints to stdout and flushes it. Raises `NoReaderError` if the reader has closed the pipe."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise NoReaderError from None


def run(command: Callable[[], str | int | None]) -> int:
    """Runs a command and returns its exit code. The command's result is printed if a text, or is the code if a number.

    0 success; 1 failure; 2 bad input; 75 transient failure; 130 and 143 stopped by SIGINT and SIGTERM. These failures
    print one line and no traceback, as does what a disk refuses, which is bad input. Any other exception is a bug or a
    fault of the machine, and keeps its traceback.
    """
    try:
        return _run(command)
    except NoReaderError:
        return 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)


def _flush(stream: TextIO | None) -> None:
    """Flushes a stream. If its reader is gone, discards the rest; otherwise Python would complain at exit.

    `stream` is None if it was closed before the command started.
    """
    try:
        if stream:
            stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(command: Callable[[], str | int | None]) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for package in ("common", "preprocess", "trainer", "deploy"):
        logging.getLogger(package).setLevel(logging.INFO)
    # SIGTERM becomes an exception, so that worker processes end and temporary files are removed.
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        result = command()
    except CommandError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except StoppedError:
        return _complain("stopped by SIGTERM", 143)
    except Exception as error:
        if (user_error := storage.to_user_error(error)) is None:
            raise
        return _complain(str(user_error), user_error.exit_code)
    finally:
        signal.signal(signal.SIGTERM, previous)
    if isinstance(result, int):
        return result
    if result is not None:
        show(result)
    return 0


def _stop(*_: object) -> None:
    raise StoppedError


def _complain(message: str, exit_code: int) -> int:
    if sys.stderr:
        with contextlib.suppress(BrokenPipeError):  # nobody reads stderr; the exit code remains
            print(f"error: {message}", file=sys.stderr)
    return exit_code
