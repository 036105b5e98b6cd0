"""What all commands share: flags from a typed configuration, logs on stderr, errors as one line, exit codes."""

import contextlib
import dataclasses
import inspect
import io
import logging
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro

from preprocess import storage
from preprocess.errors import InputError, unknown

T = TypeVar("T")

_BOX = re.compile("[╭╮╰╯│─]+")


def parse(
    config_type: type[T], arguments: Sequence[str], prog: str, default: T | None = None, epilogue: str | None = None
) -> T:
    """An instance of dataclass `config_type` from command-line flags; what they leave out is taken from `default`.

    Raises `InputError` for bad flags. `--help` prints, with `epilogue` after the description, and exits.
    """
    description = inspect.cleandoc(config_type.__doc__ or "") + (f"\n\n{epilogue}" if epilogue else "")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(config_type, prog=prog, args=list(arguments), default=default, description=description)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
    # Tyro draws a box of several lines; logs and job consoles want one line.
    lines = (_BOX.sub(" ", line).strip() for line in complaint.getvalue().splitlines())
    message = " ".join(filter(None, lines)).split("For full helptext")[0].strip()
    if "nrecognized" in message:
        known = (f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(config_type))
        message += f" Known: {', '.join(known)}"
    raise InputError(f"{message} (see {prog} --help)")


def to_flags(config: Any, prefix: str = "--") -> list[str]:
    """The flags that `parse` turns into `config` again; those at their default are left out."""
    flags = []
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            flags += to_flags(value, f"{name}.")
        elif value != field.default:
            match value:
                case bool():
                    flags.append(name if value else name.replace("--", "--no-", 1))
                case tuple():
                    flags += [name, *map(str, value)]
                case _:
                    flags += [name, str(value)]
    return flags


def run_one_of(
    commands: dict[str, Callable[[list[str]], str | int | None]], prog: str, arguments: Sequence[str]
) -> int:
    """Runs the sub-command that the first argument names with the others, as `run` does. `--help` lists them all."""
    name, *others = arguments or ["--help"]
    if name in ("-h", "--help"):
        width = max(map(len, commands))
        print(f"usage: {prog} COMMAND [--help]\n")
        for known, command in commands.items():
            print(f"  {known:{width}}  {inspect.cleandoc(command.__doc__ or '').splitlines()[0]}")
        return 0

    def command() -> str | int | None:
        if name not in commands:
            raise unknown("command", name, tuple(commands))
        return commands[name](others)

    return run(command)


def run(command: Callable[[], str | int | None]) -> int:
    """Runs a command and returns its exit code. What the command returns is printed last, or, a number, is the code.

    0 done, 2 bad input (one line, no traceback). Anything else that goes wrong is a fault of ours or of the machine's
    and keeps its traceback.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for room in ("preprocess", "trainer", "deploy"):
        logging.getLogger(room).setLevel(logging.INFO)
    try:
        result = command()
    except InputError as error:
        return _refuse(str(error))
    except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
        return _refuse(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if (refusal := storage.refusal(error)) is None:
            raise
        return _refuse(refusal)
    if isinstance(result, int):
        return result
    if result is not None:
        print(result)
    return 0


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
