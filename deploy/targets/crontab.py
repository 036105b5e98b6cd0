"""A job's line in the crontab of this machine's user."""

import os
import re
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from common.errors import FailedError, InputError
from deploy.job import Job

_LOCAL_TIME = Path("/etc/localtime")
_LONGEST_LINE = 998  # of Debian's cron
_CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"
_DAYS_COMPARED = 730


def line(job: Job, command: list[str], log: Path) -> str:
    """The crontab line that runs `command` in the current folder on the job's schedule; it ends with a job marker.

    Raises `InputError` for a time zone other than this machine's, the only one that Debian's cron knows.
    """
    if not _is_cron_time(zone := job.schedule.time_zone):
        raise InputError(
            f"schedule.time_zone {zone}: cron uses this machine's time zone, which differs; give that one as "
            "--time-zone, and the times in it as --cron"
        )
    text = f"cd {shlex.quote(str(Path.cwd()))} && "
    if credentials := os.environ.get(_CREDENTIALS):  # cron does not inherit this shell's environment
        text += f"{_CREDENTIALS}={shlex.quote(str(Path(credentials).absolute()))} "
    text += f"{shlex.join(command)} >> {shlex.quote(str(log))} 2>&1"
    text = f"{job.schedule.cron} {text.replace('%', chr(92) + '%')} {_mark(job)}"  # cron ends a command at a bare %
    if len(text) > _LONGEST_LINE or "\n" in text:
        raise InputError(f"the crontab line, {len(text)} characters, is too long or has a line break: {text}")
    return text


def replace(job: Job, new: str | None) -> None:
    """Replaces the job's line by `new`, or removes it if None; no other line is touched.

    Raises `InputError` without the program `crontab`, or if there is no line to remove.
    """
    lines = _read()
    others = [text for text in lines if not text.endswith(_mark(job))]
    if new is None and len(others) == len(lines):
        raise InputError(f"{job.name}: is not in the crontab")
    _crontab(["-"], "".join(f"{text}\n" for text in [*others, *([new] if new else [])]))


def _mark(job: Job) -> str:
    folder = job.folder.absolute() if isinstance(job.folder, Path) else job.folder
    return f"# handwriting-trainer: {folder}"


def _read() -> list[str]:
    done = _crontab(["-l"], None)
    return done.splitlines()


def _crontab(arguments: list[str], text: str | None) -> str:
    try:
        done = subprocess.run(["crontab", *arguments], input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InputError("crontab: no such program on this machine; install cron, or use another target") from None
    if done.returncode and not re.match("no crontab for", done.stderr):
        raise FailedError(f"crontab {' '.join(arguments)}: {' '.join(done.stderr.split())}")
    return done.stdout


def _is_cron_time(time_zone: str) -> bool:
    """Whether a time zone agrees with this machine's for the next two years."""
    own: ZoneInfo | UTC = UTC
    if _LOCAL_TIME.exists():
        with _LOCAL_TIME.open("rb") as file:
            own = ZoneInfo.from_file(file)
    moments = [datetime.now(UTC) + timedelta(days=day) for day in range(_DAYS_COMPARED)]
    zone = ZoneInfo(time_zone)
    return all(moment.astimezone(zone).utcoffset() == moment.astimezone(own).utcoffset() for moment in moments)
