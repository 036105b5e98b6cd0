"""The interface for another task: one that counts strokes needs only its own record.

This file is all that the task takes. It writes its dataset folder with `common.dataset`. An error is a wrong count, the
loss is squared, and there are no classes. The code that all tasks share then trains, resumes, exports, checks,
evaluates, reports and gates it.
"""

import hashlib
import json
import signal
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from common import storage
from common.dataset import manifest as manifests
from common.dataset import records
from common.dataset.manifest import Manifest, Request, Shard, Split
from common.dataset.schema import IMAGE, Batch, Feature, Schema
from common.errors import InputError, StoppedError
from deploy import serving as servings
from deploy.config.settings import GateConfig
from deploy.gate import comparison
from deploy.gate.decision import decide
from deploy.serving import Model, NewVersion
from tests.support.settings import train_config
from trainer import check, evaluate, export, report, tasks, train
from trainer.config.commands import CheckConfig, EvaluateConfig, ExportConfig, ReportConfig
from trainer.config.settings import TrainConfig
from trainer.evaluation.metrics import Metrics
from trainer.evaluation.scores import Scores
from trainer.serving import loading
from trainer.tasks import characters
from trainer.tasks.task import Task
from trainer.training import training_step

HEIGHT, WIDTH, MOST = 12, 30, 6
SCHEMA = Schema("strokes", (Feature(IMAGE, "uint8", (HEIGHT, WIDTH, 1)), Feature("strokes", "int64", bound=MOST)), ())


# The task.


def build(config, schema, parts) -> keras.Model:
    image = keras.Input(schema.image_shape, name=IMAGE)
    columns = keras.layers.AveragePooling2D((HEIGHT, 1), name="columns")(keras.layers.Rescaling(1 / 255)(image))
    edges = keras.layers.Conv2D(4, (1, 2), activation="relu", name="edges")(columns)
    total = keras.layers.Flatten(name="flat")(edges)
    return keras.Model(image, keras.layers.Dense(1, dtype="float32", name="count")(total))


def make_loss(config, manifest):
    def loss(batch, counted):
        squares = tf.square(counted[:, 0] - tf.cast(batch["strokes"], tf.float32))
        return squares, squares

    return loss


def errors(batch, counted):
    wrong = tf.cast(tf.cast(tf.round(counted[:, 0]), tf.int64) != batch["strokes"], tf.int64)
    return wrong, tf.ones_like(wrong)


def measure(predictions) -> Metrics:
    difference = predictions["counted"] - predictions["strokes"]
    return Metrics(len(difference), float((np.abs(difference) < 0.5).mean()), float((difference**2).mean()))


def score(predictions, vocabulary, schema) -> Scores:
    wrong = (np.rint(predictions["counted"]) != predictions["strokes"]).astype(np.int64)
    return Scores(wrong, np.ones_like(wrong), 1 - np.abs(predictions["counted"] - np.rint(predictions["counted"])))


def figures(predictions, schema, temperature) -> dict:
    return {
        **vars(measure(predictions)),
        "off_by": float(np.abs(predictions["counted"] - predictions["strokes"]).mean()),
    }


def signatures(network, schema, calibration, novelty) -> dict:
    @tf.function(input_signature=[tf.TensorSpec([None, *schema.image_shape], tf.uint8, name="image")])
    def image_tensor(image):
        return {"counted": network(tf.cast(image, tf.float32), training=False)[:, 0]}

    return {"image_tensor": image_tensor}


def serve(model):
    count = model.signatures["image_tensor"]
    return lambda batch: {"strokes": batch["strokes"], **count(image=tf.cast(batch[IMAGE], tf.uint8))}


STROKES = Task(
    build=build,
    last_layers=(),
    augment=characters.augment,
    head=lambda network: lambda batch, training: network(batch[IMAGE], training=training),
    make_loss=make_loss,
    can_compile_loss=True,
    errors=errors,
    answer=lambda batch, counted: {"strokes": batch["strokes"], "counted": counted[:, 0]},
    measure=measure,
    accuracy_in_words=lambda accuracy: f"{accuracy:.1%} counted right",
    show_epoch=lambda predictions, schema: [],
    plateau=-1,
    fit_temperature=lambda predictions: 1.0,
    fit_novelty=None,
    read_photographs=None,
    calibrate=lambda predictions, temperature: predictions,
    score=score,
    figures=figures,
    headlines=lambda figures: [f"{figures['accuracy']:.1%} counted right"],
    text=None,
    titles=lambda batch, schema: [str(count) for count in batch["strokes"]],
    remarks=lambda predictions, schema, numbers: [f"{count:.1f} strokes" for count in predictions["counted"][numbers]],
    signatures=signatures,
    serve=serve,
    probe=lambda model, examples: "images",
    request=lambda model, image: lambda: model.signatures["image_tensor"](image=image[None]),
    make_predict=None,
    portable=None,
    conversion=1,
    card=lambda results: f"Counts strokes; {results.metrics['test']['accuracy']:.1%} right.",
    page=lambda results, price: f"<h1>{results.metrics['test']['off_by']:.2f} strokes off</h1>",
)


# Its data.


def draw(count: int, seed: int) -> Batch:
    random = np.random.default_rng(seed)
    batch = SCHEMA.empty(count)
    batch["strokes"][:] = random.integers(0, MOST, count)
    for image, strokes in zip(batch[IMAGE], batch["strokes"], strict=True):
        for place in random.permutation(WIDTH // 3)[:strokes]:
            image[random.integers(0, 3) : random.integers(9, HEIGHT), 3 * place + 1] = random.integers(150, 256)
    return batch


def write_dataset(folder: Path) -> Path:
    folder.mkdir(parents=True)
    splits = {}
    for seed, (name, count) in enumerate({"train": 900, "validation": 200, "test": 600}.items()):
        content = records.encode(draw(count, seed), SCHEMA)
        shard = Shard(f"toy-{name}.tfrecord-00000-of-00001", count, len(content), hashlib.sha256(content).hexdigest())
        (folder / shard.name).write_bytes(content)
        splits[name] = Split(count, (shard,))
    request = Request("toy/strokes", (), 1, 0.1, 0.1, None, False, 0)
    fingerprint = manifests.fingerprint(SCHEMA, splits)
    manifest = Manifest(manifests.FORMAT_VERSION, request, SCHEMA, "upright", splits, 0, fingerprint, {}, "none")
    (folder / manifests.FILE_NAME).write_bytes(manifests.to_json(manifest))
    return folder


# What all tasks share.


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.TASKS, "strokes", STROKES)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "toy" / "strokes" / "1.0.0")


def config(dataset: Path, run: Path, **settings) -> TrainConfig:
    common = {"epochs": 8, "global_batch_size": 50, "learning_rate": 0.03, "select": "best", "ema_decay": 0.9}
    common |= {"augmentation": ("shift(1)",), "early_stopping_epochs": 8, "verify_export": False}
    return train_config(str(dataset), str(run), **(common | settings))


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> Path:
    return Path(train.run(config(dataset, tmp_path_factory.mktemp("runs") / "strokes")))


def test_it_is_trained_and_selected_by_its_errors(run):
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = max(epochs, key=lambda line: line["validation"]["accuracy"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["selected_epoch"] == best["epoch"]
    assert metrics["validation"]["accuracy"] == best["validation"]["accuracy"]
    assert metrics["test"]["accuracy"] > 0.6, "one in six is chance"
    assert metrics["test"].keys() == {"num_examples", "accuracy", "loss", "off_by", "selective_prediction"}


def test_the_log_of_its_training_shows_its_accuracy_in_its_own_words(dataset, tmp_path, caplog):
    settings = replace(config(dataset, tmp_path / "run", steps=3, epochs=None), early_stopping_epochs=None)
    with caplog.at_level("INFO"):
        train.run(settings)
    (epoch,) = (record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch 1"))
    assert epoch.count("% counted right") == 2, "of training and of validation"
    assert "accuracy" not in epoch


def test_it_goes_on_where_it_was_interrupted_to_the_same_bits(dataset, run, tmp_path, monkeypatch):
    make_train_steps = training_step.make_train_steps

    def stopped_at_the_fifth_call(*arguments):
        train_steps, calls = make_train_steps(*arguments), []

        def take(*call):
            calls.append(call)
            if len(calls) == 5:
                signal.raise_signal(signal.SIGTERM)
            return train_steps(*call)

        return take

    short_calls = config(dataset, tmp_path / "run", steps_per_execution=7)
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(training_step, "make_train_steps", stopped_at_the_fifth_call)
        train.run(short_calls)
    assert not (tmp_path / "run" / "model").exists()
    train.run(short_calls)
    with np.load(run / "predictions.npz") as whole, np.load(tmp_path / "run" / "predictions.npz") as resumed:
        assert set(whole) == {"strokes", "counted"}
        for name in whole:
            np.testing.assert_array_equal(whole[name], resumed[name])


def test_its_export_is_checked_evaluated_and_reported(dataset, run, tmp_path):
    check.run(CheckConfig(str(run)))
    test = json.loads((run / "metrics.json").read_text())["test"]
    settings = EvaluateConfig(
        str(run), str(dataset), "train", str(tmp_path / "out.json"), label_issues=str(tmp_path / "x")
    )
    evaluate.run(settings)
    assert json.loads(evaluate.run(EvaluateConfig(str(run), str(dataset))))["off_by"] == pytest.approx(test["off_by"])
    assert all("strokes" in line for line in (tmp_path / "x").read_text().splitlines())
    assert "strokes off" in Path(report.run(ReportConfig((str(run),)))).read_text()
    assert (run / "model" / "README.md").read_text().startswith("Counts strokes")


def test_the_gate_lets_a_better_one_replace_it(dataset, run, tmp_path):
    poor = config(dataset, tmp_path / "poor", steps=3, epochs=None, learning_rate=0.001, select="last")
    poor = replace(poor, early_stopping_epochs=None)
    train.run(poor)
    place = tmp_path / "serving"

    def outcome(settings: TrainConfig, gate: GateConfig):
        path = storage.to_path(settings.run_dir) / "evaluation.npz"
        evaluation, _, was_there = comparison.evaluate(settings, servings.read(place), path)
        again, _, is_there = comparison.evaluate(settings, servings.read(place), path)
        assert (was_there, is_there) == (False, True)
        np.testing.assert_array_equal(again.challenger.scores.errors, evaluation.challenger.scores.errors)
        model = loading.load(settings.run_dir)
        assert again.challenger.threshold == evaluation.challenger.threshold == model.thresholds().numpy()[1]
        return decide(evaluation, gate), evaluation

    first, evaluation = outcome(poor, GateConfig(min_accuracy=0))
    assert first.outcome == "promote"
    source = Path(poor.run_dir) / "model"
    model = Model(servings.fingerprint(source), poor.run_dir, "data", first.gate.challenger.accuracy, "first")
    extra = {comparison.TRAINED_ON: comparison.to_npy(np.empty(0, np.uint64))}
    verify = lambda copy: comparison.verify(copy, poor, evaluation)  # noqa: E731
    assert servings.promote(servings.read(place), NewVersion(source, model, extra, verify), 2) == 1

    better, _ = outcome(config(dataset, run), GateConfig(min_accuracy=0.5))
    assert (better.outcome, better.gate.comparison.only_champion_right) == ("promote", pytest.approx(0, abs=60))
    assert better.gate.challenger.accuracy > better.gate.champion.accuracy
    assert better.gate.challenger.per_class == {}


def test_it_has_no_formats_for_other_runtimes(run):
    with pytest.raises(InputError, match="is of the task strokes, for which there are no formats"):
        export.run(ExportConfig(str(run)))


def test_a_task_that_nobody_knows_is_refused(dataset, tmp_path, monkeypatch):
    monkeypatch.delitem(tasks.TASKS, "strokes")
    with pytest.raises(InputError, match="task 'strokes' of the dataset: is unknown; known tasks: characters"):
        train.run(config(dataset, tmp_path / "run"))
