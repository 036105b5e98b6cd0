"""Command-line flags from a configuration: a dataclass whose fields are settings (see `marks`)."""

import contextlib
import dataclasses
import inspect
import io
import logging
import re
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Annotated, Any, TypeVar, Union, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from common.errors import InputError, NoReaderError
from common.marks import RARE, FormerValue, Setting, broken_rules, settings_of

T = TypeVar("T")

_BOX = re.compile("[╭╮╰╯│─]+")
_REGISTRY = ConstructorRegistry()

_log = logging.getLogger(__name__)


def parse(
    config_type: type[T],
    arguments: Sequence[str],
    prog: str,
    default: T | None = None,
    other_flags: dict[str, str] | None = None,
) -> T:
    """Parses flags into an instance of dataclass `config_type`; settings without a flag come from `default`.

    `other_flags` are flags that the caller has removed from `arguments`, with their help. `--help` prints the flags
    that most people need, `--help-all` all of them; both exit. Raises `InputError` for bad flags.
    """
    other_flags = dict(other_flags or {})
    names = [*other_flags, *(flag for flag, _ in _flags(config_type))]
    arguments = _with_present_names(config_type, arguments)
    if "--help-all" in arguments:
        arguments = ["--help"]
    elif not {"-h", "--help"}.isdisjoint(arguments) and _has_rare(config_type):
        other_flags["--help-all"] = "shows the rest of the flags."
        config_type, default = _without_rare(config_type, default)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            config = tyro.cli(
                config_type,
                prog=prog,
                args=arguments,
                default=default,
                description=_description(config_type, other_flags),
                registry=_REGISTRY,
            )
        check(config)
        return config
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
    except BrokenPipeError:  # while the help is printed
        raise NoReaderError from None
    # Tyro draws a box of several lines; logs and job consoles want one line.
    _title, *box = complaint.getvalue().splitlines() or [""]
    lines = (_BOX.sub(" ", line).strip() for line in box)
    message = " ".join(filter(None, lines)).split("For full helptext")[0].strip()
    if "nrecognized" in message:
        message += f" Known: {', '.join(names)}"
    raise InputError(f"{message} (see {prog} --help)")


def check(config: Any) -> None:
    """Raises `InputError`, naming the flag, if a setting breaks a rule of its type."""
    for name, value, rule in broken_rules(config):
        raise InputError(f"--{_dashed(name)} {value}: must be {rule}")


def take(flag: str, arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of a flag that has to be known before the others are parsed, and the arguments without it."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == flag:
            if not equals and index + 1 == len(arguments):
                raise InputError(f"{flag}: expects a value")
            rest = index + 1 if equals else index + 2
            return value if equals else arguments[index + 1], [*arguments[:index], *arguments[rest:]]
    return None, list(arguments)


def _description(config_type: type, other_flags: dict[str, str]) -> str:
    epilogue = "".join(f"\n\n{flag} {meaning}" for flag, meaning in other_flags.items())
    return inspect.cleandoc(config_type.__doc__ or "") + epilogue


def _flags(config_type: type, prefix: str = "--") -> Iterator[tuple[str, Setting]]:
    """The flags of a configuration, with what each sets."""
    for setting in settings_of(config_type):
        if dataclasses.is_dataclass(setting.type):
            yield from _flags(setting.type, prefix if setting.is_group else f"{prefix}{_dashed(setting.name)}.")
        elif tyro.conf.Positional not in setting.marks:
            yield prefix + _dashed(setting.flat_name), setting


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _renamed(config_type: type, prefix: str = "--", old_prefix: str = "--") -> Iterator[tuple[str, str]]:
    """Flags that are still accepted, each with its present name: earlier names, and names with their group's prefix."""
    for setting in settings_of(config_type):
        name, old = _dashed(setting.flat_name), _dashed(setting.former_name or setting.flat_name)
        if setting.is_group:
            yield from _renamed(setting.type, prefix, old_prefix)
            for part in settings_of(setting.type):
                yield f"--{_dashed(setting.name)}.{_dashed(part.name)}", f"--{_dashed(part.flat_name)}"
        elif dataclasses.is_dataclass(setting.type):
            yield from _renamed(setting.type, f"{prefix}{name}.", f"{old_prefix}{old}.")
        elif old_prefix + old != prefix + name:
            yield old_prefix + old, prefix + name


def _with_present_names(config_type: type, arguments: Sequence[str]) -> list[str]:
    """The arguments with flags and values under their present names; each earlier name is logged."""
    renamed = {old.replace("_", "-"): new for old, new in _renamed(config_type)}
    former = {
        (flag, mark.old): mark.new
        for flag, setting in _flags(config_type)
        for mark in setting.marks
        if isinstance(mark, FormerValue)
    }
    result: list[str] = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        dashed = flag.replace("_", "-")
        if flag.startswith("--") and dashed in renamed:
            if "." not in dashed or "." in renamed[dashed]:  # an earlier name, not the group's
                _log.warning("%s is now called %s; the next release drops the old name", flag, renamed[dashed])
            argument = renamed[dashed] + equals + value
        if equals and (flag, value) in former:
            argument = f"{flag}={_renamed_value(flag, value, former)}"
        elif result and (result[-1], argument) in former:
            argument = _renamed_value(result[-1], argument, former)
        result.append(argument)
    return result


def _renamed_value(flag: str, value: str, former: dict[tuple[str, str], str]) -> str:
    now = former[flag, value]
    _log.warning("%s %s is now called %s; the next release drops the old name", flag, value, now)
    return now


def _has_rare(config_type: type) -> bool:
    return any(
        RARE in setting.marks or (setting.config_type and _has_rare(setting.config_type))
        for setting in settings_of(config_type)
    )


def _without_rare(config_type: type[T], default: T | None) -> tuple[type[T], T | None]:
    """A class like `config_type` in whose help rare settings are hidden, and `default` as an instance of it."""
    given = {field.name: getattr(default, field.name) for field in dataclasses.fields(config_type)} if default else {}
    changed = []
    for field, setting in zip(dataclasses.fields(config_type), settings_of(config_type), strict=True):
        default_of = {"default": field.default, "default_factory": field.default_factory}
        if RARE in setting.marks:
            changed.append((field.name, Annotated[field.type, tyro.conf.Suppress], dataclasses.field(**default_of)))
        elif setting.is_group:
            group, given[field.name] = _without_rare(setting.type, given.get(field.name))
            if field.default_factory is not dataclasses.MISSING:
                default_of["default_factory"] = group
            changed.append((field.name, Annotated[group, *setting.marks], dataclasses.field(**default_of)))
    shown = dataclasses.make_dataclass(
        config_type.__name__, changed, bases=(config_type,), frozen=True, namespace={"__doc__": config_type.__doc__}
    )
    return shown, shown(**given) if default else None


@_REGISTRY.primitive_rule
def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """The metavar of `X | None` in the help is that of X. The word None is accepted as its value."""
    others = tuple(part for part in get_args(info.type) if part is not NoneType)
    if NoneType not in get_args(info.type) or not others:
        return None
    inner = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(Union[others], info.markers))  # noqa: UP007
    if not isinstance(inner, PrimitiveConstructorSpec):
        return None
    return dataclasses.replace(
        inner,
        instance_from_str=lambda words: None if words == ["None"] else inner.instance_from_str(words),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else inner.str_from_instance(value),
        choices=(*inner.choices, "None") if inner.choices else None,
    )
