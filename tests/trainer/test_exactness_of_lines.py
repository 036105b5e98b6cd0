"""A training on lines gives the same bits, too: interrupted, streamed, or shared among devices and workers.

What is particular to lines: batches are sorted by width and cropped, augmentation makes lines wider, and normalisation
counts only what lies inside of lines.
"""

from pathlib import Path

import pytest
import yaml

from common import config_io
from tests.support.exactness import (
    assert_nearly_same,
    assert_same_results,
    finish,
    interrupt,
    kill,
    run_whole,
    start_workers,
    stop,
    train_here,
)
from tests.support.settings import SMALL_LINES, changed
from trainer import check
from trainer.config.commands import CheckConfig
from trainer.config.settings import TrainConfig

pytestmark = pytest.mark.xdist_group("alone")

EVERYTHING = SMALL_LINES | {
    "steps": 36,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "schedule": "one_cycle",
    "weight_decay": 0.05,
    "clip_norm": 1.0,
    "ema_decay": 0.99,
    "select": "best",
    "augmentation": ["stretch", "grow", "slant", "tilt", "lift", "warp", "thicken", "fade", "blank"],
    "checkpoint_minutes": 60.0,
    "checkpoint_steps": 5,
    "steps_per_execution": 2,
}
# So few and short steps that rounding does not grow to what a mistake would make.
FEW_STEPS = {"steps": 8, "learning_rate": 1e-5}
FEW_STEPS_AS_FLAGS = ("--steps", "8", "--learning-rate", "1e-5")
STREAMED = {"in_memory_limit_mb": 0, "shuffle_buffer_examples": 50}


@pytest.fixture(scope="module")
def command(synthetic_lines, tmp_path_factory) -> list[str]:
    recipe = tmp_path_factory.mktemp("recipe") / "everything.yaml"
    recipe.write_text(yaml.safe_dump(EVERYTHING))
    return ["trainer", "train", "--data", str(synthetic_lines), "--config", str(recipe)]


@pytest.fixture(scope="module")
def config(synthetic_lines) -> TrainConfig:
    return config_io.from_plain(TrainConfig, EVERYTHING | {"data": str(synthetic_lines), "run_dir": ""}, "EVERYTHING")


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory) -> Path:
    return train_here(config, tmp_path_factory.mktemp("runs") / "uninterrupted")


@pytest.mark.parametrize(
    ("settings", "interruptions"),
    [
        pytest.param({}, [(kill, 7, 5), (stop, 21, 24)], id="held in memory"),
        pytest.param(STREAMED, [(kill, 12, 10)], id="streamed", marks=pytest.mark.thorough),
    ],
)
def test_interrupted_at_any_step_it_goes_on_to_the_same_bits(config, settings, interruptions, tmp_path, request):
    config = changed(config, **settings)
    whole = train_here(config, tmp_path / "whole") if settings else request.getfixturevalue("uninterrupted")
    folder = tmp_path / "interrupted"
    for how, step, goes_on_from in interruptions:
        assert interrupt(config, folder, step, how) == goes_on_from
    assert_same_results(whole, train_here(config, folder))


def test_the_exported_models_are_the_trained_one(uninterrupted):
    assert check.run(CheckConfig(str(uninterrupted))) == str(uninterrupted), "or it raises what differs"


def test_two_devices_train_like_one(config, command, tmp_path):
    """Streamed, too: then each device holds only its own rows, but crops them to the widest of all."""
    single = train_here(changed(config, **FEW_STEPS), tmp_path / "one")
    flags = ("--in-memory-limit-mb", "0", *FEW_STEPS_AS_FLAGS, "--num-virtual-devices", "2")
    assert_nearly_same(single, run_whole(command, tmp_path / "two", *flags))


@pytest.mark.thorough
def test_two_workers_train_like_one_process(config, command, tmp_path):
    finish(start_workers(command, tmp_path / "two", *FEW_STEPS_AS_FLAGS))
    assert_nearly_same(train_here(changed(config, **FEW_STEPS), tmp_path / "one"), tmp_path / "two")
