"""The errors that a command tells in one line."""

import re


class InputError(Exception):
    """Bad input or usage: a command shows the message as one line, without a traceback, and exits with code 2.

    The message names the file, flag or value at fault and says what would be right.
    """


class FailedError(Exception):
    """The work cannot be done, though nothing was wrong with the request: one line, exit code 1."""


class PeerLostError(Exception):
    """Another worker of the same job was lost, or never came: one line, exit code 75; start all workers again."""


class StoppedError(BaseException):
    """SIGTERM: exit code 143. No `except Exception` may swallow it."""


def without_queries(text: str) -> str:
    """`text`, but of addresses in it not what follows a question mark: signatures and tokens stand there."""
    return re.sub(r"\?[\w.-]+=[^\s'\")]*", "", text)


def unknown(kind: str, name: str, known: "tuple[str, ...] | list[str]") -> InputError:
    """An `InputError` for a name that is none of `known`; the message lists them all."""
    return InputError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
