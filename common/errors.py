"""Errors that a command reports in one line, and their exit codes."""

import os
import re

_LONGEST_SHOWN = 100


class CommandError(Exception):
    """An error reported as one line, without a traceback; the command ends with `exit_code`."""

    exit_code = 1


class InputError(CommandError):
    """Bad input or usage. The message names the file, flag or value at fault and says what would be right."""

    exit_code = 2


class BusyError(InputError):
    """Another process works on the same folder; the message names that process."""


class FailedError(CommandError):
    """The work failed, although the request was valid."""


class TemporaryError(CommandError):
    """The work failed for a transient reason; the same command may succeed later.

    Examples: an unreachable bucket, credentials that a new machine does not have yet, another job that took over.
    """

    exit_code = os.EX_TEMPFAIL


class PeerLostError(TemporaryError):
    """Another worker of the same job was lost or never connected; all workers must be restarted."""


class StoppedError(BaseException):
    """SIGTERM; exit code 143. A BaseException, so that no `except Exception` swallows it."""


class NoReaderError(BaseException):
    """The reader of stdout closed the pipe, as `head` does. No error: the command ends silently with exit code 0."""


def without_queries(text: str) -> str:
    """`text` with the query strings of its URLs removed, because they may hold signatures and tokens."""
    return re.sub(r"\?[\w.-]+=[^\s'\")]*", "", text)


def shown(text: str) -> str:
    """`text` quoted for a one-line message, and shortened if it is long."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def unknown(kind: str, name: str, known: "tuple[str, ...] | list[str]") -> InputError:
    """An `InputError` for a name that is not in `known`; the message lists all known names."""
    return InputError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
