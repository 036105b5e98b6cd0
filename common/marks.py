"""Marks on the type of a setting: the values it takes, its name as a flag, its earlier name, what it decides.

A setting carries them in its type, as in `epochs: Count | None`, so that its rules stand where it is declared, and no
list elsewhere names settings. Marks of tyro, which makes flags of settings, are used beside these.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tyro.conf import OmitArgPrefixes, arg

GROUP = OmitArgPrefixes
"""The setting is a group of settings: their flags omit the group's name, and a file may omit it."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """The values that a setting accepts: those for which `holds` is true. `text` describes them, after "must be"."""

    text: str
    holds: Callable[[Any], bool]


@dataclasses.dataclass(frozen=True)
class FlatName:
    """The name of a setting where its group is not named."""

    name: str


@dataclasses.dataclass(frozen=True)
class Formerly:
    """The name that a setting had in an earlier version, which is still read."""

    name: str


@dataclasses.dataclass(frozen=True)
class FormerValue:
    """A renamed value of a setting; the `old` name is still read."""

    old: str
    new: str


@dataclasses.dataclass(frozen=True)
class Operational:
    """The setting decides where and how the work is done, not its result: it is no part of a run's identity."""


@dataclasses.dataclass(frozen=True)
class Rare:
    """Few people need the setting: only `--help-all` shows it."""


OPERATIONAL, RARE = Operational(), Rare()


def at_least(least: float) -> Rule:
    return Rule(f"at least {least:g}", lambda value: least <= value < math.inf)


Count = Annotated[int, at_least(1)]
CountFrom0 = Annotated[int, at_least(0)]
Positive = Annotated[float, Rule("a number above 0", lambda value: 0 < value < math.inf)]
NotNegative = Annotated[float, Rule("a number from 0", lambda value: 0 <= value < math.inf)]
Share = Annotated[float, Rule("at least 0 and below 1", lambda value: 0 <= value < 1)]
Fraction = Annotated[float, Rule("from 0 to 1", lambda value: 0 <= value <= 1)]
Seed = Annotated[int, Rule("at least 0 and below 2**32", lambda value: 0 <= value < 2**32)]


def flat(name: str) -> tuple[Any, ...]:
    """The marks of a setting in a group that has another name as a flag: `Annotated[str, *flat("data")]`."""
    return FlatName(name), arg(name=name.replace("_", "-"))


@dataclasses.dataclass(frozen=True)
class Setting:
    """A field of a configuration."""

    name: str
    type: Any
    """The type, without the marks."""
    marks: tuple[Any, ...]

    @property
    def flat_name(self) -> str:
        """The setting's name where its group is not named."""
        return next((mark.name for mark in self.marks if isinstance(mark, FlatName)), self.name)

    @property
    def former_name(self) -> str | None:
        return next((mark.name for mark in self.marks if isinstance(mark, Formerly)), None)

    @property
    def is_group(self) -> bool:
        return GROUP in self.marks

    @property
    def config_type(self) -> type | None:
        """The dataclass of the setting's value or values; None for plain values."""
        return next((part for part in (self.type, *get_args(self.type)) if dataclasses.is_dataclass(part)), None)


@cache
def settings_of(config_type: type) -> tuple[Setting, ...]:
    """The settings of a dataclass, in field order."""
    hints, bare = get_type_hints(config_type, include_extras=True), get_type_hints(config_type)
    names = [field.name for field in dataclasses.fields(config_type)]
    return tuple(Setting(name, bare[name], tuple(_marks_in(hints[name]))) for name in names)


def _marks_in(hint: Any) -> Iterator[Any]:
    """The marks in a type such as `Annotated[int, rule]`, `Region | None` or `tuple[NodeLabel, ...]`."""
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)
        yield from marks
    for part in get_args(hint):
        yield from _marks_in(part)


def values(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Setting]]:
    """Each setting of a configuration, nested ones included: its name as a flag (`cnn.pool`), its value, itself."""
    for setting in settings_of(type(config)):
        value = getattr(config, setting.name)
        if dataclasses.is_dataclass(value):
            yield from values(value, prefix if setting.is_group else f"{prefix}{setting.name}.")
        else:
            yield prefix + setting.flat_name, value, setting


def broken_rules(config: Any) -> Iterator[tuple[str, Any, str]]:
    """The settings whose value breaks a rule: name, value, and the rule's text.

    None breaks no rule; in a tuple, each value is checked.
    """
    for name, value, setting in values(config):
        items = value if isinstance(value, tuple) else () if value is None else (value,)
        for rule in (mark for mark in setting.marks if isinstance(mark, Rule)):
            yield from ((name, item, rule.text) for item in items if not rule.holds(item))
