"""The report of a run, as a real browser shows it."""

import base64
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common import flags
from common.errors import InputError
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from tests.support.datasets import read_split
from tests.support.settings import changed, train_config
from trainer import main, report, tasks, train
from trainer.config import recipes
from trainer.config import settings as configs
from trainer.config.commands import ReportConfig
from trainer.config.settings import TrainConfig
from trainer.evaluation import significance
from trainer.runs import run_folder


@pytest.fixture(scope="module")
def figures(finished_run) -> dict:
    return json.loads((finished_run / "metrics.json").read_text())


@pytest.fixture
def page(browser, finished_run):
    """The report of the run, opened from disk."""
    return browser.open(finished_run / "report" / "index.html")


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f} %"


def test_the_headline_figures_are_those_of_metrics_json(page, figures):
    test = figures["test"]
    assert page.text("accuracy") == percent(test["accuracy"])
    assert page.text("top-3") == percent(test["accuracy_top_3"])
    assert page.text("macro-f1") == percent(test["macro_f1"])
    assert page.text("test-loss") == f"{test['loss']:.4f}"
    assert page.text("calibration") == percent(test["expected_calibration_error_calibrated"])


def test_the_charts_draw_the_figures_of_the_run(page, figures, finished_run):
    test = figures["test"]
    epochs = [json.loads(line) for line in (finished_run / "metrics.jsonl").read_text().splitlines()]
    confusion = page.run("return document.getElementById('chart-confusion').data[0].customdata")
    assert confusion == test["confusion_matrix"]
    bars = page.run("return Array.from(document.getElementById('chart-per-class').data[0].y)")
    assert bars == pytest.approx([scores["f1"] for scores in test["per_class"].values()])
    for key in ("loss", "accuracy"):
        for number, split in enumerate(("train", "validation")):
            drawn = page.run(f"return Array.from(document.getElementById('chart-{key}').data[{number}].y)")
            assert drawn == pytest.approx([line[split][key] for line in epochs])
    drawn = page.run("return document.getElementById('chart-reliability').data.map(one => one.name)")
    assert drawn == ["perfectly calibrated", "before calibration", "after"]


def test_nothing_is_fetched_and_nothing_goes_wrong(page, finished_run):
    assert page.errors() == []
    assert (
        page.run("return performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:'))") == []
    )
    assert [path.name for path in (finished_run / "report").iterdir()] == ["index.html"]


def test_the_confusion_matrix_can_be_pointed_at_and_reduced_to_mistakes(page, figures):
    visible = "return document.getElementById('chart-confusion').data.map(one => one.visible)"
    assert page.run(visible) == [True, False]
    page.run(
        "document.querySelectorAll('#chart-confusion .updatemenu-button')[1].dispatchEvent(new MouseEvent('click'))"
    )
    assert page.run(visible) == [False, True]
    page.point_at("#chart-confusion .nsewdrag", across=0.55, down=0.35)  # ten classes: the sixth column, the fourth row
    times = figures["test"]["confusion_matrix"][3][5]
    shown = "return document.querySelector('#chart-confusion').textContent"
    page.wait_until(lambda: f"3 taken for 5: {times} times" in page.run(shown))


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_the_page_is_as_wide_as_the_window(page, width):
    charts = "return ['loss', 'accuracy'].map(name => document.querySelector(`#chart-${name} .main-svg`).clientWidth)"
    with page.width(width):
        page.wait_until(lambda: max(page.run(charts)) <= width)
        page.wait_until(
            lambda: page.run("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        )
        left, right = page.run(charts)
        assert left == pytest.approx(right, abs=2)


def test_each_picture_tells_in_words_what_it_shows(page):
    assert page.run("return Array.from(document.images).filter(one => !one.alt || !one.naturalWidth).length") == 0
    assert page.run("return document.images.length") > 10


def test_mistakes_are_shown_by_their_very_pictures(page, finished_run, synthetic_digits):
    images, labels = read_split(synthetic_digits, "test")
    results = run_folder.read_results(finished_run)
    shown = page.run("return Array.from(document.querySelectorAll('#mistakes img')).map(one => [one.src, one.alt])")
    predicted = results.predictions["probabilities"].argmax(axis=1)
    wrong = [255 - images[number] for number in np.flatnonzero(predicted != labels)]
    assert len(shown) == min(48, len(wrong))
    for source, _ in shown:
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))))
        assert any(np.array_equal(picture, image) for image in wrong)
    surest = np.where(predicted == labels, 0, results.predictions["probabilities"].max(axis=1)).argmax()
    assert shown[0][1] == f"{labels[surest]} taken for {predicted[surest]}"


def test_the_command_asks_for_the_same_run_again(page, finished_run):
    checkout, preprocess, again = page.text("command").replace("\\\n", "").split("&&")
    run_info = json.loads((finished_run / "run.json").read_text())
    assert checkout.split() == ["git", "checkout", run_info["commit"]]
    asked = flags.parse(PreprocessConfig, shlex.split(preprocess)[3:], "preprocess")
    assert (asked.dataset, asked.source, asked.num_shards) == ("synthetic/digits", ("synthetic",), 16)
    recipe, others = flags.take("--config", shlex.split(again)[4:])
    asked = flags.parse(TrainConfig, others, "train", default=recipes.defaults(recipe, others))
    assert configs.differences(configs.read(finished_run / "config.yaml"), asked) == []


def test_on_paper_charts_are_as_wide_as_the_paper(page):
    assert page.printed().startswith(b"%PDF")
    assert page.errors() == []


def test_without_the_dataset_the_page_says_so(browser, finished_run, tmp_path, caplog):
    moved = tmp_path / "run"
    shutil.copytree(finished_run, moved)
    config = configs.read(moved / "config.yaml")
    (moved / "config.yaml").write_bytes(configs.to_yaml(changed(config, data=str(tmp_path / "gone"))))
    page = browser.open(report.run(ReportConfig((str(moved),))))
    assert "gone: no manifest.json there" in caplog.text
    assert "no pictures of mistakes" in page.run("return document.body.textContent")
    assert page.errors() == []


def test_what_somebody_else_has_named_is_text(browser, finished_run, tmp_path):
    """Classes of people's own pictures are named by their folders."""
    moved = tmp_path / "run"
    shutil.copytree(finished_run, moved)
    evil = "<img src=x onerror=alert(1)>"
    content = (moved / "metrics.json").read_text().replace('"7"', json.dumps(evil))
    (moved / "metrics.json").write_text(content)
    page = browser.open(report.run(ReportConfig((str(moved),))))
    assert page.run("return document.querySelectorAll('img[src=x]').length") == 0
    assert evil in page.run("return document.getElementById('chart-per-class').data[0].x")
    assert page.errors() == []


@pytest.fixture(scope="module")
def other_runs(synthetic_digits, tmp_path_factory) -> list[Path]:
    """Another seed, and a run on another dataset's test split."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {"model": "dense", "epochs": 1, "global_batch_size": 64, "seed": 1, "verify_export": False}
    config = train_config(str(synthetic_digits), str(folder / "seed"), **settings)
    data = pipeline.run(PreprocessConfig("synthetic/digits", ("synthetic",), str(folder / "data"), seed=1))
    return [
        Path(train.run(config)),
        Path(train.run(changed(config, data=data, run_dir=str(folder / "elsewhere"), epochs=2))),
    ]


def test_several_runs_are_compared_on_one_page(browser, finished_run, other_runs, tmp_path):
    runs = [finished_run, *other_runs]
    output = tmp_path / "pages" / "compared.html"
    config = ReportConfig(tuple(map(str, runs)), str(output), price_per_hour=2.5)
    assert report.run(config) == str(output)
    page = browser.open(output)
    assert page.errors() == []
    results = [run_folder.read_results(run) for run in runs]
    table = page.text("runs")
    for result in results:
        assert percent(result.metrics["test"]["accuracy"]) in table
    right = [result.predictions["probabilities"].argmax(axis=1) == result.predictions["labels"] for result in results]
    only_first = int(np.sum(right[0] & ~right[1]))
    row = page.run("return document.querySelector('#differences tbody tr').innerText").split()
    assert row[1] == str(only_first)
    assert "on other test examples" in page.text("differences")
    assert page.run("return document.getElementById('chart-accuracy').data.map(one => one.name)") == [
        run.name for run in runs
    ]
    settings = page.text("settings")
    assert all(name in settings for name in ("epochs", "seed"))
    assert "global_batch_size" not in settings


def test_a_smoke_test_is_not_compared_example_by_example_and_settings_are_shown_as_flags_have_them(
    finished_run, tmp_path
):
    smoke = Path(shutil.copytree(finished_run, tmp_path / "smoke"))
    config = changed(configs.read(smoke / "config.yaml"), smoke=True, augmentation=("rotate(5)", "shift(1)"))
    (smoke / "config.yaml").write_bytes(configs.to_yaml(config))
    results = run_folder.read_results(smoke)
    results.metrics["test"] |= {"num_examples": 128, "accuracy": 0.5}
    run_folder.write_json(smoke / "metrics.json", results.metrics)
    few = {name: values[:128] for name, values in results.predictions.items()}
    run_folder.write_predictions(smoke / "predictions.npz", few)
    page = Path(report.run(ReportConfig((str(finished_run), str(smoke)), str(tmp_path / "page.html")))).read_text()
    assert "on other test examples" in page
    assert "<td>none</td><td>rotate(5) shift(1)</td>" in page


def test_runs_on_lines_are_compared_by_the_errors_in_each_group(numbers_run, tmp_path):
    """The second reads nothing in twelve of the lines, of which three are of one writer."""
    writers = np.arange(75) // 3 * 3
    runs = [Path(shutil.copytree(numbers_run, tmp_path / name)) for name in ("first", "second")]
    results = [run_folder.read_results(run) for run in runs]
    blank = len(results[0].schema.vocabulary)
    for run, result, unread in zip(runs, results, (0, 12), strict=True):
        outputs = result.predictions["outputs"].copy()
        outputs[:unread, :, 0] = blank
        run_folder.write_predictions(
            run / "predictions.npz", result.predictions | {"outputs": outputs, "group": writers}
        )
        result.run_info["dataset"]["lines"]["group_by"] = "writer"
        run_folder.write_json(run / "run.json", result.run_info)
        result.metrics["test"]["accuracy"] -= unread / 100
        run_folder.write_json(run / "metrics.json", result.metrics)
    page = Path(report.run(ReportConfig(tuple(map(str, runs)), str(tmp_path / "page.html")))).read_text()
    table = page[page.index('<table id="differences">') :]
    cells = re.findall(r"<td[^>]*>([^<]*)", table)
    first, second = (
        tasks.of(result.schema).score(run_folder.read_results(run).predictions, result.schema.vocabulary, result.schema)
        for run, result in zip(runs, results, strict=True)
    )
    difference = significance.compare(first, second)
    assert cells[:3] == [str(difference.first_better), "0", "25"]
    assert difference.first_better <= 12
    assert cells[3] == percent(difference.accuracy)
    assert cells[5] == f"{2 * 2**-4:.2g}"
    assert "errors in the lines of each writer" in page
    assert '<th class="number">character error rate</th>' in page
    assert "macro F1" not in page


def test_from_the_command_line_the_page_is_the_last_line(finished_run, tmp_path, capsys):
    moved = shutil.copytree(finished_run, tmp_path / "run")
    assert main.main(["report", str(moved)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(moved / "report" / "index.html")


@pytest.mark.parametrize(
    ("runs", "changes", "complaint"),
    [
        ((), {}, "name at least one run folder"),
        (("nowhere",), {}, r"nowhere: holds no finished run \(there is no metrics.json\)"),
        (("s3://bucket/run",), {}, "s3://bucket/run: cannot read or write there"),
        (("nowhere",), {"price_per_hour": -1.0}, "--price-per-hour -1.0: must be a number from 0"),
    ],
)
def test_bad_requests_are_refused(runs, changes, complaint):
    with pytest.raises(InputError, match=complaint):
        report.run(ReportConfig(runs, **changes))


@pytest.mark.parametrize("name", ["metrics.json", "metrics.jsonl", "predictions.npz"])
def test_damaged_results_are_named(finished_run, tmp_path, name):
    moved = tmp_path / "run"
    shutil.copytree(finished_run, moved)
    (moved / name).write_bytes((moved / name).read_bytes()[:-9])
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        report.run(ReportConfig((str(moved),)))
