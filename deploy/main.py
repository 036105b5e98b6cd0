"""The command `python -m deploy`: parses the flags of a sub-command, then calls one function."""

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import resources
from types import ModuleType
from typing import get_args

from common import cli, flags, storage
from common.credentials import is_on_managed_machine
from common.errors import BusyError, InputError, TemporaryError
from common.storage import Versioned, to_path
from deploy import job as jobs
from deploy import serving as servings
from deploy.config.commands import (
    CancelConfig,
    HistoryConfig,
    InitConfig,
    LogsConfig,
    PromoteConfig,
    RollbackConfig,
    RunConfig,
    ScheduleCommandConfig,
    StatusConfig,
    SubmitConfig,
    UnscheduleConfig,
)
from deploy.config.settings import Target, normalize_schedule
from deploy.job import Job

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    commands = {
        "init": _init,
        "run": _run,
        "submit": _submit,
        "status": _status,
        "logs": _logs,
        "cancel": _cancel,
        "schedule": _schedule,
        "unschedule": _unschedule,
        "promote": _promote,
        "rollback": _rollback,
        "history": _history,
    }
    return cli.run_one_of(commands, "python -m deploy", list(sys.argv[1:] if arguments is None else arguments))


def _init(arguments: list[str]) -> str:
    """Write a commented job description."""
    config = flags.parse(InitConfig, arguments, "python -m deploy init")
    path = to_path(config.job)
    template = resources.files("deploy").joinpath("job_template.yaml").read_bytes()
    if not storage.compare_and_swap(path, template, Versioned(None)):
        raise InputError(f"--job {config.job}: already exists; give another name, or remove it")
    _log.info("edit it as needed, then run: python -m deploy run --job %s", config.job)
    return config.job


def _run(arguments: list[str]) -> str:
    """Run a retraining in this process: preprocess, train, evaluate, gate, promote."""
    config = flags.parse(RunConfig, arguments, "python -m deploy run")
    job = _with_policy(jobs.read(config.job), config.policy)
    from deploy import retraining

    try:
        return retraining.run(job, config.if_changed)
    except BusyError as error:
        if config.if_changed or is_on_managed_machine():  # unattended, so ask for a retry
            raise TemporaryError(str(error)) from None
        raise


def _submit(arguments: list[str]) -> str | int:
    """Start a retraining on a target; --dry-run prints what would be sent."""
    config = flags.parse(SubmitConfig, arguments, "python -m deploy submit")
    job = _with_policy(jobs.read(config.job), config.policy)
    return _of_target(job, config.target, "describe" if config.dry_run else "submit")(job, config)


def _status(arguments: list[str]) -> str:
    """Show the progress of a retraining, or how the last one ended."""
    config = flags.parse(StatusConfig, arguments, "python -m deploy status")
    job = jobs.read(config.job)
    return _of_target(job, config.target, "status")(job)


def _logs(arguments: list[str]) -> None:
    """Show the log of a retraining; --follow continues until it ends."""
    config = flags.parse(LogsConfig, arguments, "python -m deploy logs")
    job = jobs.read(config.job)
    _of_target(job, config.target, "logs")(job, config.follow)


def _cancel(arguments: list[str]) -> str:
    """Stop a retraining; starting it again resumes it."""
    config = flags.parse(CancelConfig, arguments, "python -m deploy cancel")
    job = jobs.read(config.job)
    return _of_target(job, config.target, "cancel")(job)


def _schedule(arguments: list[str]) -> str:
    """Have a retraining started on a schedule; --dry-run prints what would be installed."""
    config = flags.parse(ScheduleCommandConfig, arguments, "python -m deploy schedule")
    job = jobs.read(config.job)
    changes = {"cron": config.cron, "time_zone": config.time_zone}
    given = {name: value for name, value in changes.items() if value is not None}
    job = replace(job, schedule=normalize_schedule(replace(job.schedule, **given)))
    describe = _of_target(job, config.target, "describe_schedule")
    if config.dry_run:
        return describe(job)
    _log.info("%s", describe(job))
    return _of_target(job, config.target, "schedule")(job)


def _unschedule(arguments: list[str]) -> str:
    """Remove the schedule of a retraining."""
    config = flags.parse(UnscheduleConfig, arguments, "python -m deploy unschedule")
    job = jobs.read(config.job)
    return _of_target(job, config.target, "unschedule")(job)


def _promote(arguments: list[str]) -> str:
    """Send the model of a finished run through the gate, and serve it if it passes."""
    config = flags.parse(PromoteConfig, arguments, "python -m deploy promote")
    job = _with_policy(jobs.read(config.job), config.policy)
    from deploy import retraining

    return retraining.promote(job, config.run)


def _rollback(arguments: list[str]) -> str:
    """Serve an earlier version again."""
    config = flags.parse(RollbackConfig, arguments, "python -m deploy rollback")
    job = jobs.read(config.job)
    version = servings.rollback(job.serving_folder, config.to)
    return f"{job.name}: version {version} is in use"


def _history(arguments: list[str]) -> str:
    """Show which versions were served when and why, and which models were refused."""
    config = flags.parse(HistoryConfig, arguments, "python -m deploy history")
    job = jobs.read(config.job)
    from deploy import history

    return history.table(job)


def _with_policy(job: Job, policy: str | None) -> Job:
    return replace(job, gate=replace(job.gate, policy=policy)) if policy else job


def _of_target(job: Job, target: str | None, function: str) -> Callable:
    """Returns a function of the target's module by its name. Raises `InputError` if the target has none."""
    target = target or job.target
    implementation = getattr(_module(target), function, None)
    if implementation is None:
        others = [name for name in get_args(Target) if hasattr(_module(name), function)]
        command = {"describe": "submit", "describe_schedule": "schedule"}.get(function, function)
        raise InputError(f"--target {target}: does not support {command}; supported by: {', '.join(others)}")

    def call(*arguments: object) -> str | int | None:
        try:
            return implementation(*arguments)
        except ModuleNotFoundError as error:
            extras = "extras deploy and preprocess" if target == "dataflow" else "extra deploy"
            raise InputError(f"--target {target}: needs module {error.name}; install this package's {extras}") from None

    return call


def _module(target: str) -> ModuleType:
    return importlib.import_module(f"deploy.targets.{target}")
