"""Training configurations from flat settings, named like flags without their groups."""

import dataclasses
from typing import Any

from common import config_io
from trainer.config.settings import TrainConfig

_QUICK = {"calibration_pictures": 17}  # one of each kind; more take seconds


SMALL_LINES = {
    "model": "lines",
    "lines": {"filters": [4, 8, 8], "picture_blocks": 1, "channels": 16, "line_blocks": 1},
    "global_batch_size": 8,
    "verify_export": False,
}
"""A reader of lines that trains in seconds."""


def train_config(data: str, run_dir: str, **settings: Any) -> TrainConfig:
    plain = _plain({"data": data, "run_dir": run_dir} | _QUICK | settings)
    return config_io.from_plain(TrainConfig, plain, "settings")


def changed(config: TrainConfig, **settings: Any) -> TrainConfig:
    """A copy of `config` with these settings changed."""
    plain = config_io.to_plain(config)
    for name, value in config_io.in_groups(TrainConfig, _plain(settings), "settings").items():
        plain[name] = plain[name] | value if isinstance(value, dict) else value
    return config_io.from_plain(TrainConfig, plain, "settings")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return config_io.to_plain(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
