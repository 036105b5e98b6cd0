"""The target Kubernetes: manifests against the published schemas, the official client against a stand-in cluster."""

import copy
import re
import sys

import kubernetes_validate
import pytest
import yaml

from deploy import job as jobs
from tests.support.commands import deploy

OLDEST_CLUSTER = "1.31"  # the first in which podFailurePolicy is no longer beta
EVERYTHING = {
    "num_machines": 3,
    "gpus": 2,
    "node_labels": ["cloud.google.com/gke-accelerator=nvidia-l4"],
    "spot": True,
    "service_account": "trainer",
    "credentials_secret": "key",
    "image_pull_secret": "registry",
}


def dry_run(capsys, command: str, job: str) -> list[dict]:
    return list(yaml.safe_load_all(deploy(capsys, command, "--target", "kubernetes", "--job", job, "--dry-run")))


def pod_of(manifest: dict) -> dict:
    spec = manifest["spec"]
    return (spec["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else spec)["template"]["spec"]


@pytest.mark.parametrize("settings", [{}, {"gpus": 1}, EVERYTHING])
@pytest.mark.parametrize("command", ["submit", "schedule"])
@pytest.mark.parametrize("version", [OLDEST_CLUSTER, kubernetes_validate.latest_version()])
def test_manifests_are_valid_by_the_published_schemas(write_job, capsys, settings, command, version):
    manifests = dry_run(capsys, command, write_job(kubernetes=settings))
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)
    broken = copy.deepcopy(manifests[-1])
    pod_of(broken)["containers"][0]["imagee"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_one_machine_is_a_job_of_one_pod(write_job, capsys):
    (job,) = dry_run(capsys, "submit", write_job())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert (job["metadata"]["name"], job["metadata"]["namespace"]) == ("letters", "ours")
    assert "completionMode" not in job["spec"]
    assert "subdomain" not in pod_of(job)


def test_several_machines_are_an_indexed_job_behind_a_headless_service(write_job, capsys):
    service, job = dry_run(capsys, "submit", write_job(kubernetes={"num_machines": 3}))
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}  # the chief is done last
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    # The pods' names: <Job>-<index>.<Service>, which is what `subdomain` and the Service's name make them.
    assert pod_of(job)["subdomain"] == service["metadata"]["name"] == "letters-workers"
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    environment = {variable["name"]: variable for variable in pod_of(job)["containers"][0]["env"]}
    workers = environment["JOB_WORKERS"]["value"].split(",")
    assert workers == [f"$(JOB_NAME)-{index}.letters-workers:2222" for index in range(3)]
    assert list(environment).index("JOB_NAME") < list(environment).index("JOB_WORKERS")  # or it is not filled in


def test_only_bad_input_ends_the_job_and_only_where_the_node_is_not_going_away(write_job, capsys):
    (job,) = dry_run(capsys, "submit", write_job(kubernetes={"max_retries": 4, "timeout_hours": 2}))
    assert pod_of(job)["restartPolicy"] == "Never"  # podFailurePolicy needs it
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (4, 7200)
    rules = job["spec"]["podFailurePolicy"]["rules"]

    def action(exit_code: int, conditions: tuple[str, ...] = ()) -> str:
        """As Kubernetes finds it: the first rule that holds; otherwise the failure counts."""
        for rule in rules:
            if exit_code in rule.get("onExitCodes", {}).get("values", []):
                return rule["action"]
            if any(wanted["type"] in conditions for wanted in rule.get("onPodConditions", [])):
                return rule["action"]
        return "Count"

    actions = {code: action(code) for code in (1, 2, 75, 143, 137)}
    assert actions == {1: "Count", 2: "FailJob", 75: "Ignore", 143: "Ignore", 137: "Count"}
    assert {action(code, ("DisruptionTarget",)) for code in actions} == {"Ignore"}


def test_pods_may_do_no_more_than_they_must(write_job, capsys):
    (job,) = dry_run(capsys, "submit", write_job(kubernetes={"cpus": 2.5, "memory_gb": 8, "scratch_gb": 20}))
    pod = pod_of(job)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    wanted = {"cpu": "2500m", "memory": "8000M", "ephemeral-storage": "20000M"}
    assert container["resources"] == {"requests": wanted, "limits": wanted}
    places = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert all("emptyDir" in volumes[places[path]] for path in ("/tmp", "/work"))
    assert {"name": "HOME", "value": "/work"} in container["env"]  # where ~/.cache is
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in container["env"]  # no GPU that it did not ask for


def test_gpus_spot_nodes_and_secrets(write_job, capsys):
    _, job = dry_run(capsys, "submit", write_job(kubernetes=EVERYTHING))
    pod = pod_of(job)
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert {"name": "EXPECTED_GPUS", "value": "2"} in container["env"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-l4",
        "cloud.google.com/gke-spot": "true",
    }
    assert {toleration["key"] for toleration in pod["tolerations"]} == {"nvidia.com/gpu", "cloud.google.com/gke-spot"}
    assert pod["serviceAccountName"] == "trainer"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert secret == {"secretName": "key", "items": [{"key": "key.json", "path": "key.json"}]}
    assert {"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": "/var/run/google/key.json"} in container["env"]
    assert {"name": "shm", "emptyDir": {"medium": "Memory"}} in pod["volumes"]  # NCCL between GPUs


def filled_in(text: str) -> str:
    """An argument as a container gets it: Kubernetes fills in its variables (third_party/forked/golang/expansion)."""
    variables = {"HOME": "/work"}
    return re.sub(r"\$\$|\$\((\w+)\)", lambda hit: variables.get(hit[1], hit[0]) if hit[1] else "$", text)


@pytest.mark.parametrize("folder", ["runs", "$(HOME)", "$$(HOME)/$HOME", "100$"])
def test_the_job_travels_whole_in_the_arguments(write_job, capsys, folder):
    path = write_job(runs_dir=f"gs://test/{folder}")
    (job,) = dry_run(capsys, "submit", path)
    (container,) = pod_of(job)["containers"]
    assert container["command"] == ["python", "-m", "deploy"]
    command, flag, description = map(filled_in, container["args"])
    assert (command, flag) == ("run", "--job")
    there, here = jobs.read(description), jobs.read(path)
    assert (there.preprocess, there.train, there.serving) == (here.preprocess, here.train, here.serving)
    assert there.runs_dir == here.runs_dir == f"gs://test/{folder}"


def test_a_schedule_is_a_cron_job_that_never_runs_twice_at_a_time(write_job, capsys):
    path = write_job(schedule={"cron": "30 2 * * *", "time_zone": "Europe/Zurich"}, kubernetes=EVERYTHING)
    service, job = dry_run(capsys, "submit", path)
    same_service, cron_job = dry_run(capsys, "schedule", path)
    assert same_service == service
    spec = cron_job["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("30 2 * * *", "Europe/Zurich")
    assert spec["concurrencyPolicy"] == "Forbid"
    scheduled = spec["jobTemplate"]["spec"]
    assert scheduled["template"]["spec"]["containers"][0]["args"].pop() == "--if-changed"
    assert scheduled == job["spec"]


def test_what_is_sent_is_what_the_dry_run_shows(write_job, cluster, capsys):
    job = write_job(kubernetes=EVERYTHING)
    for command in ("submit", "schedule"):
        cluster.requests.clear()
        shown = dry_run(capsys, command, job)
        assert not cluster.requests
        assert deploy(capsys, command, "--target", "kubernetes", "--job", job) == "letters"
        sent = [copy.deepcopy(request.body) for request in cluster.requests if request.body]
        for body in sent:  # what the stand-in has added
            del body["status"], body["metadata"]["creationTimestamp"]
        assert sent == shown


def test_a_job_is_seen_read_and_stopped(write_job, cluster, capsys):
    flags = ("--target", "kubernetes", "--job", write_job())
    assert deploy(capsys, "status", *flags) == "letters: no such Job in namespace ours"
    deploy(capsys, "submit", *flags)
    assert deploy(capsys, "status", *flags) == "Running  2026-01-05 03:01 letters"
    for index in range(2):
        cluster.add_pod(f"letters-{index}-abcde", "letters", index, f"epoch 1 as seen by {index}\n")
    cluster.add_pod("letters-1-fghij", "letters", 1, "", phase="Pending")
    assert deploy(capsys, "logs", *flags).splitlines() == [
        *("── letters-0-abcde", "epoch 1 as seen by 0"),
        *("── letters-1-abcde", "epoch 1 as seen by 1"),
    ]
    assert deploy(capsys, "cancel", *flags) == "letters"
    assert not [kind for kind, _ in cluster.objects if kind == "jobs"]
    assert deploy(capsys, "cancel", *flags, expect=2) == "error: letters: is not running in namespace ours"


def test_logs_of_the_chief_are_followed_until_the_job_is_over(write_job, cluster, capsys, monkeypatch):
    flags = ("--target", "kubernetes", "--job", write_job(kubernetes={"num_machines": 2}))
    deploy(capsys, "submit", *flags)
    cluster.add_pod("letters-0-abcde", "letters", 0, "", phase="Pending")
    cluster.add_pod("letters-1-abcde", "letters", 1, "of another\n")
    looks = iter(range(10))

    def wait(_: float) -> None:
        match next(looks):
            case 0:
                cluster.add_pod("letters-0-abcde", "letters", 0, "epoch 1\n")
            case 1:  # its node was taken away
                cluster.add_pod("letters-0-fghij", "letters", 0, "resuming from step 60\n")
                cluster.end("letters", "Complete")

    monkeypatch.setattr("deploy.targets.kubernetes.time.sleep", wait)
    lines = deploy(capsys, "logs", *flags, "--follow").splitlines()
    assert lines == ["── letters-0-abcde", "epoch 1", "── letters-0-fghij", "resuming from step 60"]


def test_what_went_wrong_is_in_the_status(write_job, cluster, capsys):
    flags = ("--target", "kubernetes", "--job", write_job())
    deploy(capsys, "submit", *flags)
    cluster.end("letters", "Failed", "Container job for pod letters-abc failed with exit code 2")
    line = "Failed   2026-01-05 03:01 letters Container job for pod letters-abc failed with exit code 2"
    assert deploy(capsys, "status", *flags) == line


def test_a_job_of_the_schedule_is_seen_and_keeps_another_from_starting(write_job, cluster, capsys):
    flags = ("--target", "kubernetes", "--job", write_job())
    deploy(capsys, "schedule", *flags)
    template = cluster.objects["cronjobs", "letters"]["spec"]["jobTemplate"]
    metadata = {"name": "letters-29400000", "creationTimestamp": cluster.now(), **template["metadata"]}
    cluster.objects["jobs", "letters-29400000"] = {**template, "metadata": metadata, "status": {"active": 1}}
    assert deploy(capsys, "status", *flags).startswith("Running")
    complaint = deploy(capsys, "submit", *flags, expect=2)
    assert complaint == "error: letters-29400000: is running already; wait for it, or cancel it"
    assert deploy(capsys, "cancel", *flags) == "letters-29400000"


def test_a_job_that_is_over_makes_room_for_the_next(write_job, cluster, capsys):
    flags = ("--target", "kubernetes", "--job", write_job())
    deploy(capsys, "submit", *flags)
    complaint = deploy(capsys, "submit", *flags, expect=2)
    assert complaint == "error: letters: is running already; wait for it, or cancel it"
    cluster.end("letters", "Complete")
    assert deploy(capsys, "submit", *flags) == "letters"
    assert deploy(capsys, "status", *flags).startswith("Running")


OF_OTHERS = {
    "of a release of Helm's": {"app.kubernetes.io/instance": "letters", "app.kubernetes.io/name": "database"},
    "without labels": {},
}


@pytest.mark.parametrize("labels", OF_OTHERS.values(), ids=OF_OTHERS)
def test_a_job_of_others_is_neither_seen_nor_cancelled_nor_in_the_way(write_job, cluster, capsys, labels):
    flags = ("--target", "kubernetes", "--job", write_job())
    other = {"metadata": {"name": "letters-migration", "labels": labels, "creationTimestamp": cluster.now()}}
    cluster.objects["jobs", "letters-migration"] = other | {"status": {"active": 1}}
    assert deploy(capsys, "cancel", *flags, expect=2) == "error: letters: is not running in namespace ours"
    assert deploy(capsys, "submit", *flags) == "letters"
    assert deploy(capsys, "status", *flags).count("\n") == 0
    assert deploy(capsys, "cancel", *flags) == "letters"
    assert set(cluster.objects) == {("jobs", "letters-migration")}


@pytest.mark.parametrize("labels", OF_OTHERS.values(), ids=OF_OTHERS)
@pytest.mark.parametrize(("kind", "name"), [("services", "letters-workers"), ("cronjobs", "letters")])
def test_an_object_of_others_is_not_taken_over(write_job, cluster, capsys, kind, name, labels):
    flags = ("--target", "kubernetes", "--job", write_job(kubernetes={"num_machines": 2}))
    specs = {"services": {"selector": {"app": "database"}}, "cronjobs": {"schedule": "0 1 * * *", "jobTemplate": {}}}
    other = {"metadata": {"name": name, "labels": labels}, "spec": specs[kind]}
    cluster.objects[kind, name] = copy.deepcopy(other)
    for command in ("schedule", "unschedule") if kind == "cronjobs" else ("submit", "schedule"):
        complaint = deploy(capsys, command, *flags, expect=2)
        assert f"{name} in namespace ours: is not this job's: it lacks the labels app.kubernetes.io/" in complaint
        assert cluster.objects == {(kind, name): other}, "nor is anything else made"


def test_the_service_of_whatever_serves_the_model_is_left_alone(write_job, cluster, capsys):
    flags = ("--target", "kubernetes", "--job", write_job(kubernetes={"num_machines": 2}))
    served = {"metadata": {"name": "letters", "labels": {}}, "spec": {"selector": {"app": "tensorflow-serving"}}}
    cluster.objects["services", "letters"] = copy.deepcopy(served)
    for _ in range(2):  # the second time, our own is there already
        deploy(capsys, "schedule", *flags)
    assert cluster.objects["services", "letters"] == served
    ours = {"app.kubernetes.io/name": "handwriting-trainer", "app.kubernetes.io/instance": "letters"}
    assert cluster.objects["services", "letters-workers"]["spec"]["selector"] == ours


def test_a_schedule_is_changed_and_removed(write_job, cluster, capsys):
    flags = ("--target", "kubernetes", "--job", write_job())
    deploy(capsys, "schedule", *flags)
    deploy(capsys, "schedule", *flags, "--cron", "0 5 * * *")
    assert cluster.objects["cronjobs", "letters"]["spec"]["schedule"] == "0 5 * * *"
    assert deploy(capsys, "unschedule", *flags) == "letters"
    assert not cluster.objects
    complaint = deploy(capsys, "unschedule", *flags, expect=2)
    assert complaint == "error: letters: has no schedule in namespace ours"


@pytest.mark.parametrize(
    ("status", "message", "code", "expected"),
    [
        (401, "Unauthorized", 2, "the credentials of the kubeconfig are rejected (Unauthorized)"),
        (403, 'User "x" cannot create resource "jobs"', 2, "grant the role edit in the namespace ours"),
        (403, "exceeded quota: compute, limited: 8", 1, "a quota of the namespace ours is used up (exceeded quota: "),
        (404, 'namespaces "ours" not found', 2, 'refused (namespaces "ours" not found)'),
        (409, "object is being deleted", 2, "refused (object is being deleted)"),
        (422, "Job is invalid: spec.template", 2, "refused (Job is invalid: spec.template)"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_is_lacking(write_job, cluster, capsys, status, message, code, expected):
    cluster.refuse(status, message, "POST")
    complaint = deploy(capsys, "submit", "--target", "kubernetes", "--job", write_job(), expect=code)
    assert complaint.startswith("error: kubernetes: ")
    assert expected in complaint


@pytest.mark.parametrize("status", [429, 503])
def test_what_passes_is_tried_again(write_job, cluster, capsys, status):
    cluster.refuse(status, "not now", times=2)
    assert deploy(capsys, "submit", "--target", "kubernetes", "--job", write_job()) == "letters"


def test_what_does_not_pass_is_told_in_the_end(write_job, cluster, capsys, monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda _: 0)
    cluster.refuse(429, "too many requests")
    complaint = deploy(capsys, "submit", "--target", "kubernetes", "--job", write_job(), expect=75)
    assert complaint == "error: kubernetes: the cluster has too many requests at present (too many requests)"


def test_a_cluster_that_is_not_there_is_told(write_job, cluster, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda _: 0)
    job = write_job()
    cluster.__exit__()
    complaint = deploy(capsys, "submit", "--target", "kubernetes", "--job", job, expect=75)
    assert complaint.startswith(f"error: kubernetes: {cluster.address} cannot be reached")
    complaint = deploy(
        capsys, "submit", "--target", "kubernetes", "--job", write_job(kubernetes={"context": "moon"}), expect=2
    )
    assert complaint.startswith("error: kubernetes: no cluster is configured here")
    assert "moon" in complaint
    (tmp_path / "kubeconfig").unlink()
    complaint = deploy(capsys, "submit", "--target", "kubernetes", "--job", write_job(), expect=2)
    assert "set KUBECONFIG, or kubernetes.context" in complaint


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kubernetes": {"image": None}}, "kubernetes.image: is missing in the job description"),
        ({"kubernetes": {"num_machines": 0}}, "kubernetes.num_machines 0: must be at least 1"),
        ({"kubernetes": {"gpus": -1}}, "kubernetes.gpus -1: must be at least 0"),
        ({"kubernetes": {"node_labels": ["gpu"]}}, "kubernetes.node_labels 'gpu': must be name=value"),
        ({"preprocess": {"source": "files"}}, "preprocess.source files: other machines cannot reach it"),
        ({"runs_dir": "runs"}, "runs_dir runs: other machines cannot reach it"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(write_job, cluster, capsys, changes, problem):
    job = write_job(**changes)
    for flags in ((), ("--dry-run",)):
        assert problem in deploy(capsys, "submit", "--target", "kubernetes", "--job", job, *flags, expect=2)
    assert not cluster.requests


def test_without_the_official_client_one_is_told_what_to_install(write_job, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    flags = ("--target", "kubernetes", "--job", write_job())
    assert deploy(capsys, "submit", *flags, "--dry-run")
    complaint = deploy(capsys, "submit", *flags, expect=2)
    assert complaint == "error: --target kubernetes: needs module kubernetes; install this package's extra deploy"
