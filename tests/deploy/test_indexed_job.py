"""An Indexed Job of two pods, simulated by two processes with the environment from its manifest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from common import storage
from deploy import progress
from tests.support import ROOT
from tests.support.commands import deploy
from tests.support.workers import free_port

pytestmark = [pytest.mark.tensorflow, pytest.mark.xdist_group("alone")]

JOB_NAME = "letters-29400000"  # as a CronJob names its Jobs: after itself, and the time


class Pods:
    """What the control plane makes of an Indexed Job: a process for each index."""

    def __init__(self, job: dict, home: Path, **environment: str):
        (self._container,) = job["spec"]["template"]["spec"]["containers"]
        self._home, self._environment = home, environment
        subdomain = job["spec"]["template"]["spec"]["subdomain"]
        # All hosts are this one, so their ports must differ.
        self._hosts = {f"{JOB_NAME}-{index}.{subdomain}:2222": f"127.0.0.1:{free_port()}" for index in range(2)}

    def start(self, index: int) -> subprocess.Popen:
        command = [*self._container["command"], *self._container["args"]]
        assert command[0] == "python"
        return subprocess.Popen(
            [sys.executable, *command[1:]],
            cwd=ROOT,
            env=self._environment_of(index),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environment_of(self, index: int) -> dict[str, str]:
        variables = {"PATH": os.environ["PATH"], "JOB_COMPLETION_INDEX": str(index), **self._environment}
        labels = {"batch.kubernetes.io/job-name": JOB_NAME}
        for variable in self._container["env"]:
            if "valueFrom" in variable:
                path = variable["valueFrom"]["fieldRef"]["fieldPath"]
                value = labels[path.removeprefix("metadata.labels['").removesuffix("']")]
            else:
                value = variable["value"]
                for name, known in variables.items():
                    value = value.replace(f"$({name})", known)
            variables[variable["name"]] = value
        for host, here in self._hosts.items():
            assert host in variables["JOB_WORKERS"]
            variables["JOB_WORKERS"] = variables["JOB_WORKERS"].replace(host, here)
        mounts = {mount["mountPath"] for mount in self._container["volumeMounts"]}
        assert variables["HOME"] in mounts  # the only place for its caches, and here a folder for each pod
        home = self._home / f"pod-{index}"
        home.mkdir(parents=True, exist_ok=True)
        return variables | {"HOME": str(home)}


def test_two_pods_retrain_together_and_one_alone_goes_on_after_the_training(write_job, bucket, tmp_path, capsys):
    def pods(cluster_timeout: int) -> Pods:
        job = write_job(
            preprocess={"dataset": "synthetic/digits", "source": "synthetic", "data_dir": f"{bucket}/data"},
            train={
                "config": None,
                "model": "dense",
                "epochs": 1,
                "global_batch_size": 256,
                "calibration_pictures": 17,
                "cluster_timeout": cluster_timeout,
            },
            kubernetes={"num_machines": 2},
        )
        shown = deploy(capsys, "submit", "--target", "kubernetes", "--job", job, "--dry-run")
        _, manifest = yaml.safe_load_all(shown)
        return Pods(manifest, tmp_path, STORAGE_EMULATOR_HOST=os.environ["STORAGE_EMULATOR_HOST"])

    both = pods(cluster_timeout=180)
    processes = [both.start(index) for index in range(2)]
    chief, worker = (process.communicate(timeout=300) for process in processes)
    assert [process.returncode for process in processes] == [0, 0], chief[1] + worker[1]
    assert "model, loaded again, reproduces the test figures" in chief[1]
    assert "MultiWorkerMirroredStrategy on 2 workers; this is worker 0" in chief[1]
    assert "MultiWorkerMirroredStrategy on 2 workers; this is worker 1" in worker[1]
    assert chief[0].splitlines()[-1].startswith("letters: promoted: version 1")
    assert worker[0].splitlines()[-1] == "letters: trained as worker 1; the chief continues alone"
    folder = storage.to_path("gs://test/runs/letters")
    retrained = progress.read(folder)
    assert retrained.outcome == "promoted"
    run_info = json.loads((storage.to_path(retrained.run) / "run.json").read_bytes())
    assert run_info["num_replicas"] == 2
    assert json.loads((folder.parent.parent / "serving" / "letters" / "current.json").read_bytes())["version"] == 1

    # As after a node was taken away: the other pod has succeeded, and does not come back.
    with pods(cluster_timeout=2).start(0) as again:
        printed, complaint = again.communicate(timeout=100)
    assert again.returncode == 0, complaint
    assert printed.splitlines()[-1] == "letters: kept: version 1 is this very model"
