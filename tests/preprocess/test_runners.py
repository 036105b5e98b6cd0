"""The same pipeline on a Dask cluster, and as the job that is sent to Dataflow."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from common import storage
from preprocess import pipeline
from tests.support import ROOT
from tests.support.commands import run_command
from tests.support.datasets import contents
from tests.support.lines import PAGE_PATTERN
from tests.support.lines import config as line_config


@pytest.fixture
def dask_cluster(bucket: str, tmp_path: Path) -> Iterator[str]:
    """Address of a scheduler with two workers, each a process of its own, that may use the bucket."""
    known = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    where = ["--scheduler-file", str(known), "--no-dashboard", "--host", "127.0.0.1"]
    commands = [
        [*dask, "scheduler", "--port", "0", *where],
        *2 * [[*dask, "worker", "--nthreads", "1", "--no-nanny", *where]],  # these wait for the file
    ]
    with (tmp_path / "dask.log").open("w") as log:
        processes = [subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) for command in commands]
    try:
        for _ in range(600):
            if known.exists() and known.read_text():
                break
            time.sleep(0.1)
        yield json.loads(known.read_text())["address"]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.xdist_group("alone")
@pytest.mark.parametrize("place", [pytest.param("disk", marks=pytest.mark.thorough), "bucket"])
def test_a_dask_cluster_gives_the_same_bytes(make_source, tmp_path, bucket, dask_cluster, place):
    source = make_source()
    expected = Path(pipeline.run(source.config(tmp_path / "here")))
    origin, data_dir = source.folder, tmp_path / "dask"
    if place == "bucket":
        origin, data_dir = storage.to_path(f"{bucket}/source").upload_from(origin), f"{bucket}/data"
    done = run_command(
        *("preprocess", "--dataset", source.dataset.name, "--source", str(origin), "--data-dir", str(data_dir)),
        *("--", "--runner", "DaskRunner", "--dask_client_address", dask_cluster),
    )
    assert done.returncode == 0, done.stderr
    assert contents(storage.to_path(done.stdout.splitlines()[-1])) == contents(expected)


@pytest.mark.xdist_group("alone")
def test_a_dask_cluster_gives_the_same_bytes_of_lines_in_a_bucket(line_pairs, small_lines, bucket, dask_cluster):
    origin = storage.to_path(f"{bucket}/lines").upload_from(line_pairs)
    done = run_command(
        *("preprocess", "--dataset", "mine/lines", "--source", str(origin), "--data-dir", f"{bucket}/data"),
        *("--group-pattern", PAGE_PATTERN),
        *("--", "--runner", "DaskRunner", "--dask_client_address", dask_cluster),
    )
    assert done.returncode == 0, done.stderr
    assert contents(storage.to_path(done.stdout.splitlines()[-1])) == contents(small_lines)


def test_two_workers_give_the_same_bytes_of_lines(line_pairs, small_lines, tmp_path):
    asked = line_config(line_pairs, where=tmp_path, group_pattern=PAGE_PATTERN, local_workers=2)
    assert contents(Path(pipeline.run(asked))) == contents(small_lines)


@pytest.fixture
def dataflow() -> Iterator[tuple[str, list[dict]]]:
    """Stands in for Dataflow's API: an address, and the jobs that were posted there."""
    jobs = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            jobs.append({"path": self.path, **json.loads(body)})
            answer = json.dumps(
                {"id": "job-1", "currentState": "JOB_STATE_PENDING", "projectId": "my-project"}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}", jobs
        server.shutdown()


def test_dataflow_is_sent_the_job_with_its_package(make_source, bucket, dataflow):
    endpoint, jobs = dataflow
    source = make_source("emnist/letters")
    for path in source.folder.iterdir():
        (storage.to_path(f"{bucket}/source") / path.name).upload_from(path)
    done = run_command(
        *("preprocess", "--dataset", "emnist/letters", "--source", f"{bucket}/source", "--data-dir", f"{bucket}/data"),
        *("--", "--runner", "DataflowRunner", "--project", "my-project", "--region", "europe-west4", "--no_auth"),
        *("--temp_location", f"{bucket}/tmp", "--staging_location", f"{bucket}/staging"),
        *("--setup_file", "./setup.py", "--sdk_container_image", "registry.example/trainer:1"),
        *("--num_workers", "3", "--worker_machine_type", "n2-standard-4"),
        *(f"--dataflow_endpoint={endpoint}", "--no_wait_until_finish"),
    )
    assert done.returncode == 0, done.stderr
    assert (
        "submitted; the dataset is complete once gs://test/data/emnist/letters/1.0.0/manifest.json exists"
        in done.stderr
    )
    (job,) = jobs
    assert job["path"].startswith("/v1b3/projects/my-project/locations/europe-west4/jobs")
    (pool,) = job["environment"]["workerPools"]
    assert (pool["numWorkers"], pool["machineType"]) == (3, "n2-standard-4")
    assert pool["workerHarnessContainerImage"] == "registry.example/trainer:1"
    (location,) = [package["location"] for package in pool["packages"] if package["name"] == "workflow.tar.gz"]
    package = storage.to_path(f"gs://{location.removeprefix('storage.googleapis.com/')}").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"preprocess/pipeline.py", "preprocess/official_files.tsv", "common/_build.py", "setup.py"} <= names
