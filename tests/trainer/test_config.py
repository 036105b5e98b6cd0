"""The training configuration: defaults, recipes, files, and when two runs are the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from common import flags
from common.errors import InputError
from tests.support.settings import changed, train_config
from trainer.config import recipes
from trainer.config import settings as configs
from trainer.config.settings import TrainConfig
from trainer.models.settings import CnnConfig, DenseConfig

RUN = train_config(data="d", run_dir="r")


def test_the_defaults_are_the_articles_hyper_parameters():
    assert DenseConfig().hidden_units == (50, 50)
    cnn = CnnConfig()
    assert (cnn.first_filters, cnn.first_kernel, cnn.first_stride) == (32, 5, 2)
    assert (cnn.second_filters, cnn.second_kernel, cnn.pool) == (64, 3, 2)
    assert (cnn.pool_dropout, cnn.hidden_units, cnn.hidden_dropout) == (0.25, 128, 0.25)


@pytest.mark.parametrize(
    ("recipe", "expected"), [("article_dense", ("dense", 5, 100)), ("article_cnn", ("cnn", 50, 1024))]
)
def test_the_articles_recipes_are_in_the_package(recipe, expected):
    config = recipes.defaults(recipe)
    assert (config.model, config.epochs, config.global_batch_size) == expected
    assert (config.optimizer.name, config.schedule.name) == ("adam", "constant")
    assert config.augmentation.steps == ()
    assert config.data.folder is tyro.MISSING


@pytest.mark.parametrize("recipe", sorted(recipes.recipes()))
def test_every_recipe_passes_the_check(recipe):
    configs.check(changed(recipes.defaults(recipe), data="d", run_dir="r"))


def test_without_a_length_it_is_ten_epochs():
    assert configs.resolve(RUN).epochs == 10
    assert configs.resolve(replace(RUN, steps=7)).epochs is None


@pytest.mark.parametrize("flags", [["--steps", "100"], ["--seed=3", "--steps=100"]])
def test_a_length_on_the_command_line_replaces_the_recipes(flags):
    config = recipes.defaults("article_cnn", flags)
    assert (config.epochs, config.global_batch_size) == (None, 1024)
    assert recipes.defaults("article_cnn", ["--seed", "3"]).epochs == 50


def test_settings_override_a_recipe_name_by_name():
    recipe = {"epochs": 3, "seed": 1, "cnn": {"pool": 3, "first_filters": 8}}
    assert recipes.override(recipe, {"max_minutes": 5, "cnn": {"pool": 4}}) == {
        "max_minutes": 5,
        "seed": 1,
        "cnn": {"pool": 4, "first_filters": 8},
    }


def test_a_saved_configuration_can_be_given_back(tmp_path):
    config = changed(RUN, epochs=3, learning_rate=1e-4, cnn=CnnConfig(pool_dropout=0.5))
    (tmp_path / "config.yaml").write_bytes(configs.to_yaml(config))
    assert configs.read(tmp_path / "config.yaml") == config
    assert recipes.defaults(str(tmp_path / "config.yaml")) == config


def test_a_file_may_hold_a_few_settings_only(tmp_path):
    (tmp_path / "few.yaml").write_text("epochs: 2\ncnn: {pool: 3}\nlearning_rate: 1e-4\n")
    config = recipes.defaults(str(tmp_path / "few.yaml"))
    assert (config.epochs, config.cnn.pool, config.cnn.first_filters, config.optimizer.learning_rate) == (
        2,
        3,
        32,
        1e-4,
    )


def test_a_file_may_change_a_few_settings_of_a_recipe_or_another_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("wide.yaml").write_text("config: article_cnn\ncnn: {pool: 3}\n")
    Path("long.yaml").write_text("config: wide.yaml\nsteps: 7\ncnn: {first_filters: 8}\n")
    config = recipes.defaults("long.yaml")
    assert (config.model, config.epochs, config.steps, config.global_batch_size) == ("cnn", None, 7, 1024)
    assert (config.cnn.pool, config.cnn.first_filters) == (3, 8)


FLAT = """
run_dir: there
model: strong
strong: {blocks: 2}
data: somewhere
cache_dir: /cache
optimizer: sgd
learning_rate: 0.5
schedule: cosine
augmentation: [rotate]
steps_per_call: 4
checkpoint_steps: 7
"""
GROUPS = """
run_dir: there
model: resnet_small
resnet_small: {blocks: 2}
data: {folder: somewhere, cache_dir: /cache}
optimizer: {name: sgd, learning_rate: 0.5}
schedule: {name: cosine}
augmentation: {steps: [rotate]}
execution: {steps_per_execution: 4}
checkpoint: {steps: 7}
"""


def test_settings_may_stand_in_their_groups_or_without_and_under_earlier_names(tmp_path):
    for name, text in (("flat", FLAT), ("groups", GROUPS)):
        (tmp_path / f"{name}.yaml").write_text(text)
    config = recipes.defaults(str(tmp_path / "groups.yaml"))
    assert recipes.defaults(str(tmp_path / "flat.yaml")) == config
    assert (config.resnet_small.blocks, config.checkpoint.steps, config.data.cache_dir) == (2, 7, "/cache")
    # Either way, one file overrides another setting by setting.
    (tmp_path / "few.yaml").write_text(f"config: {tmp_path / 'groups.yaml'}\nlearning_rate: 0.1\n")
    few = recipes.defaults(str(tmp_path / "few.yaml"))
    assert few == changed(config, learning_rate=0.1)


def test_a_setting_that_is_given_twice_is_refused(tmp_path):
    (tmp_path / "twice.yaml").write_text("optimizer: {learning_rate: 0.1}\nlearning_rate: 0.2\n")
    with pytest.raises(InputError, match=r"twice.yaml: learning_rate is given twice"):
        recipes.defaults(str(tmp_path / "twice.yaml"))


def test_files_that_are_based_on_each_other_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("config: b.yaml\n")
    Path("b.yaml").write_text("config: a.yaml\n")
    with pytest.raises(InputError, match=r"--config a.yaml: is based on itself, by way of a.yaml and b.yaml"):
        recipes.defaults("a.yaml")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("epoch: 2", "unknown name epoch; known: .*epochs"), ("model: cnnn", "cnnn.*dense.*cnn"), ("epochs: few", "few")],
)
def test_a_bad_file_is_refused_by_name(tmp_path, text, complaint):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=complaint) as caught:
        recipes.defaults(str(tmp_path / "bad.yaml"))
    assert "bad.yaml" in str(caught.value)


def test_an_unknown_recipe_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="recipes: article_cnn, article_dense, article_lines, balanced, cnn5"):
        recipes.defaults("article_cn")


def test_runs_are_the_same_wherever_they_lie_and_however_often_they_are_saved():
    other = changed(RUN, data="elsewhere", run_dir="there", checkpoint_minutes=9.0, profile=True, cluster_timeout=1.0)
    other = replace(other, verify_export=False)
    assert configs.differences(RUN, other) == []
    assert configs.fingerprint(RUN) == configs.fingerprint(other) != configs.fingerprint(replace(RUN, seed=1))
    assert configs.differences(RUN, replace(RUN, cnn=CnnConfig(pool=3), seed=1)) == ["seed", "cnn.pool"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"epochs": 0}, "--epochs 0: must be at least 1"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0: must be a number above 0"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
        ({"seed": -1}, "--seed -1"),
        ({"cnn": CnnConfig(hidden_dropout=1.0)}, "--cnn.hidden-dropout 1.0: must be at least 0 and below 1"),
        ({"cnn": CnnConfig(pool=0)}, "--cnn.pool 0: must be at least 1"),
        ({"epochs": 3, "steps": 5}, "--epochs and --steps: give one length only"),
        ({"max_minutes": 0.0}, "--max-minutes 0.0: must be a number above 0"),
        ({"label_smoothing": 1.0}, "--label-smoothing 1.0: must be at least 0 and below 1"),
        ({"warmup_fraction": -0.1}, "--warmup-fraction -0.1"),
        ({"clip_norm": 0.0}, "--clip-norm 0.0"),
        ({"weight_decay": -1.0}, "--weight-decay -1.0: must be a number from 0"),
        ({"in_memory_limit_mb": -1}, "--in-memory-limit-mb -1"),
        ({"steps_per_execution": 0}, "--steps-per-execution 0"),
        ({"augmentation": ("rotat(3)",)}, "unknown augmentation step 'rotat'; known: rotate, scale"),
        ({"dense": DenseConfig((50, 0))}, "--dense.hidden-units 0: must be at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused_by_their_flag(changes, complaint):
    configs.check(RUN)
    with pytest.raises(InputError, match=complaint):
        configs.check(changed(RUN, **changes))


VERTEX = {
    "AIP_MODEL_DIR": "gs://bucket/out/model/",
    "AIP_CHECKPOINT_DIR": "gs://bucket/out/checkpoints/",
    "AIP_TENSORBOARD_LOG_DIR": "gs://bucket/out/logs/",
}


def test_vertex_ai_names_the_run_folder_and_a_flag_overrides_it(monkeypatch, tmp_path):
    (tmp_path / "recipe.yaml").write_text("run_dir: runs/of-the-recipe\n")
    recipe = str(tmp_path / "recipe.yaml")
    assert recipes.defaults(recipe).run_dir == "runs/of-the-recipe"
    for name, value in VERTEX.items():
        monkeypatch.setenv(name, value)
    assert recipes.defaults(recipe).run_dir == "gs://bucket/out"
    assert recipes.defaults(None).run_dir == "gs://bucket/out"
    given = ["--data", "d", "--run-dir", "runs/of-the-flag"]
    parsed = flags.parse(TrainConfig, given, "train", default=recipes.defaults(recipe, given))
    assert parsed.run_dir == "runs/of-the-flag"


def test_parts_of_a_run_in_several_folders_are_refused(monkeypatch):
    for name, value in (VERTEX | {"AIP_CHECKPOINT_DIR": "gs://bucket/else/checkpoints"}).items():
        monkeypatch.setenv(name, value)
    complaint = "AIP_CHECKPOINT_DIR=gs://bucket/else/checkpoints: must be checkpoints beside the model; or give --run"
    with pytest.raises(InputError, match=complaint):
        recipes.defaults(None)
