"""What all commands share: flags, exit codes, one-line errors, a quick --help."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import cli, storage
from common.errors import FailedError, InputError
from common.signals import deferred_stop
from preprocess import main as preprocess_main
from tests.support import ROOT


def fail(error: Exception):
    raise error


def test_exit_codes_and_streams(capsys):
    assert cli.run(lambda: "path/of/result") == 0
    assert capsys.readouterr().out == "path/of/result\n"
    assert cli.run(lambda: 75) == 75
    assert cli.run(lambda: None) == 0
    assert capsys.readouterr().out == ""
    assert cli.run(lambda: fail(InputError("file x: is bad"))) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: file x: is bad\n")
    assert cli.run(lambda: fail(FailedError("the loss became nan"))) == 1
    assert capsys.readouterr().err == "error: the loss became nan\n"
    assert cli.run(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 143
    assert capsys.readouterr().err == "error: stopped by SIGTERM\n"
    assert cli.run(lambda: fail(KeyboardInterrupt())) == 130
    assert cli.run(lambda: Path("/proc/version/file").read_text()) == 2
    assert capsys.readouterr().err == "error: interrupted\nerror: /proc/version/file: Not a directory\n"
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 // 0)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOSPC])
def test_what_a_disk_refuses_is_said_in_one_line(capsys, number):
    reason = os.strerror(number)
    assert cli.run(lambda: fail(OSError(number, reason, "a/file"))) == 2
    assert cli.run(lambda: fail(OSError(number, reason))) == 2
    assert capsys.readouterr().err == f"error: a/file: {reason}\nerror: the disk: {reason}\n"


def test_a_file_that_should_be_there_but_is_not_is_a_fault_of_ours():
    with pytest.raises(FileNotFoundError):
        cli.run(lambda: Path("nowhere").read_text())


def test_a_name_that_is_too_long_is_said_in_one_line(tmp_path, capsys):
    path = tmp_path / ("n" * 256)
    assert cli.run(path.read_text) == 2
    assert cli.run(lambda: storage.write_atomically(path, b"")) == 2
    assert capsys.readouterr().err == 2 * f"error: {path}: File name too long\n"
    assert not list(tmp_path.iterdir())


@pytest.fixture
def foreground() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT, and these tests may be started so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground")
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_work_that_can_be_saved_is_asked_to_stop_first_and_ended_at_the_second_signal(number, exit_code):
    steps = []

    def work(signals: int):
        with deferred_stop() as stop:
            for _ in range(signals):
                os.kill(os.getpid(), number)
                steps.append(stop.is_made)
            steps.append("saved")
            stop.raise_if_made()
        return "not stopped"

    assert cli.run(lambda: work(1)) == exit_code
    assert steps == [True, "saved"]
    steps.clear()
    assert cli.run(lambda: work(2)) == exit_code
    assert steps == [True]
    assert cli.run(lambda: work(0)) == 0


def test_sub_commands_are_listed_and_unknown_ones_refused(capsys):
    def mix(arguments):
        """Mix the dough.

        Thoroughly.
        """
        return "+".join(arguments)

    assert cli.run_one_of({"mix": mix}, "bake", ["mix", "a", "b"]) == 0
    assert capsys.readouterr().out == "a+b\n"
    assert cli.run_one_of({"mix": mix}, "bake", ["--help"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  mix  Mix the dough."
    assert cli.run_one_of({"mix": mix}, "bake", ["mx"]) == 2
    assert capsys.readouterr().err == "error: unknown command 'mx'; known: mix\n"


@pytest.mark.parametrize(
    "command",
    [["preprocess"], ["trainer"], ["trainer", "train"], ["trainer", "evaluate"], ["deploy"], ["deploy", "submit"]],
    ids=" ".join,
)
def test_help_needs_none_of_the_slow_imports(command):
    program = (
        f"import sys, atexit; sys.argv = {['x', *command[1:], '--help']!r}\n"
        "atexit.register(lambda: print('LOADED', *sorted(set(sys.modules) & "
        "{'tensorflow', 'keras', 'apache_beam', 'google.cloud.storage', 'matplotlib', 'scipy'})))\n"
        f"from {command[0]}.main import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "usage:" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_a_missing_bucket_is_bad_input(bucket, tmp_path, capsys):
    arguments = ("--dataset", "emnist/digits", "--source", "gs://no-such-bucket/x", "--data-dir", str(tmp_path))
    assert preprocess_main.main(arguments) == 2
    assert capsys.readouterr().err == "error: gs://no-such-bucket: does not exist; check the name of the bucket\n"
