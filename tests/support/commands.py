"""Runs commands as a user would: `python -m …` in its own process, or `deploy` in this one."""

import os
import subprocess
import sys

import pytest

from deploy.main import main
from tests.support import ROOT


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m …` as a user would, from the project's root."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def deploy(capsys: pytest.CaptureFixture[str], *arguments: str, expect: int = 0) -> str:
    """Runs a command of `deploy`; returns its output or, if `expect` is not 0, its error, the last line of stderr."""
    code = main(arguments)
    printed = capsys.readouterr()
    assert code == expect, printed.err
    return printed.err.splitlines()[-1] if expect else printed.out.rstrip("\n")
