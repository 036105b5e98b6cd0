"""What all commands share: sub-commands, logs on stderr, errors as one line, exit codes."""

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
    """Runs the sub-command that the first argument names with the others, as `run` does. `--help` lists them all."""
    name, *others = arguments or ["--help"]

    def command() -> str | int | None:
        if name in ("-h", "--help"):
            return _overview(commands, prog)
        if name not in commands:
            raise unknown("command", name, tuple(commands))
        return commands[name](others)

    return run(command)


def _overview(commands: dict[str, Callable], prog: str) -> str:
    """The usage, with a line for each command."""
    width = max(map(len, commands))
    lines = (f"  {name:{width}}  {inspect.getdoc(command).splitlines()[0]}" for name, command in commands.items())
    return "\n".join([f"usage: {prog} COMMAND [--help]\n", *lines])


def show(text: str, end: str = "\n") -> None:
    """Prints to stdout at once. Raises `NoReaderError` if nobody reads it any more."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise NoReaderError from None


def run(command: Callable[[], str | int | None]) -> int:
    """Runs a command and returns its exit code. What the command returns is printed last, or, a number, is the code.

    0 done; 1 failed; 2 bad input; 75 failed of something that may pass; 130 and 143 stopped by SIGINT and SIGTERM; each
    with one line and no traceback.
    Anything else that goes wrong is a fault of ours or of the machine's and keeps its traceback.
    """
    try:
        return _run(command)
    except NoReaderError:
        return 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)


def _flush(stream: TextIO | None) -> None:
    """Writes what a stream has in its buffer; where nobody reads it, Python would complain of that at its end.

    A stream that was closed before the command started is None.
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
    # As an exception, SIGTERM ends worker processes and leaves no temporary files.
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        result = command()
    except CommandError as error:
        return _complain(str(error), error.exit_code)
    except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
        return _complain(f"{error.filename}: {error.strerror}", 2)
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
        with contextlib.suppress(BrokenPipeError):  # nobody reads it; the exit code still tells
            print(f"error: {message}", file=sys.stderr)
    return exit_code
