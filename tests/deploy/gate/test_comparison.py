"""The evaluation that the gate decides on: on which lines, kept for the next time, and of a model in use."""

import gzip
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from common import storage
from common.dataset import manifest as manifests
from common.errors import InputError
from deploy import serving as servings
from deploy.config.settings import GateConfig
from deploy.gate import comparison
from deploy.gate.decision import decide
from deploy.serving import Model, NewVersion
from tests.support.settings import changed
from trainer.config import settings as configs
from trainer.data import datasets
from trainer.evaluation import holdout
from trainer.evaluation.calibration import Calibration
from trainer.models import line_networks
from trainer.runs import run_folder
from trainer.serving import saved_model
from trainer.tasks import lines

pytestmark = [pytest.mark.usefixtures("models_loaded_once"), pytest.mark.tensorflow]


@pytest.fixture(scope="module")
def config(numbers_run):
    return replace(configs.read(numbers_run / "config.yaml"), run_dir=str(numbers_run))


def test_a_better_reader_replaces_one_that_reads_nothing(config, composed_lines, tmp_path):
    network_config, schema = changed(config, run_dir=str(tmp_path)), manifests.read(composed_lines).schema
    keras.utils.set_random_seed(0)
    network = line_networks.build(network_config, schema)
    module = saved_model.to_module(network, lines.TASK, schema, Calibration())
    saved_model.save_saved_model(module, tmp_path / "model")
    model = Model(servings.fingerprint(tmp_path / "model"), "an earlier run", "data", 0.0, "first")
    test = datasets.open(str(composed_lines), "", 1).examples("test")
    seen = holdout.pixel_hashes(test)[:20]
    extra = {comparison.TRAINED_ON: comparison.to_npy(seen)}
    place = tmp_path / "serving"
    assert (
        servings.promote(servings.read(place), NewVersion(tmp_path / "model", model, extra, lambda copy: None), 2) == 1
    )

    path = storage.to_path(str(tmp_path / "evaluation.npz"))
    evaluation, _, was_there = comparison.evaluate(config, servings.read(place), path)
    decision = decide(evaluation, GateConfig())
    assert (decision.outcome, was_there) == ("promote", False)
    assert decision.reason.startswith("better than version 1: error rate ")
    assert decision.gate.left_out + decision.reporting.left_out == 20
    assert decision.gate.num_groups == decision.gate.num_examples > 20, "each line is composed of its own"
    again, _, is_there = comparison.evaluate(config, servings.read(place), path)
    assert is_there
    assert decide(again, GateConfig()) == decision
    comparison.verify(Path(config.run_dir) / "model", config, again)


def test_the_gates_half_is_chosen_by_the_names_of_groups(config, composed_lines, tmp_path):
    path = storage.to_path(str(tmp_path / "evaluation.npz"))
    nothing_served = servings.read(tmp_path / "serving")
    evaluation, *_ = comparison.evaluate(config, nothing_served, path)
    with gzip.open(composed_lines / "examples-test.jsonl.gz", "rt") as file:
        names = [json.loads(line)["group"] for line in file]
    np.testing.assert_array_equal(evaluation.is_gate, holdout.decide_by_group(names))
    assert evaluation.group_by == "line"


def test_without_the_names_of_groups_it_is_told_what_to_do(config, composed_lines, tmp_path):
    nameless = shutil.copytree(composed_lines, tmp_path / "data")
    (nameless / "examples-test.jsonl.gz").unlink()
    path = storage.to_path(str(tmp_path / "evaluation.npz"))
    with pytest.raises(InputError, match=r"examples-test.jsonl.gz: does not name the group .* with --overwrite"):
        comparison.evaluate(changed(config, data=str(nameless)), servings.read(tmp_path / "serving"), path)


def test_what_an_earlier_version_stored_of_characters_is_still_read(finished_run, tmp_path):
    config = replace(configs.read(finished_run / "config.yaml"), run_dir=str(finished_run))
    path = storage.to_path(str(tmp_path / "evaluation.npz"))
    nothing_served = servings.read(tmp_path / "serving")
    first, *_ = comparison.evaluate(config, nothing_served, path)
    with np.load(path) as file:
        arrays = dict(file)
    assert not [name for name in arrays if "groups" in name]
    facts = json.loads(str(arrays.pop("facts")))
    del facts["group_by"]
    content = io.BytesIO()
    np.savez_compressed(content, facts=json.dumps(facts), **arrays)
    path.write_bytes(content.getvalue())
    again, _, was_there = comparison.evaluate(config, nothing_served, path)
    assert was_there
    assert decide(again, GateConfig()) == decide(first, GateConfig())
    assert run_folder.read_results(finished_run).metrics["test"]["num_examples"] == len(first.is_gate)
