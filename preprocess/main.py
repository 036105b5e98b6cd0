"""The command `python -m preprocess`: flags to a configuration, then one call of `pipeline.run`."""

import sys
from collections.abc import Sequence

from common import cli, flags
from preprocess.config import PreprocessConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return cli.run(lambda: _preprocess(list(sys.argv[1:] if arguments is None else arguments)))


def _preprocess(arguments: list[str]) -> str:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    config = flags.parse(PreprocessConfig, arguments[:end], "python -m preprocess")
    # Imported late: Beam takes seconds to load, and `--help` has no need of it.
    from preprocess import pipeline

    return pipeline.run(config, tuple(arguments[end + 1 :]))
