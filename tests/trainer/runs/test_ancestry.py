"""Examples that the weights of a run have seen, itself or in earlier runs, count in no figure of a later one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.dataset import hashing
from common.dataset.schema import IMAGE
from common.errors import InputError
from tests.support import idx_datasets
from tests.support.datasets import read_split
from tests.support.idx_datasets import images
from tests.support.settings import train_config
from trainer import check, train
from trainer.config.commands import CheckConfig
from trainer.data import datasets
from trainer.runs import ancestry, run_folder

FIRST, SECOND, THIRD, TEST = images(300, 1), images(200, 2), images(150, 3), images(100, 4)


def train_on(data: Path, run_dir: Path, **settings) -> Path:
    fixed = {"model": "dense", "epochs": 1, "global_batch_size": 50, "verify_export": False, "calibration_pictures": 0}
    return Path(train.run(train_config(str(data), str(run_dir), **(fixed | settings))))


@pytest.fixture(scope="module")
def first(shared_folder) -> Path:
    """A run on `FIRST`, of which a part is its validation split."""

    def build(folder: Path) -> None:
        train_on(idx_datasets.make(folder, FIRST, TEST, validation_fraction=0.2), folder / "run")

    return shared_folder("ancestor", build) / "run"


@pytest.fixture(scope="module")
def second(first, shared_folder) -> Path:
    """A run from its weights, on data in which a few of its examples are validation and test examples."""

    def build(folder: Path) -> None:
        train_images = np.concatenate([SECOND, FIRST[:12]])
        data = idx_datasets.make(folder, train_images, np.concatenate([TEST, FIRST[100:108]]), validation_fraction=0.5)
        train_on(data, folder / "run", initialize_from=str(first), select="best")

    return shared_folder("descendant", build) / "run"


def hashes(*parts: np.ndarray) -> set[int]:
    return set(hashing.pixel_hashes(np.concatenate(parts)).tolist())


def test_a_run_records_all_training_and_validation_examples(first):
    recorded = np.load(first / "trained_on.npy")
    assert recorded.dtype == np.uint64
    assert (np.diff(recorded.astype(object)) > 0).all()
    assert set(recorded.tolist()) == hashes(FIRST)
    assert not (first / "ancestry.npz").exists()
    assert "left_out" not in json.loads((first / "metrics.json").read_text())


def test_one_that_began_with_its_weights_records_its_examples_too(second):
    assert set(np.load(second / "trained_on.npy").tolist()) == hashes(FIRST, SECOND)


def test_seen_examples_are_left_out_of_all_figures_and_counted(second):
    results = run_folder.read_results(second)
    data = Path(results.config.data.folder)
    for split in ("validation", "test"):
        pixels, labels = read_split(data, split)
        is_seen = np.isin(hashing.pixel_hashes(pixels), hashing.pixel_hashes(FIRST))
        assert is_seen.any()
        assert results.metrics["left_out"][split] == {
            "num_examples": is_seen.sum(),
            "of": len(labels),
            "numbers": np.flatnonzero(is_seen).tolist(),
        }
        assert results.metrics[split]["num_examples"] == (~is_seen).sum()
    np.testing.assert_array_equal(results.predictions["labels"], labels[~is_seen])
    assert [epoch["validation"]["num_examples"] for epoch in results.epochs] == [
        results.metrics["validation"]["num_examples"]
    ]
    assert "8 of 108 test examples, which the initial weights had seen" in (second / "report/index.html").read_text()
    assert "8 of 108 test examples are left out" in (second / "model/README.md").read_text()


def test_pictures_and_the_check_of_exports_go_by_the_rest(second):
    results = run_folder.read_results(second)
    taken = datasets.test_examples_of(results)
    assert hashes(taken.take(np.arange(taken.num_examples))[IMAGE][..., 0]) == hashes(TEST)
    assert check.run(CheckConfig(str(second))) == str(second)


def test_what_a_grandparent_has_seen_is_left_out_too(first, second, tmp_path, caplog):
    data = idx_datasets.make(tmp_path, THIRD, np.concatenate([TEST, FIRST[:3], SECOND[:4]]))
    with caplog.at_level("INFO", "trainer"):
        run = train_on(data, tmp_path / "run", initialize_from=str(second))
    assert f"left out 7 of the 107 test examples, since the weights of {second} have seen them: number " in caplog.text
    assert json.loads((run / "metrics.json").read_text())["left_out"]["test"]["num_examples"] == 7
    assert [ancestor["run"] for ancestor in json.loads((run / "run.json").read_text())["initialized_from"]] == [
        str(second),
        str(first),
    ]
    assert set(np.load(run / "trained_on.npy").tolist()) == hashes(FIRST, SECOND, THIRD)
    assert "which was from" in (run / "report/index.html").read_text()


def test_more_than_a_tenth_is_refused_with_both_numbers(first, tmp_path):
    data = idx_datasets.make(tmp_path, SECOND, np.concatenate([TEST, FIRST[:12]]))
    with pytest.raises(InputError, match="its weights have seen 12 of the 112 test examples, more than a tenth; give"):
        train_on(data, tmp_path / "run", initialize_from=str(first))
    assert not (tmp_path / "run").exists()


def test_of_a_run_of_an_earlier_version_it_is_made_of_its_dataset(first, second, tmp_path):
    earlier, later = tmp_path / "earlier", tmp_path / "later"
    for run, place in ((first, earlier), (second, later)):
        shutil.copytree(run, place)
        (place / "trained_on.npy").unlink()
    assert set(ancestry.trained_on(run_folder.read_results(earlier)).tolist()) == hashes(FIRST)
    with pytest.raises(InputError, match=r"trained_on.npy: is missing, so nobody knows what .* have seen"):
        ancestry.trained_on(run_folder.read_results(later))
    config = (earlier / "config.yaml").read_text()
    (earlier / "config.yaml").write_text(config.replace(str(first.parent), str(tmp_path / "moved")))
    with pytest.raises(InputError, match=r"trained_on.npy: is missing, .* cannot be opened \(.*no manifest.json there"):
        ancestry.trained_on(run_folder.read_results(earlier))
    (earlier / "trained_on.npy").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"trained_on.npy: is damaged"):
        ancestry.trained_on(run_folder.read_results(earlier))


def test_an_ancestry_is_kept_whole(tmp_path):
    runs = tuple(ancestry.Ancestor(f"runs/{name}", name * 16, "mine/é") for name in "ab")
    ancestry.write(tmp_path, ancestry.Ancestry(runs, np.array([3, 2**63 + 1], np.uint64)))
    kept = ancestry.read(tmp_path)
    assert kept.runs == runs
    assert kept.seen.tolist() == [3, 2**63 + 1]
    (tmp_path / "ancestry.npz").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"ancestry.npz: cannot be read \(.*\); give another --run-dir"):
        ancestry.read(tmp_path)
