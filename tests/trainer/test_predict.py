"""`python -m trainer predict`: a line of JSON for each character, from every kind of input."""

import gzip
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from common import storage
from common.errors import InputError
from common.formats import idx
from deploy import serving as servings
from tests.support.datasets import read_split, with_splits
from trainer import main, predict
from trainer.config.commands import PredictConfig

pytestmark = pytest.mark.usefixtures("models_loaded_once")

FORMATS = ("png", "jpg", "PNG", "jpeg")


def picture(image: np.ndarray, suffix: str) -> bytes:
    """A character as a larger picture, dark on light."""
    content = io.BytesIO()
    shown = ImageOps.invert(Image.fromarray(image)).resize((90, 90), Image.Resampling.BICUBIC)
    shown.save(content, "PNG" if suffix.lower() == "png" else "JPEG")
    return content.getvalue()


@pytest.fixture(scope="module")
def characters(synthetic_digits) -> np.ndarray:
    return read_split(synthetic_digits, "test")[0][:12]


@pytest.fixture(scope="module")
def pictures(characters, tmp_path_factory) -> Path:
    """A folder of twelve pictures, some in sub-folders, and what else lies in folders."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(characters):
        suffix = FORMATS[number % len(FORMATS)]
        path = folder / f"part-{number % 2}" / f"{number:02d}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(image, suffix))
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "00.png").write_bytes(b"no picture")
    return folder


def lines_of(path: Path | str) -> list[dict]:
    return [json.loads(line) for line in storage.to_path(path).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def predicted(finished_run, tmp_path):
    """Predicts and returns the lines."""

    def run(*inputs: Path | str, **settings) -> list[dict]:
        output = tmp_path / "out" / "predictions.jsonl"
        config = PredictConfig(str(finished_run), tuple(map(str, inputs)), str(output), **settings)
        assert predict.run(config) == str(output)
        return lines_of(output)

    return run


def test_each_picture_of_a_folder_has_a_line_that_says_what_the_model_says(predicted, pictures, finished_run):
    lines = predicted(pictures)
    paths = sorted(path for path in pictures.glob("part-*/*"))
    assert [line["source"] for line in lines] == [str(path) for path in paths]
    signature = tf.saved_model.load(finished_run / "model").signatures["serving_default"]
    answers = signature(image_bytes=tf.constant([path.read_bytes() for path in paths]))
    for line, probabilities, name in zip(lines, answers["probabilities"].numpy(), answers["class_name"], strict=True):
        assert line["character"] == name.numpy().decode()
        assert line["confidence"] == pytest.approx(probabilities.max(), abs=1e-5)
        assert [probability for _, probability in line["alternatives"]] == pytest.approx(
            sorted(probabilities, reverse=True)[:3], abs=1e-5
        )
        assert line["alternatives"][0] == [line["character"], line["confidence"]]
        assert (line["probability"], line["top"]) == (line["confidence"], line["alternatives"])


def test_inputs_come_in_the_order_in_which_they_are_named(predicted, pictures):
    single = pictures / "part-1" / "03.jpeg"
    lines = predicted(single, pictures / "part-0" / "*.PNG", pictures / "part-?" / "01.*")
    names = [Path(line["source"]).name for line in lines]
    assert names == ["03.jpeg", "02.PNG", "06.PNG", "10.PNG", "01.jpg"]


def test_a_dataset_folder_is_predicted_as_it_was_evaluated(predicted, synthetic_digits, finished_run):
    lines = predicted(synthetic_digits)
    figures = json.loads((finished_run / "metrics.json").read_text())["test"]
    assert len(lines) == figures["num_examples"]
    right = sum(line["label"] == line["character"] for line in lines)
    assert right / len(lines) == pytest.approx(figures["accuracy"])
    in_shard = [line["index"] for line in lines if line["source"] == lines[0]["source"]]
    assert in_shard == list(range(len(in_shard)))
    assert len(predicted(synthetic_digits, split="validation")) != len(lines)


def test_as_many_are_accepted_and_wrong_as_the_run_says(predicted, synthetic_digits, finished_run, caplog):
    with caplog.at_level("INFO", "trainer"):
        lines = predicted(synthetic_digits, max_error=0.05)
    promise = json.loads((finished_run / "metrics.json").read_text())["test"]["selective_prediction"][0]
    accepted = [line for line in lines if line["accepted"]]
    assert 0 < len(accepted) < len(lines)
    assert len(accepted) / len(lines) == promise["coverage"]
    assert np.mean([line["character"] != line["label"] for line in accepted]) == pytest.approx(promise["error"])
    assert min(line["confidence"] for line in accepted) >= promise["threshold"] - 1e-6
    assert f"accepted      {len(accepted)} of them, with at most 5 % wrong" in caplog.text
    assert "--max-error 0.05: the model cannot promise it of pictures; none is accepted" in caplog.text


def test_lines_name_the_model_as_the_gate_does(predicted, pictures, finished_run, tmp_path):
    (model,) = {line["model"] for line in predicted(pictures)}
    assert re.fullmatch(r"[0-9a-f]{16}", model)
    assert servings.fingerprint(finished_run / "model").startswith(model)


@pytest.mark.parametrize(
    ("name", "is_swapped", "settings"),
    [
        ("emnist-digits-test-images-idx3-ubyte.gz", True, {}),
        ("t10k-images-idx3-ubyte", False, {}),
        ("mine.idx", True, {"transposed": True}),
        ("emnist-mine-images-idx3-ubyte", False, {"transposed": False}),
    ],
)
def test_idx_files_are_turned_upright(predicted, characters, tmp_path, name, is_swapped, settings):
    (tmp_path / "upright.idx").write_bytes(idx.write(characters))
    content = idx.write(characters.transpose(0, 2, 1) if is_swapped else characters)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    expected = predicted(tmp_path / "upright.idx")
    lines = predicted(tmp_path / name, **settings)
    assert [line["top"] for line in lines] == [line["top"] for line in expected]
    assert [line["index"] for line in lines] == list(range(len(characters)))


def test_what_cannot_be_read_has_a_line_that_says_why_and_changes_no_other(predicted, pictures, tmp_path, caplog):
    expected = predicted(pictures)
    damaged = tmp_path / "damaged"
    shutil.copytree(pictures, damaged)
    (damaged / "part-0" / "005.png").write_bytes(b"no picture")
    (damaged / "part-1" / "06.png").write_bytes(picture(np.zeros((28, 28), np.uint8), "png"))
    whole = idx.write(np.zeros((300, 28, 28), np.uint8))
    (damaged / "some.idx").write_bytes(whole[:-1000])
    lines = predicted(damaged)
    good = [line for line in lines if "error" not in line]
    for line, other in zip([line for line in good if "index" not in line], expected, strict=True):
        assert line["character"] == other["character"]
        # They are in other batches, in which a processor may round in another way.
        assert line["probability"] == pytest.approx(other["probability"], abs=1e-5)
    assert len([line for line in good if "index" in line]) == 256
    errors = {Path(line["source"]).name: line["error"] for line in lines if "error" in line}
    assert errors.keys() == {"005.png", "06.png", "some.idx"}
    assert errors["005.png"] == "is not a picture"
    assert errors["06.png"] == "shows no writing"
    problems = {Path(line["source"]).name: (line["problem"], line["accepted"]) for line in lines if "problem" in line}
    assert problems["005.png"] == ("not-a-picture", False)
    assert problems["06.png"] == ("no-ink", False)
    assert problems["some.idx"] == ("cannot-decode", False)
    assert re.search(r"some\.idx: .*end", errors["some.idx"])
    assert "3 inputs could not be read" in caplog.text


def test_if_nothing_can_be_read_no_file_is_left(predicted, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"nothing could be read; .*a\.png is not a picture"):
        predicted(tmp_path / "a.png")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("inputs", "settings", "complaint"),
    [
        ((), {}, "--input: name at least one"),
        (("nowhere",), {}, "--input nowhere: no such file or folder"),
        (("nowhere/*.png",), {}, r"--input nowhere/\*\.png: holds nothing to predict"),
        (("s3://bucket/a.png",), {}, "s3://bucket/a.png: cannot read or write there"),
        (
            ("a.png", "labels.idx"),
            {"strict": True},
            r"--strict: 1 of the inputs could not be read; labels\.idx holds uint8",
        ),
        (("hidden",), {"strict": True}, r"--strict: 1 hidden file; the first: hidden/\.a\.png"),
        (("labels.idx",), {}, r"labels\.idx holds uint8 of shape \(7,\), and no images"),
        (("empty",), {}, "--input empty: holds nothing to predict"),
        (("data",), {"split": "train"}, "--split train: .* has only test"),
        (("a.png",), {"model": "nowhere"}, "--model nowhere: holds neither"),
        (("a.png",), {"output": "empty"}, "empty: is a folder; give the name of a file"),
        (("a.png",), {"html": "empty"}, "empty: is a folder; give the name of a file"),
        (("a.png",), {"output": "./a.png"}, r"--output \./a\.png: is one of the inputs"),
        (("*.png",), {"html": "empty/../a.png"}, r"--html empty/\.\./a\.png: is one of the inputs"),
        (("a.png",), {"html": "./out.jsonl"}, r"--html \./out\.jsonl: is the file of --output, too"),
        (("a.png",), {"max_error": 0.02}, r"--max-error 0\.02: must be 0\.05, 0\.01 or 0\.005"),
    ],
)
def test_bad_requests_are_refused(finished_run, synthetic_digits, tmp_path, monkeypatch, inputs, settings, complaint):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    diagonal = picture(np.eye(28, dtype=np.uint8) * 255, "png")
    Path("a.png").write_bytes(diagonal)
    Path("hidden").mkdir()
    for name in ("hidden/a.png", "hidden/.a.png"):
        Path(name).write_bytes(diagonal)
    Path("labels.idx").write_bytes(idx.write(np.zeros(7, np.uint8)))
    if "data" in inputs:
        with_splits(synthetic_digits, Path("data"), ("test",))
    with pytest.raises(InputError, match=complaint):
        predict.run(PredictConfig(**{"model": str(finished_run), "input": inputs, "output": "out.jsonl"} | settings))
    assert not Path("out.jsonl").exists()
    assert Path("a.png").read_bytes() == diagonal


def test_pictures_and_predictions_may_lie_in_a_bucket(bucket, predicted, pictures, finished_run):
    expected = [line["top"] for line in predicted(pictures)]
    storage.to_path(f"{bucket}/pictures").upload_from(pictures)
    storage.to_path(f"{bucket}/run/model").upload_from(finished_run / "model")
    output = f"{bucket}/out/predictions.jsonl"
    for location in (f"{bucket}/pictures", f"{bucket}/pictures/part-*/*"):
        assert predict.run(PredictConfig(f"{bucket}/run", (location,), output)) == output
        assert [line["top"] for line in lines_of(output)] == expected
        assert lines_of(output)[0]["source"] == f"{bucket}/pictures/part-0/00.png"


def test_the_page_shows_pictures_with_their_predictions(browser, predicted, synthetic_digits, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"<b>no picture</b>")
    lines = predicted(tmp_path / "bad.png", synthetic_digits, html=str(tmp_path / "page.html"), max_error=0.05)
    page = browser.open(tmp_path / "page.html")
    assert page.errors() == []
    shown = page.run("return Array.from(document.querySelectorAll('#predictions b:first-child')).map(b => b.innerText)")
    good = [line for line in lines if "error" not in line]
    assert shown == [line["character"] for line in good]
    figures = page.run("return Array.from(document.querySelectorAll('#predictions figure')).map(one => one.innerText)")
    assert len(figures) == len(lines)
    assert sum("✗" in figure for figure in figures) == sum(line["character"] != line["label"] for line in good)
    assert "is not a picture" in page.text("predictions")
    assert page.run("return Array.from(document.images).every(one => one.naturalWidth === 28 && one.alt)")
    accepted = sum(line["accepted"] for line in lines)
    assert page.run("return document.querySelectorAll('#predictions figure.accepted').length") == accepted > 0
    assert f"{accepted} are accepted, with at most 5.0 % wrong" in page.run("return document.body.innerText")
    assert "not-a-picture 1" in page.run("return document.querySelector('header').innerText")


def test_from_the_command_line_the_file_is_the_last_line(finished_run, pictures, tmp_path, capsys, caplog):
    output = str(tmp_path / "predictions.jsonl")
    with caplog.at_level("INFO", "trainer"):
        assert main.main(["predict", "--model", str(finished_run), "--input", str(pictures), "--output", output]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == output
    assert "predicted     12 readings" in caplog.text
    assert "left out      1 hidden file; the first: " in caplog.text


@pytest.mark.parametrize(
    "beam_options",
    [
        pytest.param([], marks=pytest.mark.thorough, id="in this process"),
        pytest.param(["--direct_num_workers", "2", "--direct_running_mode", "multi_processing"], id="two processes"),
    ],
)
def test_beam_gives_the_same_lines_in_the_same_order(
    bucket, finished_run, pictures, predicted, synthetic_digits, tmp_path, capsys, caplog, beam_options
):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    inputs = [str(pictures), str(synthetic_digits), str(tmp_path / "bad.png")]
    expected = predicted(*inputs)
    output = f"{bucket}/out/beam"
    arguments = ["predict", "--model", str(finished_run), "--output", output, "--input", *inputs]
    with caplog.at_level("INFO", "trainer"):
        assert main.main([*arguments, "--", *beam_options]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{output}-*"
    assert f"predicted     {len(expected) - 1:,} readings" in caplog.text
    files = sorted(storage.to_path(f"{bucket}/out").glob("beam-*"))
    assert files[-1].name == f"beam-{len(files) - 1:05d}-of-{len(files):05d}"
    lines = [line for path in files for line in lines_of(path)]
    for line, expected_line in zip(lines, expected, strict=True):
        keys = ("source", "index", "problem", "message", "character", "accepted", "model")
        assert [line.get(key) for key in keys] == [expected_line.get(key) for key in keys]
        assert line.get("probability") == pytest.approx(expected_line.get("probability"), abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--", "--runer", "DirectRunner"], "unknown Beam option --runer; did you mean --runner"),
        (["--html", "page.html", "--"], "--html: is not available with Beam"),
    ],
)
def test_beams_options_are_checked(finished_run, pictures, tmp_path, capsys, arguments, complaint):
    fixed = ["predict", "--model", str(finished_run), "--input", str(pictures), "--output", str(tmp_path / "out")]
    assert main.main([*fixed, *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
