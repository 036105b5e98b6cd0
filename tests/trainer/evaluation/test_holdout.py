"""The gate's half of the test examples: always the same ones, chosen by their pixels."""

from pathlib import Path

import numpy as np

from common.dataset import manifest as manifests
from preprocess import pipeline
from trainer.data.examples import Examples, open_split
from trainer.evaluation import holdout


def opened(folder: str, split: str) -> Examples:
    return open_split(Path(folder), manifests.read(Path(folder)), split)


def test_an_example_is_on_the_same_side_in_the_data_of_every_week(make_source, tmp_path):
    source = make_source("mnist/original", train=700, test=300)
    first = holdout.pixel_hashes(opened(pipeline.run(source.config(tmp_path / "first")), "test"))
    fewer = source.config(tmp_path / "second", seed=7, max_examples_per_split=200, num_shards=3)
    second = holdout.pixel_hashes(opened(pipeline.run(fewer), "test"))
    assert set(second.tolist()) < set(first.tolist())
    sides = dict(zip(first.tolist(), holdout.decide(first).tolist(), strict=True))
    assert [sides[content] for content in second.tolist()] == holdout.decide(second).tolist()


def test_about_half_of_them_decide():
    pixel_hashes = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64)
    assert abs(holdout.decide(pixel_hashes).mean() - 0.5) < 0.02
    neighbours = np.arange(20_000, dtype=np.uint64)
    assert abs(holdout.decide(neighbours).mean() - 0.5) < 0.02


def test_the_rule_is_for_ever():
    sides = holdout.decide(np.arange(32, dtype=np.uint64))
    assert "".join(map(str, sides.astype(int))) == "01111110001100110000110011110100"


def test_all_examples_of_a_group_are_on_the_same_side_by_its_name_alone():
    names = [f"writer {number % 40}" for number in range(400)]
    sides = holdout.decide_by_group(names)
    assert 10 < sides[:40].sum() < 30
    np.testing.assert_array_equal(sides, np.tile(sides[:40], 10))
    others = [*names[5:30], "a new writer"]
    np.testing.assert_array_equal(holdout.decide_by_group(others)[:-1], sides[5:30])
    assert "".join(map(str, sides[:20].astype(int))) == "11100011000100100101", "the rule is for ever"


def test_the_same_pixels_are_found_in_another_split(synthetic_digits):
    train, test = opened(synthetic_digits, "train"), opened(synthetic_digits, "test")
    pixel_hashes = holdout.pixel_hashes(train)
    assert len(np.unique(pixel_hashes)) == train.num_examples
    assert not np.isin(holdout.pixel_hashes(test), pixel_hashes).any()
