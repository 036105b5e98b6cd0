"""Rules of settings: the bounds of each, on single values and on several, at the top and in groups."""

import dataclasses
import math
from dataclasses import field, replace
from typing import Annotated

import pytest

from common.marks import (
    GROUP,
    Count,
    CountFrom0,
    Fraction,
    NotNegative,
    Positive,
    Rule,
    Seed,
    Share,
    broken_rules,
    flat,
    settings_of,
    values,
)
from deploy.config.settings import DataflowConfig, GateConfig, KubernetesConfig, ServingConfig, VertexConfig
from preprocess.config import PreprocessConfig
from trainer.config.commands import EvaluateConfig, ExportConfig, ReportConfig
from trainer.config.settings import TrainConfig


@dataclasses.dataclass(frozen=True)
class Bounds:
    count: Count = 1
    count_from_0: CountFrom0 = 0
    positive: Positive = 1.0
    not_negative: NotNegative = 0.0
    share: Share = 0.5
    fraction: Fraction = 1.0
    seed: Seed = 0


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("count", [1, 10**9], [0, -1]),
        ("count_from_0", [0, 7], [-1]),
        ("positive", [1e-9, 5.0], [0.0, -1.0, math.inf, math.nan]),
        ("not_negative", [0.0, 5.0], [-1e-9, math.inf, math.nan]),
        ("share", [0.0, 0.999], [-0.1, 1.0, math.nan]),
        ("fraction", [0.0, 1.0], [-0.1, 1.1, math.nan]),
        ("seed", [0, 2**32 - 1], [-1, 2**32]),
    ],
)
def test_a_rule_accepts_what_lies_within_its_bounds(name, accepted, refused):
    assert [value for value in accepted if list(broken_rules(replace(Bounds(), **{name: value})))] == []
    for value in refused:
        ((broken, _, text),) = broken_rules(replace(Bounds(), **{name: value}))
        assert (broken, bool(text)) == (name, True)


@dataclasses.dataclass(frozen=True)
class Layers:
    sizes: tuple[Count, ...] = (3, 4)
    depth: Annotated[Count | None, *flat("layer_depth")] = None


@dataclasses.dataclass(frozen=True)
class Config:
    layers: Annotated[Layers, GROUP] = field(default_factory=Layers)
    head: Layers = field(default_factory=Layers)


def test_settings_are_named_as_their_flags_and_each_of_several_values_counts():
    config = Config(Layers((1, 0, -2)), Layers(depth=0))
    assert [(name, value) for name, value, _ in values(config)] == [
        ("sizes", (1, 0, -2)),
        ("layer_depth", None),
        ("head.sizes", (3, 4)),
        ("head.layer_depth", 0),
    ]
    assert [(name, value) for name, value, _ in broken_rules(config)] == [
        ("sizes", 0),
        ("sizes", -2),
        ("head.layer_depth", 0),
    ]


@pytest.mark.parametrize(
    "config_type",
    [
        *(TrainConfig, EvaluateConfig, ExportConfig, ReportConfig, PreprocessConfig),
        *(GateConfig, ServingConfig, VertexConfig, KubernetesConfig, DataflowConfig),
    ],
)
def test_every_setting_that_is_a_number_has_a_rule(config_type):
    def numbers(config_type, prefix=""):
        for setting in settings_of(config_type):
            if dataclasses.is_dataclass(setting.type):
                yield from numbers(setting.type, f"{prefix}{setting.name}.")
            elif {int, float} & {setting.type, *getattr(setting.type, "__args__", ())}:
                yield prefix + setting.name, any(isinstance(mark, Rule) for mark in setting.marks)

    assert [name for name, has_rule in numbers(config_type) if not has_rule] == []
