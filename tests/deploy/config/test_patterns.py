"""Settings that become part of an address, a name, a label or an argument are checked before anything is sent."""

import dataclasses

import pytest

from common.marks import Rule, broken_rules, settings_of
from deploy.config import patterns
from deploy.config.settings import DataflowConfig, KubernetesConfig, VertexConfig
from tests.support.commands import deploy

SECTIONS = {"vertex": VertexConfig, "kubernetes": KubernetesConfig, "dataflow": DataflowConfig}
LEFT_OPEN = ["kubernetes.context"]
"""Looked up in the user's own kubeconfig, and sent nowhere."""


def texts() -> dict[str, bool]:
    """The settings that hold text, by section and name, and whether they have a pattern."""
    return {
        f"{name}.{setting.name}": any(isinstance(mark, Rule) for mark in setting.marks)
        for name, section in SECTIONS.items()
        for setting in settings_of(section)
        if setting.type not in (int, float, bool)
    }


def test_every_setting_that_is_text_has_a_pattern():
    assert [name for name, has_pattern in texts().items() if not has_pattern] == LEFT_OPEN


@pytest.mark.parametrize(
    "text",
    [
        *(
            "evil.example#",
            "evil.example/",
            "evil.example?",
            "evil.example\\",
            "user@evil.example",
            "evil.example:443/",
        ),
        *("a/../b", "..", "$(HOME)", "${HOME}", "x y", " x", "x\n", "a\nb", "\0", "--flag", "é", '"', "'", "%2e", ""),
        *("a" * 2000, "a=b,c=d", "a=b;c"),
    ],
)
def test_what_would_be_more_than_a_name_is_refused_everywhere(text):
    for name in set(texts()) - set(LEFT_OPEN):
        section, setting = name.split(".")
        config = SECTIONS[section](**{setting: (text,) if setting == "node_labels" else text})
        assert [broken for broken, _, _ in broken_rules(config)] == [setting]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vertex.project", "my-project-123"),
        ("vertex.project", "example.com:my-project"),
        *(("vertex.region", region) for region in ("us-central1", "northamerica-northeast2", "europe-west12")),
        ("vertex.image", "europe-west4-docker.pkg.dev/my-project/ours/trainer:1"),
        ("vertex.image", "gcr.io/example.com/my-project/trainer"),
        ("vertex.image", "localhost:5000/a/b_c/d.e--f:v1.2-rc_3@sha256:" + "0f" * 32),
        ("vertex.machine_type", "a3-megagpu-8g"),
        ("vertex.machine_type", "custom-2-4096"),
        ("vertex.accelerator_type", "NVIDIA_TESLA_T4"),
        ("vertex.package_dir", "gs://my.bucket_1/some where/packages"),
        ("vertex.service_account", "12345-compute@developer.gserviceaccount.com"),
        ("vertex.service_account", "trainer@my-project.example.com.iam.gserviceaccount.com"),
        ("vertex.tensorboard", "projects/1/locations/europe-west4/tensorboards/2"),
        ("kubernetes.context", "gke_my-project_europe-west4_ours"),
        ("kubernetes.context", "arn:aws:eks:eu-west-1:1:cluster/ours"),
        ("kubernetes.namespace", "team-a"),
        ("kubernetes.credentials_secret", "gcs.key"),
        ("kubernetes.node_labels", ("cloud.google.com/gke-accelerator=nvidia-l4", "disk=", "Zone=A_1.b")),
        ("dataflow.subnetwork", "https://www.googleapis.com/compute/v1/projects/host/regions/us-east1/subnetworks/n"),
    ],
)
def test_what_the_services_take_is_taken(name, text):
    section, setting = name.split(".")
    assert not list(broken_rules(SECTIONS[section](**{setting: text})))


@pytest.mark.parametrize("target", ["vertex", "dataflow"])
def test_a_region_is_never_a_host_that_a_token_goes_to(write_job, google, capsys, monkeypatch, target):
    monkeypatch.setattr("requests.sessions.Session.send", lambda *_, **__: pytest.fail("a request was sent"))
    job = write_job(**{target: {"region": "evil.example#"}})
    for command in ("submit", "status", "logs", "cancel"):
        complaint = deploy(capsys, command, "--target", target, "--job", job, expect=2)
        assert complaint == f"error: {job}: {target}.region 'evil.example#': must be a region, such as europe-west4"


@pytest.mark.parametrize(
    ("changes", "bucket"),
    [
        ({"runs_dir": "gs://evil?alt=x/runs"}, "evil?alt=x"),
        ({"serving": {"dir": "gs://../serving"}}, ".."),
        ({"preprocess": {"data_dir": "gs://user@evil/data"}}, "user@evil"),
        ({"preprocess": {"source": "gs://Raw/emnist"}}, "Raw"),
    ],
)
def test_a_bucket_has_the_name_of_one(write_job, google, capsys, changes, bucket):
    for target in ("vertex", "kubernetes"):
        complaint = deploy(capsys, "submit", "--target", target, "--job", write_job(**changes), "--dry-run", expect=2)
        assert f"{bucket!r} is not a valid bucket name; give gs://bucket/…" in complaint


def test_patterns_are_found_in_sections_and_lists_and_absent_settings_are_left_alone():
    @dataclasses.dataclass(frozen=True)
    class Inner:
        labels: tuple[patterns.NodeLabel, ...] = ()
        region: patterns.Region | None = None

    @dataclasses.dataclass(frozen=True)
    class Outer:
        inner: Inner
        free: str = "any thing"

    assert not list(broken_rules(Outer(Inner(("a=b",)))))
    assert list(broken_rules(Outer(Inner(("a=b", "b"))))) == [("inner.labels", "b", "name=value")]


def test_a_refusal_is_one_line_however_long_the_text_is(write_job, capsys):
    job = write_job(vertex={"region": "a\nb" * 1000})
    complaint = deploy(capsys, "status", "--target", "vertex", "--job", job, expect=2)
    assert f"{job}: vertex.region 'a\\nba" in complaint
    assert len(complaint) < 500 + len(job)
