"""Marks on the type of a setting: the values it takes, its earlier name, whether it decides results.

A setting carries them in its type, as in `epochs: Annotated[int | None, AT_LEAST_1]`, so that its rules stand where it
is declared, and nothing lists settings by name.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclasses.dataclass(frozen=True)
class Rule:
    """The values a setting takes: those for which `holds` is true; `text` says it in words, behind "must be"."""

    text: str
    holds: Callable[[Any], bool]


AT_LEAST_1 = Rule("at least 1", lambda value: value >= 1)
NOT_NEGATIVE = Rule("a number from 0", lambda value: 0 <= value < math.inf)
POSITIVE = Rule("a number above 0", lambda value: 0 < value < math.inf)
BELOW_1 = Rule("at least 0 and below 1", lambda value: 0 <= value < 1)
FRACTION = Rule("from 0 to 1", lambda value: 0 <= value <= 1)
SEED = Rule("at least 0 and below 2**32", lambda value: 0 <= value < 2**32)


@dataclasses.dataclass(frozen=True)
class Formerly:
    """The name that a setting had in an earlier version; it is still read."""

    name: str


@dataclasses.dataclass(frozen=True)
class Operational:
    """The setting decides where and how the work is done, not what comes out: it is no part of a run's identity."""


OPERATIONAL = Operational()


@cache
def marks_of(config_type: type) -> dict[str, tuple[Any, ...]]:
    """The marks of each field of a dataclass, by the field's name."""
    hints = get_type_hints(config_type, include_extras=True)
    return {field.name: tuple(_marks_in(hints[field.name])) for field in dataclasses.fields(config_type)}


def _marks_in(hint: Any) -> Iterator[Any]:
    """The marks in a type such as `Annotated[int, POSITIVE]`, `Region | None` or `tuple[NodeLabel, ...]`."""
    inner, *own = get_args(hint) if get_origin(hint) is Annotated else (None,)
    yield from own
    for part in (inner,) if inner is not None else get_args(hint):
        yield from _marks_in(part)


def broken_rules(config: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """The settings of a dataclass, and of those in it, whose value breaks a rule: path, value and the rule's text.

    None breaks no rule; of a tuple each item has to hold.
    """
    for name, marks in marks_of(type(config)).items():
        value, path = getattr(config, name), (*prefix, name)
        if dataclasses.is_dataclass(value):
            yield from broken_rules(value, path)
            continue
        items = value if isinstance(value, tuple) else () if value is None else (value,)
        for rule in (mark for mark in marks if isinstance(mark, Rule)):
            for item in items:
                if not rule.holds(item):
                    yield path, item, rule.text
