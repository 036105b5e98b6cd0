"""Backward compatibility: a dataset folder and a run folder of commit 0653fc2, before datasets had a schema.

`stored/format1.zip` holds 320 drawn digits with a manifest of format 1, and a small net that was trained on them.
"""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.dataset import manifest
from common.dataset.schema import characters
from tests.support import ROOT
from tests.support.datasets import read_split
from trainer import check, evaluate, predict, report, train
from trainer.config import settings as configs
from trainer.config.commands import CheckConfig, EvaluateConfig, PredictConfig, ReportConfig
from trainer.runs import run_folder


def picture(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


DATA, RUN = "data/synthetic/digits/1.0.0", "runs/dense"  # as the run's configuration has them


@pytest.fixture
def stored(tmp_path, monkeypatch) -> Path:
    """The folder in which the two lie."""
    with zipfile.ZipFile(ROOT / "tests" / "stored" / "format1.zip") as archive:
        archive.extractall(tmp_path)
    for name, place in (("dataset", DATA), ("run", RUN)):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / name).rename(tmp_path / place)
    for large in (run_folder.REPORT, run_folder.CURVES):  # not kept in the archive, and not read again
        (tmp_path / RUN / large).parent.mkdir(exist_ok=True)
        (tmp_path / RUN / large).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_manifest_without_a_schema_is_of_characters_of_28_by_28(stored):
    loaded = manifest.read(stored / DATA)
    assert loaded.format_version == 1
    assert loaded.schema == characters(tuple("0123456789"))
    manifest.check_shards(stored / DATA, loaded)
    images, labels = read_split(stored / DATA, "test")
    assert images.shape == (160, 28, 28)
    assert np.bincount(labels).tolist() == list(loaded.splits["test"].class_histogram)
    (stored / "manifest.json").write_bytes(manifest.to_json(replace(loaded, format_version=2)))
    assert replace(manifest.read(stored), format_version=1) == loaded


def test_a_finished_run_is_found_done_checked_evaluated_and_predicts(stored, caplog):
    folder = stored / RUN
    recorded = json.loads((folder / "metrics.json").read_text())["test"]
    assert run_folder.read_results(folder).metrics["test"] == recorded
    before = (folder / "run.json").read_bytes()
    assert train.run(configs.read(folder / "config.yaml")) == RUN
    assert (folder / "run.json").read_bytes() == before
    check.run(CheckConfig(RUN))
    again = json.loads(evaluate.run(EvaluateConfig(RUN, DATA)))
    assert caplog.text.count(f"--model {RUN}: was exported before models had thresholds") == 1
    assert not {"selective_prediction", "pictures"} & again.keys()
    assert again["accuracy"] == recorded["accuracy"]
    assert again["loss"] == pytest.approx(recorded["loss"], rel=1e-5)
    (stored / "empty.png").write_bytes(picture(np.zeros((28, 28), np.uint8)))
    lines = Path(predict.run(PredictConfig(RUN, (DATA, "empty.png"), "out.jsonl"))).read_text().splitlines()
    *lines, empty = map(json.loads, lines)
    assert np.mean([line["character"] == line["label"] for line in lines]) == recorded["accuracy"]
    assert {line["accepted"] for line in lines} == {None}
    assert (empty["problem"], empty["accepted"]) == ("no-ink", False)
    assert caplog.text.count(f"--model {RUN}: was exported before models had thresholds; `accepted` is null") == 1
    report.run(ReportConfig((RUN,)))
    assert "Which readings to accept" not in (folder / run_folder.REPORT).read_text()


def test_a_training_that_was_interrupted_goes_on_from_its_checkpoint(stored):
    folder = stored / RUN
    with np.load(folder / "predictions.npz") as file:
        expected = file["probabilities"]
    last = max((folder / "checkpoints").iterdir())
    last.unlink()
    (folder / "metrics.json").unlink()
    config = configs.read(folder / "config.yaml")
    train.run(replace(config, verify_export=False))
    assert last.is_file()
    assert json.loads((folder / "run.json").read_text())["exit_reason"] == "completed"
    with np.load(folder / "predictions.npz") as file:
        np.testing.assert_allclose(file["probabilities"], expected, atol=1e-4)  # it may be another processor
