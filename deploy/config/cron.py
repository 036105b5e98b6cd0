"""Cron expressions, normalised so that cron, Kubernetes and Cloud Scheduler all read them alike.

The three accept different syntax: Kubernetes (https://pkg.go.dev/github.com/robfig/cron/v3) knows no day 7, cron no
names in lists, Cloud Scheduler no @weekly. Such expressions are rewritten as numbers. The three also read some syntax
differently: `5/15` is one minute to cron and four to Kubernetes; with both day fields set, a `*/2` in one of them means
"and" to cron and "or" to Kubernetes. Such expressions are refused. So are steps that match a single time, such as
`*/90`, which nobody means.
"""

import re
from dataclasses import dataclass

from common.errors import InputError, shown


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()
    """Names of the numbers from `lowest` up."""


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAY_OF_MONTH = _Field("day of the month", 1, 31)
_DAY_OF_WEEK = _Field("day of the week", 0, 6, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
_FIELDS = (_Field("minute", 0, 59), _Field("hour", 0, 23), _DAY_OF_MONTH, _Field("month", 1, 12, _MONTHS), _DAY_OF_WEEK)
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9][0-9]*))?")


def normalize(text: str) -> str:
    """Returns the expression as five fields of numbers, with Sunday as 0.

    Raises `InputError`, naming the field, if it is invalid or the three schedulers would read it differently.
    """
    parts = _SHORT.get(text.strip().lower(), text).split()
    if len(parts) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        raise InputError(
            f"schedule.cron {shown(text)}: must have five fields: {names}; or be one of {', '.join(_SHORT)}"
        )
    try:
        minute, hour, day, month, weekday = map(_normalize_field, _FIELDS, parts)
    except ValueError as error:
        raise InputError(f"schedule.cron {shown(text)}: {error}") from None
    if "*/" in day + weekday and "*" not in (day, weekday):
        raise InputError(
            f"schedule.cron {shown(text)}: with steps in one day field and the other set, cron runs on days that match "
            "both, Kubernetes on days that match either; list the days, as in 1,3,5"
        )
    return f"{minute} {hour} {day} {month} {weekday}"


def _normalize_field(field: _Field, text: str) -> str:
    parts = [_normalize_part(field, part) for part in text.split(",")]
    if "*" in parts and len(parts) > 1:
        raise ValueError(f"{shown(text)}: * already matches everything; leave the rest out")
    return ",".join(dict.fromkeys(",".join(parts).split(",")))  # a part may have been expanded into several


def _normalize_part(field: _Field, text: str) -> str:
    match = _PART.fullmatch(text)
    if not match:
        raise ValueError(_not_a(field, text))
    first, last, step = match["first"], match["last"], int(match["step"] or 1)
    low = _number(field, first, text) if first else field.lowest
    high = _number(field, last, text) if last else field.highest
    if last and field is _DAY_OF_WEEK and high == 0 < low:
        high = 7
    if first and not last:
        low = low % 7 if field is _DAY_OF_WEEK else low
        if match["step"]:
            raise ValueError(f"{shown(text)}: cron and Kubernetes read this differently; write {low}-{high}/{step}")
        return str(low)
    if low > high:
        raise ValueError(_not_a(field, text))
    if step > max(high - low, 1):
        if step == high - low + 1 and field.name in ("minute", "hour"):  # */60 and */24, which are common
            return str(low)
        raise ValueError(f"{shown(text)}: matches only {field.name} {low}; write {low}, or a smaller step")
    if field is _DAY_OF_WEEK and high == 7:  # Kubernetes has no day 7, and no range beyond Saturday
        return ",".join(map(str, sorted({day % 7 for day in range(low, high + 1, step)})))
    return (f"{low}-{high}" if first else "*") + (f"/{step}" if step > 1 else "")


def _number(field: _Field, text: str, part: str) -> int:
    if text.upper() in field.names:
        return field.lowest + field.names.index(text.upper())
    highest = 7 if field is _DAY_OF_WEEK else field.highest  # 7 is Sunday, too
    if not text.isdecimal() or not field.lowest <= int(text) <= highest:
        raise ValueError(_not_a(field, part))
    return int(text)


def _not_a(field: _Field, text: str) -> str:
    names = f", a name from {field.names[0]} to {field.names[-1]}" if field.names else ""
    numbers = f"a number from {field.lowest} to {field.highest}"
    return f"{shown(text)} is not a valid {field.name}; give *, {numbers}{names}, or a form such as 1-5, */2 or 1,3"
