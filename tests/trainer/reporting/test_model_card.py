"""The model card describes the model, its accuracy and its limits."""

import json
import re

import numpy as np
import yaml

from trainer.reporting import model_card


def test_it_lies_with_the_model_and_has_the_figures_of_the_run(finished_run):
    text = (finished_run / "model" / "README.md").read_text()
    test = json.loads((finished_run / "metrics.json").read_text())["test"]
    assert f"| accuracy | {100 * test['accuracy']:.2f} %" in text
    assert f"| macro F1 | {100 * test['macro_f1']:.2f} %" in text
    assert f"| loss, calibrated | {test['loss_calibrated']:.4f} nats |" in text
    run = json.loads((finished_run / "run.json").read_text())
    assert run["data_fingerprint"] in text
    assert f"git checkout {run['commit']}" in text
    recipe = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert recipe == {"model": "dense", "epochs": 3, "global_batch_size": 64, "calibration_pictures": 17}
    weakest = min(test["per_class"], key=lambda name: test["per_class"][name]["recall"])
    assert f"- Weakest classes: `{weakest}` " in text
    assert "drawn from fonts" in text
    assert "written alike" not in text, "there are only digits"
    assert text.count("\n## ") == 6


def test_it_says_for_each_promise_what_is_reached(finished_run):
    text = (finished_run / "model" / "README.md").read_text()
    test = json.loads((finished_run / "metrics.json").read_text())["test"]
    loose = test["selective_prediction"][0]
    low, high = loose["error_interval_95"]
    coverage, error = f"{100 * loose['coverage']:.2f} % (", f"{100 * loose['error']:.2f} % ({100 * low:.2f} % to"
    assert f"| pixels | 5.0 % | {loose['threshold']:.5f} | {coverage}" in text
    assert f"| {error} {100 * high:.2f} %) |" in text
    assert "| photographs | 0.5 % | not reachable | | |" in text, "17 cannot prove so much"
    assert "of 17 test examples rendered as photographs" in text.lower()


def test_mistakes_among_characters_that_are_written_alike_are_counted():
    names = tuple("01OoIlAa")
    matrix = np.diag([10] * 8)
    for true, predicted, count in (("0", "O", 5), ("o", "O", 3), ("l", "1", 4), ("A", "a", 2), ("A", "0", 6)):
        matrix[names.index(true), names.index(predicted)] = count
    counted = {group.name: (group.mistakes, group.share) for group in model_card.look_alikes(matrix, names)}
    assert counted == {
        "0, O and o": (8, 8 / 20),
        "1, I and l": (4, 4 / 20),
        "upper and lower case of a letter": (5, 5 / 20),
    }


def test_where_no_two_classes_are_alike_nothing_is_said_of_it():
    assert model_card.look_alikes(np.ones((10, 10), int), tuple("0123456789")) == []
    letters = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert model_card.look_alikes(np.ones((26, 26), int), letters) == []
