"""Provenance: the commit and the tools that made a result."""

import platform
import subprocess

from common import provenance


def test_the_commit_is_gits_in_a_checkout():
    command = ["git", "-C", str(provenance._PROJECT_ROOT), "rev-parse", "HEAD"]
    assert provenance.commit().id == subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_unknown_where_nothing_recorded_it(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "_PROJECT_ROOT", tmp_path)
    assert provenance.commit() == provenance.Commit("unknown", False)


def test_versions_are_those_installed():
    versions = provenance.tool_versions("numpy", "no-such-package")
    assert set(versions) == {"python", "numpy"}
    assert versions["python"] == platform.python_version()
