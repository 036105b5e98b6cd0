"""Flags from a configuration: their names, the help texts, and one-line errors."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from common import flags
from common.errors import InputError
from common.marks import GROUP, RARE, Count, Formerly, FormerValue, flat


@dataclass(frozen=True)
class Oven:
    """How it is baked."""

    kind: Annotated[Literal["gas", "wood"], *flat("oven")] = "gas"
    """The fuel."""
    heat: Annotated[float, Formerly("temperature")] = 0.5
    """From 0 to 1."""
    trays: Annotated[tuple[int, ...], RARE] = (1, 2)
    """Which to use."""


@dataclass(frozen=True)
class Icing:
    """What is put on top."""

    sugar: Count = 3
    """Spoons of it."""


@dataclass(frozen=True)
class Recipe:
    """Bake something."""

    name: str
    """What it is called."""
    kind: Annotated[Literal["cake", "bread"], FormerValue("gateau", "cake")] = "cake"
    """What it is."""
    minutes: Annotated[Count | None, Formerly("duration")] = None
    """How long; by default until it is done."""
    is_vegan: bool = False
    """Without eggs."""
    oven: Annotated[Oven, GROUP] = field(default_factory=Oven)
    icing: Annotated[Icing, Formerly("frosting"), RARE] = field(default_factory=Icing)


def parse(*arguments: str, default: Recipe | None = None) -> Recipe:
    return flags.parse(Recipe, arguments, "bake", default, {"--book": "takes a book."})


def test_flags_of_a_group_stand_without_its_name_and_others_with_it():
    recipe = parse("--name", "x", "--oven", "wood", "--heat", "0.7", "--trays", "4", "5", "--icing.sugar", "1")
    assert recipe == Recipe("x", oven=Oven("wood", 0.7, (4, 5)), icing=Icing(1))
    assert parse("--name", "x", "--oven.kind", "wood", "--oven.heat=0.7") == Recipe("x", oven=Oven("wood", 0.7))


def test_flags_beat_the_given_defaults_and_none_takes_one_back():
    default = Recipe("given", minutes=5)
    assert parse("--minutes", "7", default=default) == Recipe("given", minutes=7)
    assert parse("--minutes", "None", default=default) == Recipe("given")


def test_earlier_names_are_taken_with_a_notice(caplog):
    arguments = ("--name", "x", "--duration", "3", "--temperature=0.1", "--frosting.sugar", "2", "--kind", "gateau")
    assert parse(*arguments) == Recipe("x", minutes=3, oven=Oven(heat=0.1), icing=Icing(2))
    assert caplog.messages == [
        "--duration is now called --minutes; the next release drops the old name",
        "--temperature is now called --heat; the next release drops the old name",
        "--frosting.sugar is now called --icing.sugar; the next release drops the old name",
        "--kind gateau is now called cake; the next release drops the old name",
    ]
    caplog.clear()
    assert parse("--name=x", "--kind=gateau") == Recipe("x")
    assert len(caplog.messages) == 1
    assert parse("--name", "gateau").name == "gateau"


def help_of(capsys, flag: str) -> str:
    with pytest.raises(SystemExit) as stop:
        parse(flag, default=Recipe("given", oven=Oven("wood")))
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help_shows_what_most_people_need_and_help_all_the_rest(capsys):
    short, long = help_of(capsys, "--help"), help_of(capsys, "--help-all")
    assert help_of(capsys, "-h") == short
    for text in ("Bake something.", "--book takes a book.", "How it is baked.", "--oven {gas,wood}", "(default: wood)"):
        assert text in short, text
        assert text in long, text
    for text in ("--trays", "--icing.sugar", "Spoons of it."):
        assert text not in short, text
        assert text in long, text
    assert "--help-all shows" in short
    assert "--help-all" not in long


def test_the_placeholder_of_what_may_be_left_out_is_plain(capsys):
    assert "--minutes INT " in help_of(capsys, "--help")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--name", "x", "--minuts", "3"], "--minuts.*--minutes"),
        (
            ["--name", "x", "--nonsense"],
            "^Unrecognized options: --nonsense.* Known: --book, --name, .*, --oven, --heat, --trays, --icing.sugar",
        ),
        (["--name", "x", "--kind", "pie"], "'pie'.*--kind.*cake.*bread"),
        (["--name", "x", "--minutes", "few"], "--minutes"),
        (["--name", "x", "--icing.sugar", "0"], "^--icing.sugar 0: must be at least 1$"),
        ([], "--name"),
    ],
)
def test_bad_flags_are_one_line_that_says_what_would_be_right(arguments, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        parse(*arguments)
    assert "\n" not in str(caught.value)
    assert "bake --help" in str(caught.value) or "must be" in str(caught.value)


def test_a_flag_may_be_taken_before_the_others_are_parsed():
    assert flags.take("--book", ["--name", "x", "--book", "y", "--kind", "bread"]) == (
        "y",
        ["--name", "x", "--kind", "bread"],
    )
    assert flags.take("--book", ["--book=y"]) == ("y", [])
    assert flags.take("--book", ["--name", "x"]) == (None, ["--name", "x"])
    with pytest.raises(InputError, match="--book: expects a value"):
        flags.take("--book", ["--book"])
