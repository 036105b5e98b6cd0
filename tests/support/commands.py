"""`python -m deploy`, in this process."""

import pytest

from deploy import task


def deploy(capsys: pytest.CaptureFixture[str], *arguments: str, expect: int = 0) -> str:
    """What a command prints; or its complaint, if it is expected to fail with that exit code."""
    code = task.main(arguments)
    printed = capsys.readouterr()
    assert code == expect, printed.err
    return printed.err.splitlines()[-1] if expect else printed.out.rstrip("\n")
