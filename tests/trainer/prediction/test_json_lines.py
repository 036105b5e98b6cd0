"""A line for each item: what was read, how far it can be trusted, and what is the matter."""

import io
import logging
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common.normalize import problems
from trainer.evaluation.calibration import Calibration
from trainer.prediction import characters, json_lines
from trainer.prediction.parts import Item
from trainer.serving import loading

CALIBRATION = Calibration(1.0, 2.0, (0.5, 0.7, math.inf), (0.5, 0.8, math.inf), 17)
PNG = b"\x89PNG\r\n\x1a\n"


def save(folder: Path, functions: dict[str, Callable]) -> tf.Module:
    """A SavedModel with these functions, loaded again, for images of one pixel: how sure it is of A, in hundredths.

    A file is read as its last byte; before that stands the code of its problem.
    """
    one_pixel = tf.TensorSpec([None, 1, 1, 1], tf.uint8, name="image")

    def recognise(image):
        sure = tf.cast(image[:, 0, 0, 0], tf.float32)[:, None] / 100
        return tf.concat([sure, (1 - sure) * [[0.5, 0.3, 0.2]]], axis=1)

    module = tf.Module()
    module.recognise_pictures = tf.function(recognise, [one_pixel])
    module.image_tensor = tf.function(lambda image: {"probabilities": recognise(image)}, [one_pixel])
    module.class_names = tf.function(lambda: tf.constant(["A", "B", "C", "D"]), [])
    for name, function in functions.items():
        setattr(module, name, function)
    tf.saved_model.save(module, folder, signatures={"image_tensor": module.image_tensor})
    return loading.load(str(folder))


def pixels_of(files):
    return tf.io.decode_raw(tf.strings.substr(files, -1, 1), tf.uint8)[:, :, None, None]


FILES = tf.TensorSpec([None], tf.string)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> tf.Module:
    def convert(files):
        lengths = tf.strings.length(files) - len(PNG) - 1
        return pixels_of(files), tf.strings.substr(files, tf.fill(tf.shape(files), len(PNG)), lengths)

    functions = {name: tf.function(partial(tf.constant, value), []) for name, value in vars(CALIBRATION).items()}
    functions["convert"] = tf.function(convert, [FILES])
    of_pixels = [tf.TensorSpec([None, None, None], tf.uint8)]
    functions["convert_pixels"] = tf.function(lambda pixels: (pixels[:1, :1, :1], "low-contrast"), of_pixels)
    return save(tmp_path_factory.mktemp("model"), functions)


@pytest.fixture
def lines(model) -> Callable[..., list[dict]]:
    def predict(*items: Item, max_error: float = 0.01) -> list[dict]:
        predictions = characters.make_predict(model, "0123456789abcdef", max_error)(items)
        return [prediction.line for prediction in predictions]

    return predict


def picture(sure: int, problem: str = "") -> Item:
    return Item({"source": "a.png"}, PNG + problem.encode() + bytes([sure]))


def pixels(sure: int) -> Item:
    return Item({"source": "a.idx", "index": 3}, np.full((1, 1, 1), sure, np.uint8))


def test_a_line_has_reading_confidence_alternatives_and_the_model_and_the_earlier_names(lines):
    (line,) = lines(pixels(90))
    top = [["A", 0.9], ["B", 0.05], ["C", 0.03]]
    assert line == {
        "source": "a.idx",
        "index": 3,
        "character": "A",
        "confidence": 0.9,
        "alternatives": top,
        "accepted": True,
        "model": "0123456789abcdef",
        "probability": 0.9,
        "top": top,
    }


@pytest.mark.parametrize(
    ("max_error", "of_pixels", "of_pictures"),
    [(0.05, [False, True, True], [False, True, True]), (0.01, [False, True, True], [False, False, True])],
)
def test_pixels_and_pictures_have_thresholds_of_their_own(lines, max_error, of_pixels, of_pictures):
    sure = (49, 75, 85)
    both = lines(*map(pixels, sure), *map(picture, sure), max_error=max_error)
    assert [line["accepted"] for line in both] == of_pixels + of_pictures
    assert all(line["character"] == "A" for line in both[1:3]), "a refused one keeps its reading"


def test_a_promise_that_is_not_reachable_accepts_nothing(lines):
    assert [line["accepted"] for line in lines(pixels(100), picture(100), max_error=0.005)] == [False, False]


@pytest.mark.parametrize("code", problems.MESSAGES)
def test_a_doubt_comes_with_a_reading_that_is_not_accepted_and_other_problems_without_one(lines, code):
    (line,) = lines(picture(99, code))
    assert (line["problem"], line["message"], line["accepted"]) == (code, problems.MESSAGES[code], False)
    reading = {"character", "confidence", "alternatives", "probability", "top"}
    assert (reading & line.keys()) == (reading if code in problems.DOUBTS else set())
    assert line.get("error") == (None if code in problems.DOUBTS else line["message"])


def test_a_model_from_before_there_were_thresholds_and_codes_is_understood(tmp_path):
    complaints = ["", "holds no ink", "has more than 16000000 pixels, by its header"]
    convert = tf.function(lambda files: (pixels_of(files), tf.constant(complaints)), [FILES])
    earlier = save(tmp_path, {"convert": convert, "temperature": tf.function(lambda: tf.constant(1.5), [])})
    items = [picture(90), picture(0), picture(0)]
    good, empty, large = (p.line for p in characters.make_predict(earlier, "0123456789abcdef", 0.01)(items))
    assert (good["character"], good["accepted"]) == ("A", None)
    assert (empty["problem"], empty["message"], empty["accepted"]) == ("no-ink", "holds no ink", False)
    assert (large["problem"], large["error"]) == ("too-large", "has more than 16000000 pixels, by its header")


def test_formats_that_the_graph_does_not_read_are_decoded_before(lines):
    content = io.BytesIO()
    Image.new("L", (3, 2), 77).save(content, "BMP")
    bitmap, nothing = lines(Item({"source": "a.bmp"}, content.getvalue()), Item({"source": "b"}, b"no picture"))
    assert (bitmap["confidence"], bitmap["problem"]) == (pytest.approx(0.77), "low-contrast")
    assert nothing["problem"] == "not-a-picture"
    assert "character" not in nothing


def test_the_log_says_how_many_are_accepted_and_have_which_problem(lines, caplog):
    counts = Counter()
    for line in lines(pixels(90), pixels(20), picture(90, "several"), picture(0, "no-ink"), picture(0, "no-ink")):
        counts.update(json_lines.outcomes(line))
    with caplog.at_level(logging.INFO):
        json_lines.tell(counts, 0.01)
    assert [" ".join(message.split()) for message in caplog.messages] == [
        "predicted 3 readings",
        "accepted 1 of them, with at most 1 % wrong",
        "2 inputs could not be read; their lines have a `problem`",
        "problems several 1, no-ink 2",
    ]
