"""Commands as a user gives them: `python -m …` in a process of its own, or `deploy` in this one."""

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
    """What a command prints; or its complaint, if it is expected to fail with that exit code."""
    code = main(arguments)
    printed = capsys.readouterr()
    assert code == expect, printed.err
    return printed.err.splitlines()[-1] if expect else printed.out.rstrip("\n")
