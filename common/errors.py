"""The errors that a command tells in one line."""

import os
import re

_LONGEST_SHOWN = 100


class CommandError(Exception):
    """An error whose message a command shows as one line, without a traceback, before it ends with `exit_code`."""

    exit_code = 1


class InputError(CommandError):
    """Bad input or usage. The message names the file, flag or value at fault and says what would be right."""

    exit_code = 2


class BusyError(InputError):
    """Another process is at work on the same folder; the message names it."""


class FailedError(CommandError):
    """The work cannot be done, though nothing was wrong with the request."""


class TemporaryError(CommandError):
    """The work cannot be done at present; started again, it may be.

    Examples: a bucket that cannot be reached, credentials that are not there yet, another job that took over.
    """

    exit_code = os.EX_TEMPFAIL


class PeerLostError(TemporaryError):
    """Another worker of the same job was lost, or never came; start all workers again."""


class StoppedError(BaseException):
    """SIGTERM: exit code 143. No `except Exception` may swallow it."""


class NoReaderError(BaseException):
    """The reader of stdout has gone away, as `head` does: the command ends quietly. No error, so exit code 0."""


def without_queries(text: str) -> str:
    """`text`, but of addresses in it not what follows a question mark: signatures and tokens stand there."""
    return re.sub(r"\?[\w.-]+=[^\s'\")]*", "", text)


def shown(text: str) -> str:
    """`text` for a message of one line: quoted, and cut where it is long."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def unknown(kind: str, name: str, known: "tuple[str, ...] | list[str]") -> InputError:
    """An `InputError` for a name that is none of `known`; the message lists them all."""
    return InputError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
