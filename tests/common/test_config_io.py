"""Plain data to dataclasses, strictly."""

from dataclasses import dataclass
from typing import Literal

import pytest

from common import config_io
from common.errors import InputError


@dataclass(frozen=True)
class Wheel:
    size: int = 28


@dataclass(frozen=True)
class Bicycle:
    name: str
    weight: float = 1.0
    kind: Literal["city", "race"] = "city"
    gears: tuple[int, ...] = ()
    bell: bool = False
    age: int | None = None
    wheel: Wheel = Wheel()


def test_what_goes_out_comes_back():
    bicycle = Bicycle("a", 12.5, "race", (1, 2), True, 3, Wheel(26))
    plain = config_io.to_plain(bicycle)
    assert plain["gears"] == [1, 2]
    assert config_io.from_plain(Bicycle, plain, "file") == bicycle


def test_numbers_as_yaml_writes_them_are_understood():
    assert config_io.from_plain(Bicycle, {"name": "a", "weight": "1e-3"}, "file").weight == 1e-3
    assert config_io.from_plain(Bicycle, {"name": "a", "weight": 2}, "file").weight == 2.0


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({}, "name is missing @ file"),
        ({"name": "a", "colour": "red"}, "unknown name colour; known: name, weight"),
        ({"name": "a", "wheel": {"siz": 3}}, "unknown name siz; known: size @ file.wheel"),
        ({"name": "a", "age": 3.7}, "expected int, got 3.7 @ file.age"),
        ({"name": "a", "bell": "no"}, "expected bool, got 'no'"),
        ({"name": 3}, "expected str, got 3"),
        ({"name": "a", "kind": "boat"}, "boat.*city"),
        ({"name": "a", "weight": "heavy"}, "heavy"),
        ([], "file: expected a mapping"),
    ],
)
def test_anything_else_is_refused_by_name(data, complaint):
    with pytest.raises(InputError, match=complaint):
        config_io.from_plain(Bicycle, data, "file")


@pytest.mark.parametrize("text", ["a: [", "- a list", "just text"])
def test_a_file_that_is_no_yaml_mapping_is_refused(tmp_path, text):
    (tmp_path / "file.yaml").write_text(text)
    with pytest.raises(InputError, match=r"file.yaml: (is not YAML|expected a mapping)"):
        config_io.read_yaml(tmp_path / "file.yaml")
