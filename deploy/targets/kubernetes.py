"""The target Kubernetes: the job as a Job of one pod or an Indexed Job of several; for the schedule, a CronJob.

https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from common.cli import show
from common.errors import CommandError, FailedError, InputError, TemporaryError
from deploy.config.commands import SubmitConfig
from deploy.config.settings import KubernetesConfig
from deploy.job import Job
from deploy.targets import remote
from trainer.distributed.gpus import EXPECTED_GPUS

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, V1Job, V1Pod

_NAME, _INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"
_COMMIT = "handwriting-trainer/commit"
_MANAGER = "handwriting-trainer"
_CONTAINER = "job"
_PORT = 2222
_USER = 1000
_HOME, _CREDENTIALS = "/work", "/var/run/google"
_SPOT = "cloud.google.com/gke-spot"
_KEPT_SECONDS = 7 * 24 * 3600
_LATE_START_SECONDS = 3600
_SECONDS_TO_GO = 120
_SECONDS_BETWEEN_LOOKS = 2
_RETRIES, _RETRIED = 5, (429, 500, 502, 503, 504)

Manifest = dict[str, Any]

_log = logging.getLogger(__name__)


def describe(job: Job, config: SubmitConfig) -> str:
    """The manifests that `submit` sends, as YAML for `kubectl apply -f -`."""
    return _to_yaml([*_services(job), _job(job, config.if_changed)])


def submit(job: Job, config: SubmitConfig) -> str:
    """Starts the job unless it is already running; returns the name of its Job."""
    manifest = _job(job, config.if_changed)
    with _cluster(job) as api:
        from kubernetes import client

        batch, namespace = client.BatchV1Api(api), job.kubernetes.namespace
        earlier = _jobs(job, api)
        for k8s_job in earlier:
            if not _is_over(k8s_job):
                raise InputError(f"{k8s_job.metadata.name}: is running already; wait for it, or cancel it")
        _apply_services(job, api)
        if any(k8s_job.metadata.name == job.name for k8s_job in earlier):
            _log.info("removing the finished Job %s", job.name)
            batch.delete_namespaced_job(job.name, namespace, propagation_policy="Foreground")
            _wait_until_gone(job, api)
        return batch.create_namespaced_job(namespace, manifest).metadata.name


def status(job: Job) -> str:
    """One line for each Job in the cluster, newest first: state, start, name, and the error message."""
    with _cluster(job) as api:
        lines = [_describe(k8s_job) for k8s_job in _jobs(job, api)]
    return "\n".join(lines) or f"{job.name}: no such Job in namespace {job.kubernetes.namespace}"


def logs(job: Job, follow: bool) -> None:
    """Prints the logs of the newest Job's pods; with `follow`, only those of the chief, until the Job is over."""
    seen: set[str] = set()
    with _cluster(job) as api:
        while True:
            jobs = _jobs(job, api)
            if not jobs:
                where = job.kubernetes.namespace
                raise InputError(f"{job.name}: no such Job in namespace {where}, so there are no logs")
            was_over = _is_over(jobs[0])  # checked before reading, so that no last pod is missed
            for pod in _pods(job, api, jobs[0], only_chief=follow):
                if pod.status.phase != "Pending" and pod.metadata.name not in seen:
                    seen.add(pod.metadata.name)
                    _print_log(job, api, pod.metadata.name, follow)
            if was_over or not follow:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _pods(job: Job, api: "ApiClient", of: "V1Job", only_chief: bool) -> "list[V1Pod]":
    """The pods of a Job in order of creation; one that replaces another has its own name."""
    from kubernetes import client

    selector = f"batch.kubernetes.io/job-name={of.metadata.name}"
    if only_chief and job.kubernetes.num_machines > 1:
        selector += ",batch.kubernetes.io/job-completion-index=0"
    pods = client.CoreV1Api(api).list_namespaced_pod(job.kubernetes.namespace, label_selector=selector).items
    return sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name))


def _print_log(job: Job, api: "ApiClient", pod: str, follow: bool) -> None:
    from kubernetes import client

    show(f"── {pod}")
    read = client.CoreV1Api(api).read_namespaced_pod_log
    for line in read(pod, job.kubernetes.namespace, container=_CONTAINER, follow=follow, _preload_content=False):
        show(line.decode(errors="replace"), end="")


def cancel(job: Job) -> str:
    """Stops the job's running Jobs; returns their names."""
    from kubernetes import client

    with _cluster(job) as api:
        running = [k8s_job.metadata.name for k8s_job in _jobs(job, api) if not _is_over(k8s_job)]
        if not running:
            raise InputError(f"{job.name}: is not running in namespace {job.kubernetes.namespace}")
        for name in running:
            client.BatchV1Api(api).delete_namespaced_job(
                name, job.kubernetes.namespace, propagation_policy="Foreground"
            )
    return "\n".join(running)


def describe_schedule(job: Job) -> str:
    """The manifests that `schedule` sends, as YAML for `kubectl apply -f -`."""
    return _to_yaml([*_services(job), _cron_job(job)])


def schedule(job: Job) -> str:
    """Creates or updates the CronJob that starts the job on its schedule; returns the CronJob's name."""
    from kubernetes import client

    manifest = _cron_job(job)
    with _cluster(job) as api:
        batch = client.BatchV1Api(api)
        _check_owner(job, "CronJob", job.name, batch.list_namespaced_cron_job)  # before a Service is created
        _apply_services(job, api)
        return _apply(job, batch.list_namespaced_cron_job, batch.patch_namespaced_cron_job, manifest).metadata.name


def unschedule(job: Job) -> str:
    """Removes the CronJob and returns its name. A running Job continues."""
    from kubernetes import client

    with _cluster(job) as api:
        batch, namespace = client.BatchV1Api(api), job.kubernetes.namespace
        if not _check_owner(job, "CronJob", job.name, batch.list_namespaced_cron_job):
            raise InputError(f"{job.name}: has no schedule in namespace {namespace}")
        batch.delete_namespaced_cron_job(job.name, namespace, propagation_policy="Orphan")
    return job.name


def _job(job: Job, if_changed: bool) -> Manifest:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(job), "spec": _job_spec(job, if_changed)}


def _cron_job(job: Job) -> Manifest:
    spec = {
        "schedule": job.schedule.cron,
        "timeZone": job.schedule.time_zone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": _LATE_START_SECONDS,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"metadata": {"labels": _labels(job)}, "spec": _job_spec(job, if_changed=True)},
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": _metadata(job), "spec": spec}


def _services(job: Job) -> list[Manifest]:
    """The headless Service that gives the pods of an Indexed Job host names, by which they find each other."""
    if _config(job).num_machines == 1:
        return []
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,  # pods look each other up before any is ready
        "selector": _ours(job),
        "ports": [{"name": "training", "port": _PORT}],
    }
    metadata = _metadata(job) | {"name": _service_name(job)}
    return [{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}]


def _service_name(job: Job) -> str:
    """The Service's name. The job's own name is left to a Service that serves the model."""
    return f"{job.name}-workers"


def _job_spec(job: Job, if_changed: bool) -> Manifest:
    config = _config(job)
    several = {
        "completionMode": "Indexed",
        "completions": config.num_machines,
        "parallelism": config.num_machines,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},  # the chief, which finishes last
    }
    return {
        **(several if config.num_machines > 1 else {}),
        "backoffLimit": config.max_retries,
        "activeDeadlineSeconds": round(3600 * config.timeout_hours),
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
        "podFailurePolicy": {
            "rules": [
                # The first rule that matches decides, so no exit code is final while the pod's node is taken away.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                # Exit code 2, bad input: a retry would fail the same way.
                {"action": "FailJob", "onExitCodes": {"containerName": _CONTAINER, "operator": "In", "values": [2]}},
                # Replaced by a new pod without limit: 75 is a transient failure, such as a lost peer, after which all
                # workers exit with 75 and meet again; 143 is SIGTERM, when the node is taken away.
                # Every other exit code counts as a retry.
                {
                    "action": "Ignore",
                    "onExitCodes": {"containerName": _CONTAINER, "operator": "In", "values": [75, 143]},
                },
            ]
        },
        "template": {"metadata": {"labels": _labels(job)}, "spec": _pod_spec(job, config, if_changed)},
    }


def _pod_spec(job: Job, config: KubernetesConfig, if_changed: bool) -> Manifest:
    volumes, mounts = _volumes(config)
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, config, mounts, if_changed)],
        "volumes": volumes,
    }
    optional = {
        "subdomain": _service_name(job) if config.num_machines > 1 else None,
        "nodeSelector": dict(label.split("=", 1) for label in _node_labels(config)),
        "tolerations": _tolerations(config),
        "serviceAccountName": config.service_account,
        "imagePullSecrets": [{"name": config.image_pull_secret}] if config.image_pull_secret else None,
    }
    return spec | {name: value for name, value in optional.items() if value}


def _container(job: Job, config: KubernetesConfig, mounts: list[Manifest], if_changed: bool) -> Manifest:
    resources = {
        "cpu": f"{round(1000 * config.cpus)}m",
        "memory": _quantity(config.memory_gb),
        "ephemeral-storage": _quantity(config.scratch_gb),
        **({"nvidia.com/gpu": str(config.gpus)} if config.gpus else {}),
    }
    module, *arguments = remote.command(job, if_changed)
    container = {
        "name": _CONTAINER,
        "image": config.image,
        "command": ["python", "-m", module],
        "args": [_literal(argument) for argument in arguments],
        "env": _environment(job, config),
        "resources": {"requests": resources, "limits": {**resources}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    ports = [{"name": "training", "containerPort": _PORT}]
    return container | ({"ports": ports} if config.num_machines > 1 else {})


def _volumes(config: KubernetesConfig) -> tuple[list[Manifest], list[Manifest]]:
    """A pod's volumes, and their mounts in its container."""
    volumes: list[Manifest] = [{"name": "work", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    mounts: list[Manifest] = [{"name": "work", "mountPath": _HOME}, {"name": "tmp", "mountPath": "/tmp"}]
    if config.gpus > 1:  # for NCCL to exchange gradients; by default it has 64 MB
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    if config.credentials_secret:
        items = [{"key": "key.json", "path": "key.json"}]
        volumes.append({"name": "credentials", "secret": {"secretName": config.credentials_secret, "items": items}})
        mounts.append({"name": "credentials", "mountPath": _CREDENTIALS, "readOnly": True})
    return volumes, mounts


def _node_labels(config: KubernetesConfig) -> list[str]:
    return [*config.node_labels, *([f"{_SPOT}=true"] if config.spot else [])]


def _tolerations(config: KubernetesConfig) -> list[Manifest]:
    """Tolerations of the taints that keep other pods off GPU nodes and spot nodes."""
    gpus = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    spot = {"key": _SPOT, "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    return [*([gpus] if config.gpus else []), *([spot] if config.spot else [])]


def _environment(job: Job, config: KubernetesConfig) -> list[Manifest]:
    variables: list[Manifest] = [{"name": "HOME", "value": _HOME}]
    if config.gpus:
        variables.append({"name": EXPECTED_GPUS, "value": str(config.gpus)})
    else:  # or NVIDIA's runtime would give it all GPUs of the node, which the image asks for
        variables.append({"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"})
    if config.credentials_secret:
        variables.append({"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": f"{_CREDENTIALS}/key.json"})
    if config.num_machines > 1:
        # Pod names derive from the Job's name, which differs for each Job of a CronJob. Kubernetes itself sets
        # JOB_COMPLETION_INDEX; trainer.distributed.cluster combines the three variables.
        name = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}
        service = _service_name(job)
        workers = ",".join(f"$(JOB_NAME)-{index}.{service}:{_PORT}" for index in range(config.num_machines))
        variables += [{"name": "JOB_NAME", "valueFrom": name}, {"name": "JOB_WORKERS", "value": workers}]
    return variables


def _metadata(job: Job) -> Manifest:
    return {"name": job.name, "namespace": job.kubernetes.namespace, "labels": _labels(job)}


def _labels(job: Job) -> dict[str, str]:
    return {**_ours(job), _COMMIT: remote.commit_label()}


def _ours(job: Job) -> dict[str, str]:
    """The two labels that together mark an object as this job's. Helm's releases have the instance label, too."""
    return {_NAME: _MANAGER, _INSTANCE: job.name}


def _selector(job: Job) -> str:
    return ",".join(f"{name}={value}" for name, value in _ours(job).items())


def _literal(argument: str) -> str:
    """An argument, escaped for a container: Kubernetes expands $(NAME), and turns $$ into $."""
    return argument.replace("$", "$$")


def _quantity(gigabytes: float) -> str:
    return f"{round(1000 * gigabytes)}M"


def _to_yaml(manifests: list[Manifest]) -> str:
    return yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True, width=120).rstrip()


def _config(job: Job) -> KubernetesConfig:
    """The checked section `kubernetes`. Raises `InputError` for a missing setting."""
    config = job.kubernetes
    remote.check_section("kubernetes", config, ("image",))
    return config


@contextmanager
def _cluster(job: Job) -> Iterator["ApiClient"]:
    """A client of the cluster's API; errors within the block become one-line errors."""
    import urllib3
    from kubernetes import client, config

    # POST is retried, too: if the first try did succeed, the next is answered with a conflict.
    retries = urllib3.Retry(
        _RETRIES, status_forcelist=_RETRIED, allowed_methods=None, backoff_factor=0.5, raise_on_status=False
    )
    settings = client.Configuration(retries=retries)
    context = job.kubernetes.context
    try:
        try:
            config.load_kube_config(context=context, client_configuration=settings)
        except config.ConfigException:
            if context:
                raise
            config.load_incluster_config(client_configuration=settings)
    except (config.ConfigException, OSError) as error:
        raise InputError(
            f"kubernetes: no cluster is configured here ({error}); set KUBECONFIG, or kubernetes.context"
        ) from None
    try:
        with client.ApiClient(settings) as api:
            yield api
    except client.ApiException as error:
        raise _to_user_error(job.kubernetes, error) from None
    except urllib3.exceptions.HTTPError as error:
        reason = " ".join(str(error).split())
        raise TemporaryError(f"kubernetes: {settings.host} cannot be reached ({reason})") from None


def _to_user_error(config: KubernetesConfig, error: Exception) -> CommandError:
    reason = _reason(error)
    match error.status:
        case 401:
            return InputError(f"kubernetes: the credentials of the kubeconfig are rejected ({reason})")
        case 403 if "exceeded quota" in reason:
            return FailedError(f"kubernetes: a quota of the namespace {config.namespace} is used up ({reason})")
        case 403:
            lacking = f"grant the role edit in the namespace {config.namespace}"
            return InputError(f"kubernetes: refused ({reason}); {lacking}")
        case 429:
            return TemporaryError(f"kubernetes: the cluster has too many requests at present ({reason})")
        case status if status >= 500:
            return TemporaryError(f"kubernetes: the cluster fails at present ({reason})")
    return InputError(f"kubernetes: refused ({reason})")


def _reason(error: Exception) -> str:
    """The cluster's own message."""
    try:
        return json.loads(error.body)["message"]
    except (ValueError, KeyError, TypeError):
        return f"{error.status} {error.reason}"


def _apply_services(job: Job, api: "ApiClient") -> None:
    from kubernetes import client

    core = client.CoreV1Api(api)
    for manifest in _services(job):
        _apply(job, core.list_namespaced_service, core.patch_namespaced_service, manifest)


def _apply(job: Job, list_kind: Callable, patch: Callable, manifest: Manifest) -> Any:
    """Creates or updates the object that `manifest` describes, as `kubectl apply --server-side` does.

    `list_kind` and `patch` are the client's functions for its kind. Raises `InputError` if the object is another's.
    """
    name = manifest["metadata"]["name"]
    kind = {"field_manager": _MANAGER, "_content_type": "application/apply-patch+yaml"}
    # Fields that others have changed are overwritten only in this job's own object.
    is_ours = _check_owner(job, manifest["kind"], name, list_kind)
    return patch(name, job.kubernetes.namespace, manifest, force=is_ours, **kind)


def _check_owner(job: Job, kind: str, name: str, list_kind: Callable) -> bool:
    """Whether this job has an object of that kind and name. Raises `InputError` if the object is not this job's.

    `list_kind` is the client's function for the kind.
    """
    namespace = job.kubernetes.namespace
    present = list_kind(namespace, field_selector=f"metadata.name={name}").items
    if any(not _ours(job).items() <= (item.metadata.labels or {}).items() for item in present):
        raise InputError(
            f"{kind} {name} in namespace {namespace}: is not this job's: it lacks the labels {_selector(job)}; "
            "give the job another name or namespace"
        )
    return bool(present)


def _jobs(job: Job, api: "ApiClient") -> "list[V1Job]":
    """All Jobs of this job, including those of its CronJob, newest first."""
    from kubernetes import client

    job_list = client.BatchV1Api(api).list_namespaced_job(job.kubernetes.namespace, label_selector=_selector(job))
    return sorted(job_list.items, key=lambda k8s_job: k8s_job.metadata.creation_timestamp, reverse=True)


def _conditions(k8s_job: "V1Job") -> dict[str, str]:
    """The Job's conditions that are true, with their messages."""
    return {
        condition.type: condition.message or ""
        for condition in k8s_job.status.conditions or []
        if condition.status == "True"
    }


def _is_over(k8s_job: "V1Job") -> bool:
    return bool({"Complete", "Failed"} & set(_conditions(k8s_job)))


def _describe(k8s_job: "V1Job") -> str:
    conditions = _conditions(k8s_job)
    state = next((name for name in ("Complete", "Failed") if name in conditions), "Running")
    if state == "Running" and not k8s_job.status.active:
        state = "Waiting"
    start = f"{k8s_job.metadata.creation_timestamp:%Y-%m-%d %H:%M}"
    return f"{state:8} {start} {k8s_job.metadata.name} {' '.join(conditions.get(state, '').split())}".rstrip()


def _wait_until_gone(job: Job, api: "ApiClient") -> None:
    deadline = time.monotonic() + _SECONDS_TO_GO
    while any(k8s_job.metadata.name == job.name for k8s_job in _jobs(job, api)):
        if time.monotonic() > deadline:
            raise FailedError(f"{job.name}: the finished Job was not removed within {_SECONDS_TO_GO} s; try again")
        time.sleep(0.5)
