"""Checkpoints are complete or absent, and a damaged one is skipped."""

import numpy as np
import pytest

from trainer.training import checkpoints
from trainer.training.checkpoints import Progress

STATE = Progress(
    "f", 100, step=7, loss_sum=0.1 + 0.2, errors=3, units=8, epochs=[{"epoch": 1, "train": {"loss": 1 / 3}}]
)
RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "network": {f"layer_{number}/kernel": RANDOM.normal(size=(5, 3)).astype(np.float32) for number in range(12)},
    "optimizer": {"iteration": np.int64(7), "learning_rate": np.float32(1e-3)},
}


def test_what_was_saved_is_restored_exactly(tmp_path):
    checkpoints.save(tmp_path, STATE, WEIGHTS)
    progress, weights = checkpoints.restore_latest(tmp_path)
    assert progress == STATE
    assert list(weights) == ["network", "optimizer"]
    for group, values in WEIGHTS.items():
        assert list(weights[group]) == list(values), "in their order"
        for name, value in values.items():
            assert weights[group][name].dtype == value.dtype
            np.testing.assert_array_equal(weights[group][name], value)


def test_the_last_two_are_kept_and_the_last_is_restored(tmp_path):
    for step in (9, 10, 100):
        STATE.step = step
        checkpoints.save(tmp_path, STATE, WEIGHTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000010.npz", "step-000000100.npz"]
    assert checkpoints.restore_latest(tmp_path)[0].step == 100


def test_without_any_there_is_none(tmp_path):
    assert checkpoints.restore_latest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("left_bytes", [0, 1, 100, 3000, -1])
def test_a_cut_one_is_passed_over_with_a_notice(tmp_path, caplog, left_bytes):
    for step in (1, 2):
        STATE.step = step
        path = checkpoints.save(tmp_path, STATE, WEIGHTS)
    path.write_bytes(path.read_bytes()[:left_bytes])
    assert checkpoints.restore_latest(tmp_path)[0].step == 1
    assert f"{path}: is damaged" in caplog.text
    assert "going back" in caplog.text


@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.thorough), 11])
def test_no_flipped_bit_is_passed_over(tmp_path, stride):
    """Not even in the archive's directory, whose parts have no checksum of their own."""
    path = checkpoints.save(tmp_path, STATE, {"network": {"bias": np.arange(3.0)}})
    whole = path.read_bytes()
    for place in range(0, 8 * len(whole), stride):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert checkpoints.restore_latest(tmp_path) is None
    path.write_bytes(whole)
    assert checkpoints.restore_latest(tmp_path)[0] == STATE


def test_numpy_reads_one_too(tmp_path):
    with np.load(checkpoints.save(tmp_path, STATE, WEIGHTS)) as parts:
        np.testing.assert_array_equal(parts["network/layer_3/kernel"], WEIGHTS["network"]["layer_3/kernel"])
