"""Plain data to dataclasses, strictly."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from common import config_io
from common.errors import InputError
from common.marks import GROUP, Count, Formerly, FormerValue, flat


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


def test_a_name_that_stands_twice_in_a_mapping_is_refused(tmp_path):
    (tmp_path / "file.yaml").write_text("a: 1\nb: {c: 2, c: 3}\n")
    with pytest.raises(InputError, match=r"file.yaml: is not YAML \(c is given twice .*line 2"):
        config_io.read_yaml(tmp_path / "file.yaml")


@pytest.mark.parametrize("text", ["a: [", "- a list", "just text"])
def test_a_file_that_is_no_yaml_mapping_is_refused(tmp_path, text):
    (tmp_path / "file.yaml").write_text(text)
    with pytest.raises(InputError, match=r"file.yaml: (is not YAML|expected a mapping)"):
        config_io.read_yaml(tmp_path / "file.yaml")


@dataclass(frozen=True)
class Brakes:
    kind: Annotated[Literal["rim", "disc"], *flat("brakes"), FormerValue("caliper", "rim")] = "rim"
    force: Annotated[float, Formerly("strength")] = 1.0


@dataclass(frozen=True)
class Tandem:
    brakes: Annotated[Brakes, GROUP] = field(default_factory=Brakes)
    riders: Annotated[tuple[Brakes, ...], Formerly("people")] = ()
    gears: tuple[Count, Count] = (3, 8)
    wheel: Wheel = Wheel()
    spare: Annotated[dict[str, Brakes], Formerly("others")] = field(default_factory=dict)


@pytest.mark.parametrize(
    "data",
    [
        {"brakes": {"kind": "rim", "force": 3}},
        {"brakes": "rim", "force": 3},
        {"brakes": "caliper", "strength": 3},
        {"brakes": {"kind": "caliper"}, "strength": 3},
    ],
)
def test_settings_of_a_group_may_stand_without_it_and_under_earlier_names(data):
    assert config_io.from_plain(Tandem, data, "file") == Tandem(Brakes("rim", 3.0))


def test_earlier_names_are_read_in_lists_and_mappings_too():
    data = {"people": [{"strength": 2}, {"kind": "caliper"}], "others": {"front": {"strength": 4}}}
    expected = Tandem(riders=(Brakes(force=2.0), Brakes("rim")), spare={"front": Brakes(force=4.0)})
    assert config_io.from_plain(Tandem, data, "file") == expected


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"brakes": {"force": 1}, "force": 2}, "file: force is given twice"),
        ({"force": 1, "strength": 2}, "file: force is given twice"),
        ({"riders": [], "people": []}, "file: riders is given twice"),
        ({"brake": "rim"}, "unknown name brake; known: brakes, force, riders, gears, wheel, spare"),
        ({"brakes": "drum"}, "drum: must be one of rim, disc @ file.brakes.kind"),
        ({"brakes": ["rim"]}, "must be one of rim, disc @ file.brakes.kind"),
        ({"riders": {"force": 1}}, "expected a mapping of names to values @ file.riders"),
        ({"brakes": {None: 1}}, "unknown name None; known: kind, force"),
        ({"force": None}, "expected a number, got None @ file.brakes.force"),
        ({"gears": [1]}, r"expected more values than \[1\] @ file.gears"),
        ({"gears": [1, 2, 3]}, r"expected fewer values than \[1, 2, 3\] @ file.gears"),
        ({"gears": 5}, "expected a list @ file.gears"),
        ({"gears": [1, 2.5]}, "expected int, got 2.5 @ file.gears"),
        ({"wheel": []}, "expected a mapping of names to values @ file.wheel"),
        ({"wheel": "large"}, "expected a mapping of names to values @ file.wheel"),
    ],
)
def test_a_setting_that_is_given_twice_or_wrongly_is_refused_by_name(data, complaint):
    with pytest.raises(InputError, match=complaint):
        config_io.from_plain(Tandem, data, "file")
