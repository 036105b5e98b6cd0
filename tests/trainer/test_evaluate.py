"""`python -m trainer evaluate` reproduces a run's figures from its SavedModel alone."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from common.dataset import exclude_list, hashing, manifest
from common.dataset.schema import IMAGE
from common.errors import InputError
from common.normalize import picture
from preprocess import pipeline
from trainer import evaluate, main, tasks
from trainer.config.commands import EvaluateConfig
from trainer.data.examples import open_split
from trainer.evaluation import label_issues
from trainer.tasks import characters

pytestmark = pytest.mark.usefixtures("models_loaded_once")


def assert_same(actual, expected) -> None:
    """All figures, however deeply they lie, to 1e-6."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for name in expected:
            assert_same(actual[name], expected[name])
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for part, expected_part in zip(actual, expected, strict=True):
            assert_same(part, expected_part)
    else:
        assert actual == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize("part", [".", "model"])
def test_the_figures_are_those_of_the_run(finished_run, synthetic_digits, tmp_path, split, part):
    output = tmp_path / "figures.json"
    config = EvaluateConfig(str(finished_run / part), str(synthetic_digits), split, str(output))
    assert evaluate.run(config) == str(output)
    figures, run = json.loads(output.read_text()), json.loads((finished_run / "metrics.json").read_text())
    assert figures.pop("split") == split
    for name in ("temperature", "picture_temperature"):
        assert figures.pop(name) == pytest.approx(run[name])
    assert_same(figures, run[split])
    if split == "test":
        with np.load(tmp_path / "figures.npz") as ours, np.load(finished_run / "predictions.npz") as theirs:
            assert ours["labels"].tolist() == theirs["labels"].tolist()
            np.testing.assert_allclose(ours["probabilities"], theirs["probabilities"], atol=1e-6)


def test_from_the_command_line_the_figures_are_the_last_line(finished_run, synthetic_digits, capsys, caplog):
    with caplog.at_level("INFO", "trainer"):
        assert main.main(["evaluate", "--model", str(finished_run), "--data", str(synthetic_digits)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["accuracy"] == json.loads((finished_run / "metrics.json").read_text())["test"]["accuracy"]
    assert f"test accuracy {100 * figures['accuracy']:.2f} %" in caplog.text


def test_another_version_of_the_conversion_is_named(finished_run, synthetic_digits, monkeypatch, tmp_path, caplog):
    data = shutil.copytree(synthetic_digits, tmp_path / "data")
    described = json.loads((data / "manifest.json").read_text())
    described["request"]["conversion"] = 1
    (data / "manifest.json").write_text(json.dumps(described))
    old, new = picture.VERSION, picture.VERSION + 1
    monkeypatch.setitem(tasks.TASKS, "characters", replace(tasks.TASKS["characters"], conversion=new))
    figures = json.loads(evaluate.run(EvaluateConfig(str(finished_run), str(data))))
    assert f"{data}: its pictures were converted by version 1, the model converts by {old}" in caplog.text
    assert f"--model {finished_run}: converts pictures by version {old}, which this code is not ({new})" in caplog.text
    assert "pictures" not in figures


def test_several_views_are_averaged_and_always_the_same(finished_run, synthetic_digits):
    config = EvaluateConfig(str(finished_run), str(synthetic_digits), tta_views=3)
    once, again = evaluate.run(config), evaluate.run(config)
    assert once == again
    single = json.loads((finished_run / "metrics.json").read_text())["test"]
    assert json.loads(once)["loss"] != pytest.approx(single["loss"], abs=1e-4)
    assert json.loads(once)["accuracy"] > single["accuracy"] - 0.1


def test_wrong_labels_are_listed_with_the_keys_to_leave_them_out(finished_run, synthetic_digits, tmp_path):
    output, listed = tmp_path / "figures.json", tmp_path / "doubtful.tsv"
    config = EvaluateConfig(
        str(finished_run), str(synthetic_digits), "validation", str(output), label_issues=str(listed)
    )
    evaluate.run(config)
    with np.load(tmp_path / "figures.npz") as saved:
        labels, probabilities = saved["labels"], saved["probabilities"]
    loaded = manifest.read(synthetic_digits)
    examples = open_split(synthetic_digits, loaded, "validation")
    pixel_hashes = hashing.pixel_hashes(examples.take(np.arange(len(labels)))[IMAGE])
    doubted = exclude_list.read(str(listed))
    assert set(doubted.tolist()) <= set(pixel_hashes[probabilities.argmax(axis=1) != labels].tolist())

    wrong = np.arange(0, len(labels), 20)
    labels[wrong] = (labels[wrong] + 1) % 10
    predictions = {"labels": labels, "probabilities": probabilities}
    scores = characters.score(predictions, loaded.class_names, loaded.schema)
    listed.write_text(label_issues.listed(examples, scores, partial(characters.remarks, predictions, loaded.schema)))
    also_doubted = np.setdiff1d(exclude_list.read(str(listed)), doubted)
    assert len(also_doubted) >= len(wrong) / 2
    assert np.isin(also_doubted, pixel_hashes[wrong]).all()
    lines = listed.read_text().splitlines()
    shares = [float(re.fullmatch(r"[0-9a-f]{16}\t\d, looks like \d \((\d+\.\d)%\)", line)[1]) for line in lines]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] >= 90


def test_a_dataset_of_other_classes_is_refused(finished_run, make_source, tmp_path):
    letters = pipeline.run(make_source("emnist/letters").config(tmp_path / "data"))
    with pytest.raises(InputError, match=r"knows the classes 0 1 2 3 4 5 6 7 8 9; .* has the classes A B C"):
        evaluate.run(EvaluateConfig(str(finished_run), letters))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": "nowhere"}, "--model nowhere: holds neither a finished run nor a SavedModel"),
        ({"data": "nowhere"}, "nowhere: no manifest.json there"),
        ({"tta_views": 0}, "--tta-views 0: must be at least 1"),
        ({"augmentation": ("spin",)}, "unknown augmentation step"),
        ({"model": "s3://bucket/run"}, "s3://bucket/run: cannot read or write there"),
    ],
)
def test_bad_requests_are_refused(finished_run, synthetic_digits, changes, complaint):
    settings = {"model": str(finished_run), "data": str(synthetic_digits)} | changes
    with pytest.raises(InputError, match=complaint):
        evaluate.run(EvaluateConfig(**settings))


def test_a_damaged_model_is_named(finished_run, synthetic_digits, tmp_path):
    shutil.copytree(finished_run / "model", tmp_path / "model")
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(InputError, match="model: cannot be loaded"):
        evaluate.run(EvaluateConfig(str(tmp_path), str(synthetic_digits)))
