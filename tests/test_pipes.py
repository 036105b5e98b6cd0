"""A reader that goes away, as `head` does: the command ends quietly, with its usual exit code."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT


def run_unread(*arguments: str, stream: str, after: int = 0) -> subprocess.CompletedProcess:
    """A command, `stream` (stdout or stderr) of which is read for `after` bytes and then closed."""
    command = [sys.executable, "-m", *arguments]
    # As in a shell: what the interpreter itself writes at its end counts, too.
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        unread, other = (process.stdout, process.stderr) if stream == "stdout" else (process.stderr, process.stdout)
        os.read(unread.fileno(), after) if after else None
        unread.close()
        rest = other.read().decode()
        code = process.wait(60)
    return subprocess.CompletedProcess(command, code, *(("", rest) if stream == "stdout" else (rest, "")))


@pytest.mark.parametrize(
    "command",
    [["preprocess", "--help"], ["trainer", "--help"], ["trainer", "train", "--help"], ["deploy", "submit", "--help"]],
    ids=" ".join,
)
@pytest.mark.parametrize("after", [0, 1])
def test_help_that_is_not_read_to_its_end_is_no_error(command, after):
    done = run_unread(*command, stream="stdout", after=after)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_result_that_nobody_reads_is_no_error(tmp_path):
    done = run_unread("deploy", "init", "--job", str(tmp_path / "job.yaml"), stream="stdout")
    assert (done.returncode, "Error" in done.stderr) == (0, False)
    assert (tmp_path / "job.yaml").exists()


def test_a_log_that_is_not_read_to_its_end_is_no_error(job_with_log):
    done = run_unread("deploy", "logs", "--job", str(job_with_log), stream="stdout", after=1)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def job_with_log(tmp_path):
    """A job whose log is longer than what a pipe holds."""
    job = tmp_path / "job.yaml"
    subprocess.run([sys.executable, "-m", "deploy", "init", "--job", job], cwd=ROOT, check=True, capture_output=True)
    job.write_text(job.read_text().replace("runs_dir: runs", f"runs_dir: {tmp_path}"))
    (tmp_path / "handwriting").mkdir()
    (tmp_path / "handwriting" / "log.txt").write_text("epoch\n" * 100_000)
    return job


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_was_closed_before_is_no_error_either(closed, tmp_path):
    for command, code in ((f"init --job {tmp_path}/{len(closed)}.yaml", 0), ("run --job /nowhere/job.yaml", 2)):
        line = f"exec {sys.executable} -m deploy {command} {closed}"
        done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "error: " not in done.stdout


def test_a_complaint_that_nobody_reads_leaves_the_exit_code_as_it_is():
    assert run_unread("deploy", "run", "--job", "/nowhere/job.yaml", stream="stderr").returncode == 2
