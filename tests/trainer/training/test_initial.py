"""A training that begins with the weights of an earlier run: what is carried over, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from common import config_io, storage
from common.dataset import schema as schemas
from common.errors import InputError
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from tests.support.datasets import with_splits
from tests.support.settings import changed, train_config
from trainer import tasks, train
from trainer.config import settings as configs
from trainer.config.settings import TrainConfig
from trainer.reporting import reproduction
from trainer.runs import run_folder
from trainer.serving import loading, saved_model
from trainer.training import initial

LINES = {"lines": {"filters": [4, 8, 8], "picture_blocks": 1, "channels": 16, "line_blocks": 1}}
ARTICLE_LINES = {"article_lines": {"filters": [4, 4, 4, 4, 4], "units": 8}}
NO_STEP = {"steps": 1, "epochs": None, "learning_rate": 1e-30}
"""One step that is too small to change a weight."""


def config_for(data: Path, run_dir: Path, **settings) -> TrainConfig:
    defaults = {"epochs": 1, "model": "dense", "global_batch_size": 64, "verify_export": False}
    return train_config(str(data), str(run_dir), **(defaults | settings))


def lines_of(characters: str, height: int = 32) -> schemas.Schema:
    return schemas.lines(tuple(characters), (), (height, 64), 10, 3)


def network(schema: schemas.Schema, seed: int, **settings) -> tuple[keras.Model, TrainConfig]:
    """A network whose every weight, statistics included, is another."""
    config = train_config("d", "r", **settings)
    keras.utils.set_random_seed(seed)
    model = tasks.of(schema).build(config, schema, None)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, weight.shape).astype(np.float32) for weight in model.weights])
    return model, config


def carry_over(tmp_path: Path, known: schemas.Schema, schema: schemas.Schema, changes=(), **settings):
    """The two networks, of the earlier run and of the new one, after the weights were carried over; and before."""
    origin, of_origin = network(known, 1, **settings)
    saved_model.save_keras(origin, tmp_path / run_folder.KERAS_MODEL)
    model, config = network(schema, 2, **(settings | dict(changes)))
    drawn = keras.models.clone_model(model)
    drawn.set_weights(model.get_weights())
    results = SimpleNamespace(folder=tmp_path, schema=known, config=of_origin)
    initial.carry_over(model, results, config, schema, tasks.of(schema).last_layers)
    return origin, model, drawn


def assert_carried_over(origin, model, drawn, places: dict[int, int], last_layers: tuple[str, ...]) -> None:
    """`places` are those of the known outputs: in the new network, and in the earlier one."""
    for layer in model.layers:
        for weight, known, new in zip(
            *(network.get_layer(layer.name).get_weights() for network in (model, origin, drawn)), strict=True
        ):
            if layer.name not in last_layers:
                np.testing.assert_array_equal(weight, known, err_msg=layer.name)
                continue
            for place in range(weight.shape[-1]):
                expected = known[..., places[place]] if place in places else new[..., place]
                np.testing.assert_array_equal(weight[..., place], expected, err_msg=f"{layer.name} {place}")


def test_classes_that_both_know_keep_their_rows_in_any_order(tmp_path, caplog):
    known, schema = schemas.characters(tuple("abcd")), schemas.characters(tuple("dxba"))
    with caplog.at_level("INFO", "trainer"):
        networks = carry_over(tmp_path, known, schema, model="resnet_small", resnet_small={"filters": [4, 8, 8]})
    assert_carried_over(*networks, {0: 3, 2: 1, 3: 0}, ("logits",))
    assert "which knows 3 of 4 names" in caplog.text
    assert "new, with weights drawn for them: x" in caplog.text
    assert "known to it only, and forgotten: c" in caplog.text


@pytest.mark.parametrize("settings", [{"model": "lines"} | LINES, {"model": "article_lines"} | ARTICLE_LINES])
def test_characters_of_lines_keep_theirs_in_both_last_layers_and_the_blank_stays_last(tmp_path, settings, caplog):
    with caplog.at_level("INFO", "trainer"):
        networks = carry_over(tmp_path, lines_of(" abc"), lines_of("abzéü"), **settings)
    assert_carried_over(*networks, {0: 1, 1: 2, 5: 4}, ("logits", "shortcut"))
    assert "forgotten: ' ' c" in caplog.text


def test_a_network_that_knows_none_of_the_names_is_a_beginning_all_the_same(tmp_path):
    networks = carry_over(tmp_path, lines_of("abc"), lines_of("xy"), model="lines", **LINES)
    assert_carried_over(*networks, {2: 3}, ("logits", "shortcut"))


def test_settings_that_change_shapes_are_named_with_what_is_right(tmp_path):
    wide = {"lines": LINES["lines"] | {"channels": 24}}
    complaint = "its network is another: --lines.channels is 24, and there 16; give the same"
    with pytest.raises(InputError, match=complaint):
        carry_over(tmp_path, lines_of("abc"), lines_of("abc"), wide, model="lines", **LINES)


def test_settings_that_change_no_shape_may_be_others(tmp_path):
    without = {"lines": LINES["lines"] | {"dropout": 0.0}}
    networks = carry_over(tmp_path, lines_of("abc"), lines_of("abc"), without, model="lines", **LINES)
    assert_carried_over(*networks, {place: place for place in range(4)}, ("logits", "shortcut"))


@pytest.fixture(scope="module")
def without_validation(synthetic_digits, shared_folder) -> Path:
    """The drawn digits: the validation split, which `finished_run` has seen, is left away."""
    return (
        shared_folder("no-validation", lambda folder: with_splits(synthetic_digits, folder / "d", ("train", "test")))
        / "d"
    )


def test_it_goes_on_with_other_classes_and_says_where_its_weights_are_from(finished_run, make_source, tmp_path):
    letters_and_digits = pipeline.run(make_source("emnist/balanced", train=300, test=60).config(tmp_path / "data"))
    run = Path(
        train.run(config_for(letters_and_digits, tmp_path / "run", initialize_from=str(finished_run), **NO_STEP))
    )
    origin, model = (keras.models.load_model(folder / "model.keras") for folder in (finished_run, run))
    results = run_folder.read_results(run)
    names = results.schema.vocabulary
    kernels = [network.get_layer("logits").get_weights()[0] for network in (origin, model)]
    for place, name in enumerate("0123456789"):
        np.testing.assert_array_equal(kernels[1][:, names.index(name)], kernels[0][:, place])
    assert len(np.unique(kernels[1], axis=1).T) == len(names) == 47
    fingerprint = loading.fingerprint(str(finished_run))
    assert results.run_info["initialized_from"] == [
        {"run": str(finished_run), "fingerprint": fingerprint, "dataset": "synthetic/digits"}
    ]
    for page in (run / "report" / "index.html", run / "model" / "README.md"):
        assert str(finished_run) in page.read_text()
        assert fingerprint in page.read_text()
    assert f"--initialize-from {finished_run}" in reproduction.command(results)


def test_without_a_step_the_figures_of_the_run_are_reproduced(finished_run, without_validation, tmp_path):
    config = config_for(without_validation, tmp_path / "run", initialize_from=str(finished_run), **NO_STEP)
    again = run_folder.read_results(Path(train.run(config)))
    first = run_folder.read_results(finished_run)
    for name, values in first.predictions.items():
        np.testing.assert_array_equal(again.predictions[name], values)
    for name in ("accuracy", "loss", "confusion_matrix"):
        assert again.metrics["test"][name] == first.metrics["test"][name]


@pytest.fixture(scope="module")
def drawn_lines(shared_folder) -> Path:
    def build(folder: Path) -> None:
        flags = {"num_lines": 32, "line_height": 32, "max_width": 320, "max_rejected": 99}
        pipeline.run(PreprocessConfig("synthetic/lines", ("synthetic",), str(folder), **flags))

    return shared_folder("drawn-lines", build) / "synthetic" / "lines" / "1.0.0"


@pytest.mark.thorough
def test_a_reader_of_lines_without_a_step_reads_the_same(drawn_lines, tmp_path):
    """One with layers whose names Keras would number, and without statistics that a step changes."""
    data = with_splits(drawn_lines, tmp_path / "data", ("train", "test"))
    settings = {"model": "article_lines", "global_batch_size": 8} | ARTICLE_LINES
    first = Path(train.run(config_for(data, tmp_path / "first", steps=3, epochs=None, **settings)))
    config = config_for(data, tmp_path / "again", initialize_from=str(first), **(settings | NO_STEP))
    again = run_folder.read_results(Path(train.run(config)))
    for name, values in run_folder.read_results(first).predictions.items():
        np.testing.assert_array_equal(again.predictions[name], values)


@pytest.fixture
def run_on_lines(finished_run, tmp_path) -> Path:
    """What a finished run of a reader of lines says of itself."""
    folder = tmp_path / "lines"
    shutil.copytree(finished_run, folder)
    run_info = json.loads((folder / "run.json").read_text()) | {"schema": config_io.to_plain(lines_of("abc"))}
    (folder / "run.json").write_text(json.dumps(run_info))
    (folder / "config.yaml").write_bytes(configs.to_yaml(config_for(Path("data"), folder, model="article_lines")))
    return folder


@pytest.mark.parametrize(
    ("place", "schema", "model", "complaint"),
    [
        ("", lines_of("abc", height=48), "article_lines", "lines of a height of 32, .* have 48; .* --line-height 32"),
        (
            "",
            schemas.characters(tuple("ab")),
            "cnn",
            "is of the task lines, and the dataset of characters; give",
        ),
        ("", lines_of("abc"), "lines", "--model lines: .* has the network article_lines; give --model article_lines"),
        ("model", lines_of("abc"), "article_lines", "is a SavedModel; give the run folder"),
        ("none", lines_of("abc"), "article_lines", "holds no finished run"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(run_on_lines, place, schema, model, complaint):
    config = config_for(Path("data"), Path("run"), model=model, initialize_from=str(run_on_lines / place))
    with pytest.raises(InputError, match=complaint):
        initial.open_run(config, schema)


def test_images_of_another_size_are_refused_with_the_size_that_fits(finished_run):
    config = config_for(Path("data"), Path("run"), initialize_from=str(finished_run))
    with pytest.raises(InputError, match=r"takes images of 28x28, and the dataset's are 64x48; .* --image-size 28x28"):
        initial.open_run(config, schemas.characters(tuple("0123456789"), 64, 48))


def test_what_is_refused_leaves_no_run(finished_run, without_validation, synthetic_digits, tmp_path):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(finished_run, unfinished)
    (unfinished / "run.json").write_text(json.dumps({"exit_reason": "StoppedError"}))
    damaged = tmp_path / "damaged"
    shutil.copytree(finished_run, damaged)
    (damaged / "model.keras").write_bytes(b"damaged")
    config = config_for(without_validation, tmp_path / "run", **NO_STEP)
    for settings, complaint in (
        ({"initialize_from": str(unfinished)}, f"--initialize-from {unfinished}: holds no finished run"),
        ({"initialize_from": str(damaged)}, "model.keras: cannot be loaded"),
        ({"initialize_from": str(tmp_path / "run")}, "run: holds no finished run"),
        ({"initialize_from": "s3://bucket/run"}, "s3://bucket/run: cannot read or write there"),
        ({"initialize_from": str(finished_run), "model": "cnn"}, "--model cnn: .*; give --model dense"),
        ({"initialize_from": str(finished_run), "data": str(synthetic_digits)}, "of the 4.. validation examples, more"),
    ):
        with pytest.raises(InputError, match=complaint):
            train.run(changed(config, **settings))
        assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"holds another run \(other initialize_from\)"):
        train.run(replace(config_for(synthetic_digits, finished_run, epochs=3), initialize_from=str(finished_run)))


def test_run_data_and_new_run_may_lie_in_a_bucket_and_it_goes_on_without_the_first(
    bucket, finished_run, without_validation, tmp_path
):
    """The training examples are streamed, and recorded all the same."""
    first, data, run = (storage.to_path(f"{bucket}/{name}") for name in ("first", "data", "run"))
    first.upload_from(finished_run)
    data.upload_from(without_validation)
    settings = {"initialize_from": str(first), "in_memory_limit_mb": 0, "cache_dir": str(tmp_path / "cache")}
    config = config_for(data, run, **(settings | NO_STEP))
    assert train.run(config) == str(run)
    seen = np.load(finished_run / "trained_on.npy")
    assert set(seen.tolist()) == set(run_folder.read_hashes(run / run_folder.TRAINED_ON).tolist())
    figures = (run / run_folder.METRICS).read_text()
    shutil.rmtree(tmp_path / "cache")
    first.rmtree()
    (run / run_folder.KERAS_MODEL).unlink()
    assert train.run(config) == str(run)
    assert (run / run_folder.METRICS).read_text() == figures
    assert (run / run_folder.KERAS_MODEL).is_file()
