"""The Dockerfile: linted, and its steps run in a clean virtual environment, since there is no Docker here."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: name and rest, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(" ", 1)) for line in text.splitlines() if line.strip()]


def context(folder: Path) -> Path:
    """What `.dockerignore` lets Docker see of a checkout, copied to `folder`."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"  # everything is kept out but for the names that follow
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    dropped = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    folder.mkdir()
    for name in kept:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns(*dropped)
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    return folder


def test_the_dockerfile_is_linted():
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("no hadolint here; this package's extra dev has it")
    done = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_docker_sees_all_tracked_files_of_the_package_and_nothing_else(tmp_path):
    seen = {path.relative_to(tmp_path / "context").as_posix() for path in context(tmp_path / "context").rglob("*")}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    package = {name for name in tracked if name.startswith(("common/", "preprocess/", "trainer/", "deploy/"))}
    assert package | {"setup.py", "constraints.txt", "README.md", "LICENSE"} <= seen
    assert not {name for name in seen if name.startswith((".git", ".venv", "tests", "data", "runs"))}
    assert not {name for name in seen if fnmatch(name, "*__pycache__*")}


def test_the_image_belongs_to_no_root_and_serves_beam_and_everybody_else():
    last = instructions()[max(place for place, (name, _) in enumerate(instructions()) if name == "FROM") :]
    settings = dict(last)
    assert int(settings["USER"]) > 0
    assert settings["ENTRYPOINT"] == '["/opt/apache/beam/boot"]'
    # Without them GKE and Vertex AI show the image no GPU: they mount the driver, and leave it to the image to find it.
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(rest for name, rest in last if name == "ENV")))
    assert variables["LD_LIBRARY_PATH"] == "/usr/local/nvidia/lib64"
    assert variables["PATH"] == "/opt/venv/bin:/usr/local/nvidia/bin:$PATH"
    assert (variables["NVIDIA_VISIBLE_DEVICES"], variables["NVIDIA_DRIVER_CAPABILITIES"]) == ("all", "compute,utility")
    # Beam refuses a worker of another version than its own.
    pinned = re.search(r"^apache-beam==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert bases[0] == f"apache/beam_python3.11_sdk:{pinned}"
    assert set(bases[1:]) == {"python:3.11.14-slim-bookworm"}


def test_the_steps_of_the_build_leave_a_working_package(tmp_path):
    source, environment = context(tmp_path / "src"), tmp_path / "venv"
    steps = [rest for name, rest in instructions() if name == "RUN" and "useradd" not in rest]
    assert len(steps) == 2
    variables = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DEVICE": "cpu",
        "COMMIT": "c0ffee",
        "PIP_NO_DEPS": "1",  # they are what `make` has installed, by the same file of constraints
        "PIP_QUIET": "1",
    }
    for step in steps:
        step = re.sub(r"--mount=\S+", "", step).replace("/opt/venv", str(environment))
        done = subprocess.run(step, shell=True, cwd=source, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    # What else it needs is lent by this environment.
    variables["PYTHONPATH"] = sysconfig.get_path("purelib")
    program = "from common import provenance; print(provenance.commit(), provenance.__file__)"
    for command, printed in (
        (("-c", program), f"Commit(id='c0ffee', dirty=False) {environment}"),
        (("-m", "preprocess", "--help"), "usage: python -m preprocess"),
        (("-m", "trainer", "train", "--config", "article_cnn", "--help"), "usage: python -m trainer train"),
        (("-m", "deploy", "run", "--help"), "usage: python -m deploy run"),
        (("-m", "deploy", "init", "--job", str(tmp_path / "job.yaml")), "job.yaml"),
    ):
        done = subprocess.run(
            [environment / "bin" / "python", *command],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert printed in done.stdout
