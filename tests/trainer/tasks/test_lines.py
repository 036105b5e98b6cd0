"""The task of reading lines: loss, reading, figures, the served model, the page."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from common import storage
from common.dataset.schema import IMAGE, TEXT, TEXT_LENGTH, WIDTH, lines
from common.errors import InputError
from tests.support.settings import SMALL_LINES, train_config
from trainer import check, evaluate, predict, report, train
from trainer.config.commands import CheckConfig, EvaluateConfig, PredictConfig, ReportConfig
from trainer.data import datasets, order
from trainer.data.line_augmentation import augment
from trainer.distributed.randomness import StepRng
from trainer.evaluation import ctc
from trainer.models import line_networks
from trainer.models.normalization import MaskedBatchNormalization
from trainer.serving import loading, reading
from trainer.tasks import lines as task

CHARACTERS = 5
BLANK = CHARACTERS


def logits_of(outputs: list[list[int]], steps: int) -> tf.Tensor:
    """Logits float32 [N, steps, C+1] whose best path is `outputs`; what is behind is a character, to be ignored."""
    numbers = np.zeros((len(outputs), steps), int)
    for row, part in enumerate(outputs):
        numbers[row, : len(part)] = part
    return tf.constant(8.0 * np.eye(CHARACTERS + 1, dtype=np.float32)[numbers])


def batch_of(texts: list[list[int]], widths: list[int], longest: int = 6) -> dict[str, tf.Tensor]:
    rows = np.zeros((len(texts), longest), np.int64)
    for row, text in enumerate(texts):
        rows[row, : len(text)] = text
    lengths = np.array(list(map(len, texts)), np.int64)
    return {TEXT: tf.constant(rows), TEXT_LENGTH: tf.constant(lengths), WIDTH: tf.constant(widths, tf.int64)}


def test_the_best_path_drops_repeats_and_blanks_and_ends_with_the_line():
    path = reading.best_path(
        logits_of([[0, 0, BLANK, 0, 1], [BLANK, 2, 2], [BLANK]], 5), tf.constant([5, 3, 1], tf.int64)
    )
    assert [text.decode() for text in reading.texts(path, tuple("abcde")).numpy()] == ["aab", "c", ""]
    probability, first, behind = (part.numpy() for part in reading.characters(path))
    assert first[:2].tolist() == [[0, 3, 4], [1, 0, 0]]
    assert behind[:2].tolist() == [[2, 4, 5], [3, 0, 0]]
    assert (probability[0] > 0.99).all()
    assert probability[1, 1:].tolist() == probability[2].tolist()[1:] == [0, 0]


def test_the_graph_reads_what_the_reference_reads():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (40, 30, CHARACTERS + 1)).astype(np.float32)
    steps = random.integers(1, 31, 40)
    path = reading.best_path(tf.constant(logits), tf.constant(steps))
    texts = [text.decode() for text in reading.texts(path, tuple("abcde")).numpy()]
    columns = [part.numpy() for part in reading.characters(path)]
    best = tf.math.top_k(tf.nn.log_softmax(logits), 5)
    for row, count in enumerate(steps):
        expected = ctc.best_path(best.indices[row].numpy(), best.values[row].numpy(), int(count), BLANK)
        assert texts[row] == "".join("abcde"[number] for number in expected.characters)
        for found, wanted in zip(columns, (expected.probabilities, expected.first, expected.last + 1), strict=True):
            np.testing.assert_allclose(found[row, : len(wanted)], wanted, rtol=1e-5)


def test_errors_are_edit_distances_and_units_the_characters_of_the_text():
    batch = batch_of([[0, 1, 2], [3], [4, 4]], [20, 20, 20])
    wrong, units = task.errors(batch, [logits_of([[0, BLANK, 2, BLANK, BLANK], [BLANK] * 5, [4, BLANK, 4, 0, 1]], 5)])
    assert wrong.numpy().tolist() == [1, 1, 2]
    assert units.numpy().tolist() == [3, 1, 2]


def test_the_loss_is_that_of_ctc_and_lines_too_narrow_for_their_text_have_none():
    """Of "aab" in two steps, of a text without characters, and of one that only has unseen ones."""
    logits = tf.constant(np.random.default_rng(0).normal(0, 1, (4, 5, CHARACTERS + 1)).astype(np.float32))
    losses, lengths = task.losses_of(batch_of([[0, 1], [0, 0, 1], [], [CHARACTERS + 1]], [20, 8, 20, 20]), logits)
    expected = keras.ops.ctc_loss([[0, 1]], logits[:1], [2], [5], mask_index=BLANK)
    assert losses[0].numpy() == pytest.approx(float(expected[0]), rel=1e-3)
    assert losses[1:].numpy().tolist() == [0, 0, 0]
    assert lengths[0] == 2


def test_the_loss_is_finite_and_points_out_of_it_however_sure_of_a_mistake_the_network_is():
    """TensorFlow's own is infinite from a difference of 88 on."""
    logits = tf.Variable(tf.one_hot([[BLANK] * 5], CHARACTERS + 1, 200.0))
    with tf.GradientTape() as tape:
        losses, _ = task.losses_of(batch_of([[0, 1]], [20]), logits)
    assert 2 * 80 - 5 < losses.numpy()[0] < 2 * 80
    gradient = tape.gradient(losses, logits).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient[0, :, BLANK] > 0.1).all()


def test_normalisation_counts_only_what_is_inside_of_lines():
    random = np.random.default_rng(0)
    values, widths = random.normal(3, 2, (3, 2, 8, 4)).astype(np.float32), [8, 5, 2]
    inside = np.stack([np.arange(8) < width for width in widths])[:, None, :, None].astype(np.float32)
    layer = MaskedBatchNormalization(momentum=0.5, name="norm")
    outputs = layer(values, inside, training=True).numpy()
    members = np.concatenate([values[row, :, :width].reshape(-1, 4) for row, width in enumerate(widths)])
    np.testing.assert_allclose(outputs, (values - members.mean(0)) / np.sqrt(members.var(0) + layer.epsilon), atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean, members.mean(0) / 2, rtol=1e-4)
    np.testing.assert_allclose(layer(values, inside).numpy(), layer(values, 0 * inside).numpy())


def test_batches_of_similar_width_waste_little_and_an_epoch_has_each_line_once():
    random = np.random.default_rng(0)
    widths = random.gamma(8, 100, 1000).astype(int)
    numbers = order.by_width(order.make_order((1000,), 1000, 0), widths, 16, 0)
    waste = 1 - widths.sum() / sum(16 * widths[numbers(16 * step, 16 * step + 16)].max() for step in range(62))
    assert waste < 0.12
    for epoch in range(3):
        assert sorted(numbers(1000 * epoch, 1000 * epoch + 1000)) == list(range(1000))
    np.testing.assert_array_equal(np.concatenate([numbers(0, 555), numbers(555, 1700)]), numbers(0, 1700))
    assert np.abs(np.diff([widths[numbers(16 * step, 16 * step + 16)].mean() for step in range(30)])).mean() > 100


def test_augmentation_leaves_room_for_the_text_and_nothing_right_of_a_line():
    random = np.random.default_rng(0)
    images = random.integers(1, 256, (8, 24, 128, 1), np.uint8)
    batch = batch_of([[0, 0, 1, 2, 3, 4]] * 8, [28] * 4 + [128] * 4)
    images[:4, :, 28:] = 0
    steps = (
        *((name, 0.5) for name in ("stretch", "grow", "thicken", "fade", "blank")),
        *(("slant", 30.0), ("warp", 3.0)),
    )
    rng = StepRng(0, tf.constant(5, tf.int64), tf.constant(0))
    varied = augment(batch | {IMAGE: tf.constant(images)}, steps, rng)
    new = varied[WIDTH].numpy()
    assert (new[:4] >= 28).all(), "seven steps of four columns"
    assert len(set(new[4:])) == 4
    for image, width in zip(varied[IMAGE].numpy(), new, strict=True):
        assert not image[:, width:].any()
        assert width < 64 or image[:, :width].any(), "a short line may be blanked"
    part = augment(
        {name: values[4:] for name, values in (batch | {IMAGE: tf.constant(images)}).items()},
        steps,
        StepRng(0, tf.constant(5, tf.int64), tf.constant(4)),
    )
    narrowest = min(part[IMAGE].shape[2], varied[IMAGE].shape[2])
    np.testing.assert_allclose(part[IMAGE][:, :, :narrowest], varied[IMAGE][4:, :, :narrowest], atol=0.02)


def test_a_warp_moves_letters_each_its_own_way_and_keeps_the_ends_of_a_line():
    images = np.zeros((8, 24, 320, 1), np.float32)
    bars = np.arange(0, 300, 33)
    images[:, 4:20, bars] = 255
    batch = batch_of([[0]] * 8, [298] * 8) | {IMAGE: tf.constant(images)}
    varied = augment(batch, (("warp", 3.0),), StepRng(0, tf.constant(5, tf.int64), tf.constant(0)))[IMAGE].numpy()
    np.testing.assert_allclose(varied[:, 4:20, [0, 297]], images[:, 4:20, [0, 297]], atol=1)
    np.testing.assert_allclose(varied.sum((1, 2, 3)), images.sum((1, 2, 3)), rtol=0.1)
    places = np.arange(-6, 7)
    moved = np.array(
        [
            [[row[rows, bar - 6 : bar + 7].sum(0) @ places / row[rows, bar - 6 : bar + 7].sum() for bar in bars[1:-1]]
             for rows in (slice(4, 8), slice(16, 20))]
            for row in varied[..., 0]
        ]
    )  # fmt: skip
    assert 2 < np.abs(moved).max() <= 3
    assert moved.std(axis=2).min() > 0.3, "of one row each bar by something else"
    assert np.abs(moved[:, 0] - moved[:, 1]).max() > 1, "and leaning"


@pytest.mark.parametrize("name", ["lines", "article_lines"])
def test_a_line_alone_and_in_any_batch_has_the_same_logits(name, synthetic_lines, tmp_path):
    schema = datasets.open(str(synthetic_lines), "", 1).schema
    small = {"article_lines": {"filters": [4, 4, 4, 4, 8], "units": 8}}
    network = line_networks.build(train_config("", "", **(SMALL_LINES | small | {"model": name})), schema)
    random = np.random.default_rng(0)
    for layer in network.layers:  # as trained ones are
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([weights + random.uniform(0, 1, weights.shape) for weights in layer.get_weights()])
    images = random.integers(0, 256, (4, 24, 224, 1)).astype(np.float32)
    widths = np.array([224, 150, 33, 5])
    for row, width in enumerate(widths):
        images[row, :, width:] = 0
    read = task.head(network)
    together = read({IMAGE: images, WIDTH: widths}, False)[0].numpy()
    for row, width in enumerate(widths):
        canvas = -(-width // 32) * 32
        alone = read({IMAGE: images[row : row + 1, :, :canvas], WIDTH: widths[row : row + 1]}, False)[0].numpy()[0]
        steps = -(-width // 4)
        np.testing.assert_allclose(alone[:steps], together[row, :steps], atol=1e-3)


def test_a_network_for_characters_is_refused(synthetic_lines, tmp_path):
    with pytest.raises(
        InputError, match="--model cnn: recognises characters; lines are read by article_lines and lines"
    ):
        train.run(train_config(str(synthetic_lines), str(tmp_path / "run"), global_batch_size=8))


def test_a_step_for_characters_is_refused(synthetic_lines, tmp_path):
    settings = SMALL_LINES | {"augmentation": ("rotate(5)",)}
    with pytest.raises(InputError, match=r"--augmentation rotate\(5\): is not for lines, which have the steps stretch"):
        train.run(train_config(str(synthetic_lines), str(tmp_path / "run"), **settings))


def test_its_loss_is_not_given_to_xla(synthetic_lines, tmp_path):
    """Which has no operation for it: on a GPU, where XLA is the default, trainings of lines go without."""
    settings = SMALL_LINES | {"jit_compile": True}
    with pytest.raises(
        InputError, match="--jit-compile True: XLA cannot compile this, because it has no operation for"
    ):
        train.run(train_config(str(synthetic_lines), str(tmp_path / "run"), **settings))


def test_its_figures_are_those_of_its_predictions(finished_lines_run):
    metrics = json.loads((finished_lines_run / "metrics.json").read_text())["test"]
    with np.load(finished_lines_run / "predictions.npz") as predictions:
        rate = predictions["errors"].sum() / predictions["text_length"].sum()
    assert metrics["character_error_rate"] == pytest.approx(rate)
    assert metrics["accuracy"] == pytest.approx(1 - rate)
    assert metrics["num_groups"] == 1
    assert check.run(CheckConfig(str(finished_lines_run))) == str(finished_lines_run), "or it raises what differs"


def test_evaluate_repeats_them_and_adds_those_with_a_language_model(finished_lines_run, synthetic_lines, tmp_path):
    output = tmp_path / "figures.json"
    asked = EvaluateConfig(str(finished_lines_run), str(synthetic_lines), output=str(output))
    evaluate.run(EvaluateConfig(**(vars(asked) | {"language_model": "from-training-text"})))
    figures = json.loads(output.read_text())
    test = json.loads((finished_lines_run / "metrics.json").read_text())["test"]
    assert figures["character_error_rate"] == test["character_error_rate"]
    assert {"weight", "bonus", "word_error_rate"} <= figures["language_model"].keys()
    lines_read = tmp_path / "out.jsonl"
    settings = {"language_model": str(tmp_path / "figures.lm.npz")}
    predict.run(PredictConfig(str(finished_lines_run), (str(synthetic_lines),), str(lines_read), **settings))
    assert len(lines_read.read_text().splitlines()) == 15


def test_texts_of_the_test_are_refused_for_a_language_model(finished_lines_run, synthetic_lines, tmp_path):
    texts = task.texts_of(datasets.open(str(synthetic_lines), "", 1).examples("test"))
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    asked = EvaluateConfig(str(finished_lines_run), str(synthetic_lines), language_model=str(tmp_path / "texts.txt"))
    with pytest.raises(InputError, match=r"texts.txt: has \d+ texts of the test split; the first: '"):
        evaluate.run(asked)


def test_views_of_a_line_are_not_averaged(finished_lines_run, synthetic_lines):
    with pytest.raises(InputError, match="--tta-views 2: is for characters"):
        evaluate.run(EvaluateConfig(str(finished_lines_run), str(synthetic_lines), tta_views=2))


def test_a_served_model_reads_pictures_as_it_reads_the_datasets_images(finished_lines_run, synthetic_lines):
    model = loading.load(str(finished_lines_run))
    batch = datasets.open(str(synthetic_lines), "", 1).examples("test").take(np.arange(4))
    pictures = [
        tf.io.encode_png(255 - image[:, :width]) for image, width in zip(batch[IMAGE], batch[WIDTH], strict=True)
    ]
    served = model.signatures["serving_default"](image_bytes=tf.stack(pictures))
    direct = model.signatures["image_tensor"](image=tf.constant(batch[IMAGE]), width=tf.constant(batch[WIDTH]))
    assert served["problem"].numpy().tolist() == [b""] * 4
    # Contrast is evened out once more, so an uncertain letter may differ.
    np.testing.assert_allclose(served["confidence"], direct["confidence"], atol=0.05)
    assert served["probability"].shape == served["left"].shape == served["right"].shape
    nothing = tf.io.encode_png(np.full((30, 200, 1), 255, np.uint8))
    empty = model.signatures["serving_default"](image_bytes=tf.stack([nothing]))
    assert (empty["problem"].numpy()[0], empty["text"].numpy()[0], empty["confidence"].numpy()[0]) == (
        b"no-ink",
        b"",
        0,
    )


def test_each_input_has_one_answer_in_its_order(finished_lines_run, synthetic_lines, tmp_path):
    batch = datasets.open(str(synthetic_lines), "", 1).examples("test").take(np.arange(3))
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, (image, width) in enumerate(zip(batch[IMAGE], batch[WIDTH], strict=True)):
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(255 - image[:, :width]).numpy())
    (folder / "1b.png").write_text("no picture")
    output, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    predict.run(PredictConfig(str(finished_lines_run), (str(folder),), str(output), html=str(page)))
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    assert [Path(answer["source"]).name for answer in answers] == ["0.png", "1.png", "1b.png", "2.png"]
    assert answers[2]["problem"] == "not-a-picture"
    for answer in (answers[0], answers[3]):
        assert "".join(character for character, *_ in answer["characters"]) == answer["text"]
        assert answer.keys() >= {"confidence", "accepted", "alternatives", "model"}
        places = [(left, right) for _, _, left, right in answer["characters"]]
        assert places == sorted(places)
    assert "<title>3 lines predicted</title>" in page.read_text()


def test_the_report_shows_the_worst_lines_with_their_pictures(finished_lines_run):
    page = storage.to_path(report.run(ReportConfig((str(finished_lines_run),)))).read_text()
    assert "character error rate" in page
    marks = sum(page.count(f'<span class="{kind}"') for kind in ("missing", "extra", "replaced"))
    assert marks > 15, "three are in the legend"
    assert "data:image/png;base64" in page
    card = (finished_lines_run / "model" / "README.md").read_text()
    assert "Reads one line of handwriting" in card


def test_the_log_shows_error_rates_which_may_exceed_100_percent():
    assert task.TASK.accuracy_in_words(-0.25) == "CER 125.00 %"


def test_while_hardly_anything_is_read_the_log_says_what_that_means():
    schema = lines(tuple("abcde"), (), (24, 64), 6, 1)
    batch = batch_of([[0, 1, 2]], [20]) | {"group": tf.constant([0], tf.int64)}
    batch[IMAGE] = tf.zeros((1, 24, 20, 1))
    for outputs, is_plateau in (([[BLANK] * 5], True), ([[0, 1, 2, BLANK, BLANK]], False)):
        predictions = {name: part.numpy() for name, part in task.answer(batch, [logits_of(outputs, 5)]).items()}
        said = task.show_epoch(predictions, schema)
        assert said[0].endswith("''" if is_plateau else "'abc'")
        assert any("blank" in line for line in said) == is_plateau
