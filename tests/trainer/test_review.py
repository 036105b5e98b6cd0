"""`python -m trainer review`: a page on which people correct readings by keyboard, and the table that it saves."""

import csv
import io
import json
import zipfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from common.dataset import exclude_list, hashing
from common.dataset import manifest as manifests
from common.errors import InputError
from tests.support.datasets import read_split
from tests.support.lines import write_pair
from tests.support.pages import write_page
from trainer import main, review
from trainer.config.commands import ReviewConfig
from trainer.prediction.parts import Shard

COLUMNS = [
    *("file", "index", "line", "label", "text", "was", "confidence", "status"),
    *("draw", "weight", "by", "at", "model"),
]


def line(source: str, reading: str = "A", confidence: float = 0.5, **more: Any) -> dict[str, Any]:
    alternatives = [[reading, confidence], ["B", 0.1], ["C", 0.05]]
    return {
        "source": source,
        "character": reading,
        "confidence": confidence,
        "alternatives": alternatives,
        "accepted": False,
        "model": "76031d404501f76f",
    } | more


def text_line(source: str, text: str, confidence: float = 0.5, **more: Any) -> dict[str, Any]:
    return {"source": source, "text": text, "confidence": confidence, "accepted": False, "model": "m"} | more


def write_lines(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "out.jsonl"
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines), encoding="utf-8")
    return path


def draw(path: Path, seed: int) -> str:
    """Writes a picture unlike those of other seeds; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(blocks).resize((120, 90), Image.Resampling.NEAREST).save(path)
    return str(path)


@pytest.fixture
def reviewed(browser, tmp_path):
    """Opens the page of some predictions, without anything that was done on an earlier one."""

    def open_page(*lines: dict[str, Any], **settings: Any):
        predictions = write_lines(tmp_path, *lines)
        output = tmp_path / "review.html"
        assert review.run(ReviewConfig((str(predictions),), str(output), **settings)) == str(output)
        return browser.open(output)

    yield open_page
    assert browser.errors() == []


@pytest.fixture
def eight(tmp_path) -> list[dict[str, Any]]:
    """Predictions of eight pictures, the least sure first."""
    return [line(draw(tmp_path / "scans" / f"{n}.png", n), "ABC"[n % 3], 0.1 + n / 10) for n in range(8)]


def saved(page, folder: Path) -> list[dict[str, str]]:
    """The table that the page saves."""
    path = page.downloaded(folder, "#save", "corrections.csv")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == COLUMNS
    path.unlink()
    return rows


def test_readings_are_corrected_by_keyboard_and_saved_as_a_table(reviewed, eight, tmp_path):
    page = reviewed(*eight)
    page.click("#by")
    page.press(*"Ada", Keys.TAB)
    page.run("document.activeElement.blur()")
    page.press(Keys.ENTER, "z", "C", Keys.F8, Keys.F9)
    page.press("1", held=Keys.ALT)
    rows = {row["file"]: row for row in saved(page, tmp_path)}
    outcomes = [(row["was"], row["status"], row["label"]) for row in (rows[f"scans/{n}.png"] for n in range(6))]
    assert outcomes == [
        ("A", "accepted", "A"),
        ("B", "corrected", "z"),
        ("C", "accepted", "C"),
        ("A", "unreadable", ""),
        ("B", "no-character", ""),
        ("C", "corrected", "B"),
    ]
    assert len(rows) == 6, "what was not looked at is not in the table"
    first = rows["scans/0.png"]
    assert (first["by"], first["model"], first["confidence"], first["text"]) == ("Ada", "76031d404501f76f", "0.1", "")
    assert first["at"].endswith("Z") and first["at"][10] == "T"
    assert page.text("done") == "6 of 8 reviewed, 2 corrected"


def test_a_key_in_the_other_case_means_the_class_that_there_is(reviewed, eight, tmp_path):
    page = reviewed(*eight)
    page.press("c")
    assert saved(page, tmp_path)[0]["label"] == "C"


def test_what_was_done_survives_that_the_page_is_closed(reviewed, browser, eight, tmp_path):
    page = reviewed(*eight)
    page.press("x", Keys.ENTER)
    before = saved(page, tmp_path)
    page = browser.open(tmp_path / "review.html")
    assert page.text("done").startswith("2 of 8 reviewed")
    assert saved(page, tmp_path) == before
    other = reviewed(*eight[:-1])
    assert other.text("done").startswith("0 of 7"), "of other predictions"


def test_each_step_can_be_undone(reviewed, eight, tmp_path):
    page = reviewed(*eight)
    page.press("x", "y", Keys.F8)
    for left in (2, 1):
        page.press("z", held=Keys.CONTROL)
        assert page.text("done").startswith(f"{left} of 8")
    page.press("w")
    assert [row["label"] for row in saved(page, tmp_path)] == ["x", "w"]
    page.click("#undo")
    page.click("#undo")
    assert page.text("done").startswith("0 of 8")
    assert page.run("return document.getElementById('undo').disabled")


def test_texts_are_shown_as_they_are_and_formulas_are_quoted(reviewed, tmp_path):
    names = ["<img src=x onerror=boom()>.png", "=1+1.png", "<!--<script>.png"]
    lines = [line(draw(tmp_path / name, n), "<", 0.1 * n + 0.1) for n, name in enumerate(names)]
    lines[2]["alternatives"] = [["<", 0.3], ["</script><script>boom()</script>", 0.1]]
    page = reviewed(*lines, line(str(tmp_path / "<i>gone</i>.png"), "&", 0.01))
    page.run("document.getElementById('about').open = true")
    assert "<i>gone</i>.png" in page.text("missing")
    page.press(Keys.ENTER, Keys.ENTER, Keys.F8)
    rows = saved(page, tmp_path)
    assert [row["file"] for row in rows] == [names[0], "'" + names[1], names[2]]
    assert page.run("return document.querySelectorAll('img[src=x], b b, #missing i').length") == 0


def test_a_cell_that_a_spreadsheet_would_take_for_a_formula_has_an_apostrophe(reviewed, eight):
    page = reviewed(*eight)
    cells = {"=": "'=", "-1": "'-1", "'=": "''=", "'": "'", "a=": "a=", 'a"b': '"a""b"', "a,b": '"a,b"', " a": '" a"'}
    assert {text: page.run("return cell(arguments[0])", text) for text in cells} == cells


def test_pictures_that_are_gone_are_named(reviewed, eight, tmp_path, caplog):
    caplog.set_level("INFO")
    page = reviewed(*eight, line(str(tmp_path / "gone.png")), line(str(tmp_path / "b.zip::a.png")), line("no", index=3))
    page.click("#about summary")
    listed = page.text("missing").splitlines()
    assert [any(name in one for one in listed) for name in ("gone.png: ", "b.zip::a.png: ", "no, 3: ")] == [True] * 3
    assert len(listed) == 3
    assert page.text("done").startswith("0 of 8")
    assert str(tmp_path / "gone.png") in caplog.text


def test_a_page_without_any_picture_is_not_written(tmp_path):
    predictions = write_lines(tmp_path, line("gone/a.png"))
    with pytest.raises(InputError, match=r"no picture can be shown; gone/a\.png: .*No such file"):
        review.run(ReviewConfig((str(predictions),), str(tmp_path / "review.html")))
    assert not (tmp_path / "review.html").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{}\n", r"out\.jsonl: line 1 is no prediction"),
        ('{"source": "a"}\nnonsense\n', r"out\.jsonl: line 2 is no prediction"),
        ('{"source": "a", "confidence": "high", "character": "A"}\n', "line 1 is no prediction"),
        ('{"source": "a", "accepted": false}\n', "holds no reading"),
        ("", "holds no reading"),
        (
            '{"source": "a", "confidence": 1, "character": "A"}\n{"source": "a", "confidence": 1, "text": "A"}\n',
            "hold both characters and lines",
        ),
    ],
)
def test_what_is_no_prediction_is_refused(tmp_path, content, complaint):
    (tmp_path / "out.jsonl").write_text(content)
    with pytest.raises(InputError, match=complaint):
        review.run(ReviewConfig((str(tmp_path / "out.jsonl"),), str(tmp_path / "review.html")))


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--below", "0.5", "--most", "3"], "--below and --most: are two ways to choose"),
        (["--below", "0.5", "--label-issues"], "--below and --label-issues: are two ways to choose"),
        (["--sample", "0"], "--sample 0.0: must be above 0"),
        (["--most", "0"], "--most 0: must be at least 1"),
        (["--below", "0.9", "--output", "out.jsonl"], "is the file of --predictions"),
    ],
)
def test_flags_that_make_no_sense_are_refused(tmp_path, monkeypatch, capsys, flags, complaint):
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path, line("a.png"))
    assert main.main(["review", "--predictions", "out.jsonl", "--output", "review.html", *flags]) == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_nearly_the_same_pictures_stand_together(reviewed, eight, tmp_path):
    again = tmp_path / "scans" / "again.jpg"
    Image.open(tmp_path / "scans" / "2.png").save(again, quality=90)
    page = reviewed(*eight, line(str(again), "A", 0.99), sample=1.0)
    page.press(*[Keys.ENTER] * 9)
    rows = saved(page, tmp_path)
    assert [row["file"] for row in rows][2:4] == ["scans/2.png", "scans/again.jpg"]
    assert [row["draw"] for row in rows] == ["random"] * 3 + ["duplicate-of"] + ["random"] * 5


def test_lines_are_corrected_by_typing_and_saved_as_pairs_too(reviewed, tmp_path):
    pictures = [str(write_pair(tmp_path / "scans", f"l{n}", "x", n)) for n in range(3)]
    xml = write_page(tmp_path / "pages", "p", ["y", "z"])
    page = reviewed(
        *(text_line(path, text, 0.1 + n / 10) for n, (path, text) in enumerate(zip(pictures, "abc", strict=True))),
        text_line(str(xml), "=d", 0.6, line="l0"),
        text_line(str(xml), "e", 0.7, line="l1"),
    )
    page.press(" ", *"later", Keys.ENTER, Keys.ENTER, Keys.F8, Keys.ENTER, Keys.F9)
    rows = saved(page, tmp_path)
    outcomes = [(row["file"], row["line"], row["text"], row["status"], row["label"]) for row in rows]
    assert outcomes == [
        ("scans/l0.png", "", "a later", "corrected", ""),
        ("scans/l1.png", "", "b", "accepted", ""),
        ("scans/l2.png", "", "", "unreadable", ""),
        ("pages/p.xml", "l0", "'=d", "accepted", ""),
        ("pages/p.xml", "l1", "", "no-character", ""),
    ]
    with zipfile.ZipFile(page.downloaded(tmp_path, "#save-pairs", "lines.zip")) as pairs:
        assert pairs.testzip() is None
        assert pairs.namelist() == ["l0.png", "l0.gt.txt", "l1.png", "l1.gt.txt", "p-l0.png", "p-l0.gt.txt"]
        assert pairs.read("l0.gt.txt").decode() == "a later\n"
        assert Image.open(io.BytesIO(pairs.read("l0.png"))).height == 48


def test_classes_of_several_characters_are_typed(reviewed, eight, tmp_path):
    eight[0]["character"] = "comma"
    page = reviewed(*eight)
    page.press(*"dash", Keys.ENTER, Keys.ENTER)
    assert [row["label"] for row in saved(page, tmp_path)] == ["dash", "B"]


def test_a_large_picture_stands_beside_what_it_is_read_as(reviewed, eight, tmp_path):
    page = Image.new("L", (900, 1200), 230)
    page.paste(20, (200, 300, 220, 420))  # a small stroke
    page.save(tmp_path / "photo.png")
    page = reviewed(line(str(tmp_path / "photo.png"), confidence=0.01), *eight)
    sizes = """return Array.from(document.querySelectorAll(arguments[0])).map((one) =>
        [one.naturalWidth, one.naturalHeight])"""
    page.wait_until(lambda: page.run(sizes, "#picture img") == [[72, 96], [28, 28]])
    assert page.run(sizes, ".card img")[:2] == [[28, 28], [96, 72]]
    page.press(Keys.ENTER)
    page.wait_until(lambda: page.run(sizes, "#picture img") == [[96, 72]])


def test_a_filter_shows_some_of_the_pictures(reviewed, eight):
    page = reviewed(*eight)
    set_to = """const one = document.getElementById(arguments[0]);
        one.value = arguments[1];
        one.dispatchEvent(new Event("input"))"""
    cards = "return Array.from(document.querySelectorAll('.card .text b')).map((one) => one.innerText)"
    page.run(set_to, "class", "=B")
    assert page.run(cards) == ["B"] * 3
    page.run(set_to, "below", "25")
    assert page.text("matching") == "1 match"
    page.press("x")
    page.run(set_to, "state", "open")
    assert "Nothing matches the filter" in page.text("says")
    page.run(set_to, "class", "")
    assert page.run(cards) == ["A"]


def test_a_screen_reader_is_told_everything(reviewed, eight):
    page = reviewed(*eight)
    assert (
        page.run("return document.querySelector('.card').ariaLabel") == "1: 0.png, read as A, 10.0 %, not yet reviewed"
    )
    page.press("x")
    assert "corrected to x" in page.run("return document.querySelector('.card').ariaLabel")
    assert page.text("says").startswith("A: corrected to x, which is no class that the model has named. 2 of 8: 1.png")
    nameless = """
        return Array.from(document.querySelectorAll("button, input, select, progress, [role]")).filter((one) =>
        !one.innerText && !one.ariaLabel && !(one.labels && one.labels.length) && one.offsetParent
        && !["status", "presentation", "listitem"].includes(one.role)).map((one) => one.outerHTML)"""
    assert page.run(nameless) == []
    assert page.run("return Array.from(document.images).every((one) => one.hasAttribute('alt'))")


def test_the_page_fits_a_phone(reviewed, eight):
    page = reviewed(*eight)
    with page.width(360):
        assert page.run("return document.documentElement.scrollWidth") <= 360
        assert page.run("return document.getElementById('list').clientHeight") > 200


TIMES = """
const took = [];
for (let number = 0; number < 100; number++) {
  const start = performance.now();
  const key = number % 2 ? "Enter" : "F8";
  document.getElementById("write").dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
  document.body.offsetHeight;
  took.push(performance.now() - start);
}
return took.sort((a, b) => a - b)[50];
"""


def first_paint(page) -> float:
    """When the page showed something, in milliseconds."""
    paint = "return performance.getEntriesByName('first-contentful-paint').map((one) => one.startTime)"
    page.wait_until(lambda: page.run(paint))
    return page.run(paint)[0]


@pytest.mark.parametrize("side", [28, pytest.param(96, marks=pytest.mark.thorough)])
def test_five_thousand_pictures_stay_fluent(reviewed, tmp_path, side):
    rng = np.random.default_rng(0)
    strokes = rng.integers(0, 2, (5000, 8, 8), np.uint8) * 255
    images = np.stack(
        [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in strokes]
    )
    np.save(tmp_path / "images.npy", images)
    source = str(tmp_path / "images.npy")
    page = reviewed(*(line(source, "ABC"[n % 3], n / 5000, index=n) for n in range(5000)), most=5000)
    assert (tmp_path / "review.html").stat().st_size <= 25e6
    assert page.text("done").startswith("0 of 5000")
    assert min(first_paint(page), first_paint(page.open(tmp_path / "review.html"))) < 2000
    assert page.run(TIMES) < 50
    page.run("document.getElementById('list').scrollTop = 1e9")
    page.wait_until(lambda: page.run("return document.querySelector('.card[aria-label^=\"5000:\"]') !== null"))
    assert page.run("return document.querySelectorAll('.card').length") < 200, "only what is seen is drawn"
    page.run("for (const item of items) setMark(item.id, {status: 'accepted', value: item.was, at: '', by: ''})")
    assert page.run(TIMES) < 50
    page.run("localStorage.clear()")


def labelled(folder: Path) -> list[dict[str, Any]]:
    """Of the first test examples, a right reading, two surely wrong ones and an unsure one."""
    manifest = manifests.read(folder)
    shard = folder / manifest.splits["test"].shards[0].name
    names = [item.source["label"] for item in islice(Shard(str(shard), manifest.schema).read(), 4)]
    others = [manifest.schema.vocabulary[manifest.schema.vocabulary.index(name) - 1] for name in names]
    readings = [(names[0], 0.99), (others[1], 0.95), (others[2], 0.97), (others[3], 0.5)]
    return [
        line(str(shard), reading, confidence, index=number, label=names[number])
        for number, (reading, confidence) in enumerate(readings)
    ]


def test_labels_that_the_model_contradicts_are_kept_changed_or_dropped(reviewed, synthetic_digits, tmp_path):
    lines = labelled(synthetic_digits)
    page = reviewed(*lines, label_issues=True)
    assert page.text("done").startswith("0 of 2"), "the sure ones alone"
    assert f"Labelled {lines[2]['label']} · read as {lines[2]['character']} 97.0 %" in page.text("reading")
    page.press(Keys.ENTER)
    page.press("1", held=Keys.ALT)
    rows = saved(page, tmp_path)
    assert [(row["index"], row["label"], row["status"]) for row in rows] == [
        ("2", lines[2]["label"], "corrected"),
        ("1", lines[1]["character"], "accepted"),
    ]
    examples = read_split(synthetic_digits, "test")[0]
    hashes = hashing.pixel_hashes(examples[..., None])
    path = page.downloaded(tmp_path, "#save-list", "exclude.tsv")
    assert exclude_list.read(str(path)).tolist() == [hashes[1]], "the label that stays is not on the list"
    path.unlink()
    page.press("z", held=Keys.CONTROL)
    page.press("z", held=Keys.CONTROL)
    page.press(Keys.ENTER, Keys.F9)
    path = page.downloaded(tmp_path, "#save-list", "exclude.tsv")
    assert exclude_list.read(str(path)).tolist() == [hashes[1]]


def test_label_issues_need_labels(tmp_path, eight):
    predictions = write_lines(tmp_path, *eight)
    with pytest.raises(InputError, match="--label-issues: the predictions have no labels"):
        review.run(ReviewConfig((str(predictions),), str(tmp_path / "review.html"), label_issues=True))
