"""Frozen dataclasses to and from plain data (JSON, YAML), strictly: unknown names and wrong types are errors."""

import dataclasses
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import cattrs
import yaml

from common.errors import InputError
from common.marks import FormerValue, Setting, settings_of

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

T = TypeVar("T")


def _exactly(kind: type) -> Any:
    def check(value: Any, _: type) -> Any:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}, got {value!r}")
        return value

    return check


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(_exactly(str)(value, str) for value in values)


def _number(value: Any, _: type) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"expected a number, got {value!r}")
    return float(value)  # from text too: YAML reads 1e-3, without a point, as text


_converter = cattrs.Converter(forbid_extra_keys=True)
for _kind in (int, str, bool):
    # By itself cattrs would turn 3.7 into 3 and the text "no" into True.
    _converter.register_structure_hook(_kind, _exactly(_kind))
_converter.register_structure_hook(float, _number)
# A single text is one item, not a sequence of letters.
_converter.register_structure_hook_func(
    lambda kind: kind == tuple[str, ...], lambda value, _: _texts([value] if isinstance(value, str) else value)
)


def from_plain(cls: type[T], data: Any, where: str) -> T:
    """An instance of dataclass `cls` from nested dictionaries and lists; `where` names their file in errors.

    Settings may stand without their group, and under earlier names (see `in_groups`).
    """
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected a mapping of names to values, got {type(data).__name__}")
    try:
        return _converter.structure(in_groups(cls, data, where), cls)
    except cattrs.BaseValidationError as error:
        faults = cattrs.transform_error(error, path=where, format_exception=_describe)
        raise InputError("; ".join(faults)) from None


def in_groups(cls: type, data: dict[str, Any], where: str) -> dict[str, Any]:
    """Plain `data` for dataclass `cls` with each setting in its group and under its present name, however deep.

    A setting of a group may stand without it, and under an earlier name. Raises `InputError` if one is given twice.
    """
    result: dict[str, Any] = {}
    left = dict(data)

    def take(target: dict[str, Any], setting: Setting, present_name: str) -> None:
        for name in (present_name, setting.former_name):
            if name is None or name not in left:
                continue
            if setting.name in target:
                raise InputError(f"{where}: {setting.name} is given twice")
            target[setting.name] = _current(setting, left.pop(name), where)

    for setting in settings_of(cls):
        if not setting.is_group:
            take(result, setting, setting.name)
            continue
        inside = left.pop(setting.name) if isinstance(left.get(setting.name), dict) else {}
        group = in_groups(setting.config_type, inside, where)
        for part in settings_of(setting.config_type):
            take(group, part, part.flat_name)
        if group:
            result[setting.name] = group
    return result | left  # what is left has no setting, and is refused later


def _current(setting: Setting, value: Any, where: str) -> Any:
    """A setting's value, with every name in it under its present name."""
    for mark in setting.marks:
        if isinstance(mark, FormerValue) and value == mark.old:
            return mark.new
    if (cls := setting.config_type) is None:
        return value
    if isinstance(value, list):
        return [in_groups(cls, item, where) if isinstance(item, dict) else item for item in value]
    if isinstance(value, dict) and get_origin(setting.type) is dict:
        return {name: in_groups(cls, item, where) if isinstance(item, dict) else item for name, item in value.items()}
    return in_groups(cls, value, where) if isinstance(value, dict) else value


class _Loader(yaml.SafeLoader):
    """Refuses a mapping in which a name stands twice; PyYAML itself would take the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if repeated := {name for name in names if names.count(name) > 1}:
            problem = f"{', '.join(sorted(repeated))} is given twice"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: "AnyPath") -> dict[str, Any]:
    """The mapping in a YAML file, as plain data. Raises `InputError` if the file holds anything else."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of names to values")
    return data


def to_plain(instance: Any) -> Any:
    """A dataclass instance as nested dictionaries, lists and scalars, for `json` and `yaml`."""
    return _listed(_converter.unstructure(instance))


def _listed(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _listed(value) for name, value in data.items()}
    return [_listed(value) for value in data] if isinstance(data, (list, tuple)) else data


def _names(setting: Setting) -> list[str]:
    """The names under which a file may give a setting, or the settings of a group."""
    parts = settings_of(setting.type) if setting.is_group else ()
    return list(dict.fromkeys([setting.name, *(part.flat_name for part in parts)]))


def _describe(error: BaseException, cls: type | None) -> str:
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        names = [name for setting in settings_of(error.cl) for name in _names(setting)]
        return f"unknown name {', '.join(sorted(map(str, error.extra_fields)))}; known: {', '.join(names)}"
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    bare = get_args(cls)[0] if get_origin(cls) is Annotated else cls
    if get_origin(bare) is Literal:
        return f"{str(error).partition(' not in literal')[0]}: must be one of {', '.join(map(str, get_args(bare)))}"
    if dataclasses.is_dataclass(bare):
        return "expected a mapping of names to values"
    if wrong := re.match(r"(Not enough|Too many) values in (\[.*?\]) to structure", str(error)):
        return f"expected {'more' if wrong[1] == 'Not enough' else 'fewer'} values than {wrong[2]}"
    if get_origin(bare) is tuple and not str(error).startswith("expected"):
        return "expected a list"
    return str(error)
