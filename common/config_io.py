"""Frozen dataclasses to and from plain data (JSON, YAML), strictly: unknown names and wrong types are errors."""

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import cattrs
import yaml

from common.errors import InputError
from common.marks import Formerly, marks_of

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
    if isinstance(value, bool):
        raise TypeError(f"expected a number, got {value!r}")
    return float(value)  # from text too: YAML reads 1e-3, without a point, as text


_converter = cattrs.Converter(forbid_extra_keys=True)
for _kind in (int, str, bool):
    # By itself cattrs would turn 3.7 into 3 and the text "no" into True.
    _converter.register_structure_hook(_kind, _exactly(_kind))
_converter.register_structure_hook(float, _number)
# A text is one item, not its letters.
_converter.register_structure_hook_func(
    lambda kind: kind == tuple[str, ...], lambda value, _: _texts([value] if isinstance(value, str) else value)
)


def from_plain(cls: type[T], data: Any, where: str) -> T:
    """An instance of dataclass `cls` from nested dictionaries and lists; `where` names their file in errors.

    A field's earlier name (`marks.Formerly`) is read as the field.
    """
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected a mapping of names to values, got {type(data).__name__}")
    try:
        return _converter.structure(_with_new_names(cls, data), cls)
    except cattrs.BaseValidationError as error:
        faults = cattrs.transform_error(error, path=where, format_exception=_describe)
        raise InputError("; ".join(faults)) from None


def _with_new_names(hint: Any, data: Any) -> Any:
    """`data` for a value of type `hint`, with earlier names of dataclass fields replaced, however deep they are."""
    if dataclasses.is_dataclass(hint) and isinstance(data, dict):
        marks, hints = marks_of(hint), get_type_hints(hint)
        renamed = {mark.name: name for name in marks for mark in marks[name] if isinstance(mark, Formerly)}
        current = {renamed.get(name, name): value for name, value in data.items()}
        return {name: _with_new_names(hints.get(name), value) for name, value in current.items()}
    inner = next((part for part in get_args(hint) if dataclasses.is_dataclass(part)), None)
    if inner and isinstance(data, dict):
        return {name: _with_new_names(inner, value) for name, value in data.items()}
    if inner and isinstance(data, list):
        return [_with_new_names(inner, value) for value in data]
    return data


def read_yaml(path: "AnyPath") -> dict[str, Any]:
    """The mapping in a YAML file, as plain data. Raises `InputError` if the file holds anything else."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of names to values")
    return data


def to_plain(instance: Any) -> Any:
    """Nested dictionaries, lists and scalars, as `json` and `yaml` take them, from a dataclass instance."""
    return _listed(_converter.unstructure(instance))


def _listed(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _listed(value) for name, value in data.items()}
    return [_listed(value) for value in data] if isinstance(data, (list, tuple)) else data


def _describe(error: BaseException, cls: type | None) -> str:
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        known = ", ".join(field.name for field in dataclasses.fields(error.cl))
        return f"unknown name {', '.join(sorted(map(str, error.extra_fields)))}; known: {known}"
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    if isinstance(error, TypeError) and "not iterable" in str(error):
        return f"expected {'a mapping of names to values' if dataclasses.is_dataclass(cls) else 'a list'}"
    return str(error)
