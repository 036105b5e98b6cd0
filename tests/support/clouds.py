"""Fixtures that stand in for a crontab, for Google Cloud and for a cluster; who uses them imports them."""

import os
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest

from deploy.targets import google_cloud
from tests.support.cloud_stub import GoogleCloud, Kubernetes

_CRONTAB = """#!/bin/sh
# A crontab that is a file.
case "$1" in
-l) cat "$CRONTAB_FILE" 2>/dev/null || { echo "no crontab for tester" >&2; exit 1; } ;;
-) cat > "$CRONTAB_FILE" ;;
*) exit 2 ;;
esac
"""


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the stand-in for the program `crontab` keeps; no such file is no crontab."""
    program = tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(_CRONTAB)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CRONTAB_FILE", str(tmp_path / "crontab.txt"))
    return tmp_path / "crontab.txt"


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleCloud]:
    """Google Cloud, as far as clients in this process can tell, which wait less before they try again."""
    monkeypatch.setattr("google.api_core.retry.retry_unary.exponential_sleep_generator", lambda *_, **__: repeat(0.01))
    monkeypatch.setattr(google_cloud.RETRY, "_timeout", 1.0)
    with GoogleCloud() as stub:
        for name, value in stub.environment(tmp_path / "key.json").items():
            monkeypatch.setenv(name, value)
        yield stub


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """A Kubernetes cluster, as far as clients in this process can tell."""
    with Kubernetes() as stub:
        monkeypatch.setattr(
            "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION",
            str(stub.write_kubeconfig(tmp_path / "kubeconfig")),
        )
        yield stub
