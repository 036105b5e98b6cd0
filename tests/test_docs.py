"""The pages are true: their commands run, their settings are read, their links, flags and quoted errors exist.

What a page leaves to its reader is replaced by `SUBSTITUTIONS`; what would take minutes is made smaller (`SMALLER`,
`_make_job_smaller`). All else runs as it stands, in a folder with a source under each path that pages name.
"""

import ast
import contextlib
import dataclasses
import importlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from common import storage
from common.marks import settings_of
from common.normalize.character import to_image
from common.photographs import photograph
from deploy import job as jobs
from deploy.config import commands as deploy_commands
from deploy.job import Job
from deploy.main import main as deploy_main
from deploy.targets import crontab as crontabs
from deploy.targets import local
from preprocess.catalogue import find
from preprocess.config import PreprocessConfig
from preprocess.sources import synthetic
from tests.support import ROOT, docs
from tests.support.cloud_stub import GoogleCloud, Kubernetes
from tests.support.clouds import cluster, crontab, google  # noqa: F401
from tests.support.docs import ALL_PAGES, PAGES, Block, Shell
from tests.support.forms import draw_pictures, zip_folder
from tests.support.jobs import REMOTE_JOB
from tests.support.sources import IdxSource
from trainer.config import commands as trainer_commands
from trainer.config import recipes
from trainer.config import settings as training_settings
from trainer.config.settings import TrainConfig

pytestmark = pytest.mark.usefixtures("models_loaded_once")

SUBSTITUTIONS = {
    "PROJECT": "my-project",
    "gs://OURS": "gs://test",
    "gs://ours": "gs://test/ours",
    "gs://raw": "gs://test/raw",
}
SMALLER = {
    "trainer train": "--smoke --no-verify-export --global-batch-size 32 --calibration-pictures 17",
    "trainer train --data mine": "--model dense",
}
CHAPTERS = [
    ("README.md", "docs/train.md", "docs/serve.md", "docs/review.md", "docs/evaluate-and-report.md"),
    ("docs/your-own-handwriting.md",),
    ("docs/data.md",),
    ("docs/deploy/README.md", "docs/deploy/local.md"),
    ("docs/deploy/vertex.md",),
    ("docs/deploy/kubernetes.md",),
    ("docs/deploy/dataflow.md",),
    ("CONTRIBUTING.md",),
]
"""Pages with something to run; those of one chapter are read one after the other, in the same folder."""
WITHOUT_TENSORFLOW = {
    "docs/deploy/vertex.md",
    "docs/deploy/kubernetes.md",
    "docs/deploy/dataflow.md",
    "CONTRIBUTING.md",
}
FOREIGN = re.compile(r"\b(docker|kubectl|gcloud|tensorboard|tensorflow_model_server)\b[^`\n]*")
"""Commands of others that a sentence or a comment names."""
FLAG = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")


def make_sources(folder: Path) -> None:
    """Sources and pictures, under the names that they have on the pages."""
    to = folder / "path" / "to"
    letters = IdxSource(to / "gzip", find("emnist/letters"), {"train": 400, "test": 100})
    draw_pictures(letters)
    zip_folder(IdxSource(to / "balanced", find("emnist/balanced"), {"train": 400, "test": 100}))
    for name in ("scans", "more"):
        (folder / name).mkdir()
        shutil.copy(next(to.glob("pictures/A/*.png")), folder / name)
    take_photographs(folder / "photographs", "ABCDEFGHIJKLMNOPQRST", seed=0)
    take_photographs(folder / "new", "AB", seed=1)
    (folder / "photographs" / "Z").mkdir()
    Image.new("L", (300, 400), 230).save(folder / "photographs" / "Z" / "desk.png")  # blank paper


def take_photographs(folder: Path, characters: str, seed: int) -> None:
    """Writes a photograph of each character into its sub-folder."""
    for number, character in enumerate(characters):
        rng = np.random.default_rng([seed, number])
        image = to_image(synthetic.draw(character, rng))
        (folder / character).mkdir(parents=True)
        (folder / character / "desk.jpg").write_bytes(
            photograph(image, ("ruled", "shadow", "exif")[number % 3], rng, 400)
        )


class Reader:
    """Does what a page says, block by block."""

    def __init__(self, google_cloud: GoogleCloud, kubernetes: Kubernetes, patch: pytest.MonkeyPatch) -> None:
        self._google, self._cluster, self._patch = google_cloud, kubernetes, patch
        self._shell = Shell(SUBSTITUTIONS, SMALLER, self._before)

    def follow(self, block: Block) -> None:
        if block.reason is None:
            getattr(self, f"_{block.language}")(block)

    def _bash(self, block: Block) -> None:
        for command in docs.commands(block):
            printed = self._shell.run(command.line)
            for line in command.shown:
                assert docs.is_shown(line, printed), f"{line!r} is not what {command.line!r} prints:\n{printed}"

    _console = _bash

    def _text(self, block: Block) -> None:
        pass

    def _yaml(self, block: Block) -> None:
        """Sections of a job become part of `job.yaml`; anything else is settings of a training."""
        sections = yaml.safe_load(self._shell.replace(block.text))
        if sections.keys() <= {field.name for field in dataclasses.fields(Job)}:
            path = Path("job.yaml")
            job = yaml.safe_load(path.read_text()) if path.exists() else REMOTE_JOB
            path.write_text(self._shell.replace(yaml.safe_dump(job | sections)))
            jobs.read(str(path))
        else:
            Path("settings.yaml").write_text(block.text)
            config = recipes.defaults("settings.yaml", ["--data", "d", "--run-dir", "r"])
            data = dataclasses.replace(config.data, folder="d")
            training_settings.check(dataclasses.replace(config, data=data, run_dir="r"))

    def _python(self, block: Block) -> None:
        for path in Path("runs/letters/formats").glob("*"):
            shutil.copy(path, ".")
        exec(compile(block.text, str(block), "exec"), dict(python_names(block.text)))

    def _json(self, block: Block) -> None:
        """Has no other names than a JSON file that the commands so far have written."""
        shown = json.loads(re.sub(r",? ?…", "", block.text))
        texts = {path: path.read_text() for path in Path().rglob("*.json*") if path.suffix != ".gz"}
        lines = [text.splitlines()[0] if path.suffix == ".jsonl" else text for path, text in texts.items()]
        assert any(shown.keys() <= json.loads(line).keys() for line in lines), (
            f"{list(shown)} are in none of {[*texts]}"
        )

    def _before(self, words: list[str]) -> None:
        if words[0] == "deploy" and (job := Path("job.yaml")).exists():
            self._make_job_smaller(job)
        if words[:2] == ["deploy", "promote"]:
            (run,) = (path for path in Path("runs/handwriting").iterdir() if path.is_dir())
            shutil.copytree(run, "runs/by-hand")
        if words[:2] == ["trainer", "export"]:
            self._patch.setattr("trainer.export._SECONDS_OF_TIMING", 0.01)
            self._patch.setattr("trainer.export.use_one_thread", lambda: None)  # TensorFlow is at work already
        if "runs/letters-2" in words:
            shutil.copytree("runs/letters", "runs/letters-2")
        if "gs://test/ours/scans" in words:
            storage.to_path("gs://test/ours/scans").upload_from(Path("scans"))
            storage.to_path("gs://test/ours/runs/letters/model").upload_from(Path("runs/letters/model"))
        self._end_jobs(is_over="--follow" in words)

    def _make_job_smaller(self, path: Path) -> None:
        job = yaml.safe_load(path.read_text())
        if job["train"].get("epochs") == 5:  # as `init` has it
            job["train"] = {"model": "dense", "epochs": 1, "global_batch_size": 32, "verify_export": False}
            job["train"] |= {"calibration_pictures": 17}
            job["gate"]["min_accuracy"] = 0.001
            path.write_text(yaml.safe_dump(job))

    def _end_jobs(self, is_over: bool) -> None:
        """Jobs in clouds are over when somebody follows their log, and at work otherwise."""
        for job in self._google.custom_jobs.values():
            job["state"] = "JOB_STATE_SUCCEEDED" if is_over else "JOB_STATE_RUNNING"
        for (kind, name), item in self._cluster.objects.items():
            if kind == "jobs":
                self._cluster.end(name, "Complete") if is_over else item.update(status={"active": 1})


def python_names(code: str) -> Iterator[tuple[str, object]]:
    """What a block leaves to its reader: imports, two pictures as files, and images as in a dataset folder."""
    for name, module in (("tf", "tensorflow"), ("onnxruntime", "onnxruntime"), ("ai_edge_litert", "ai_edge_litert")):
        if f"{name}." in code:
            yield name, importlib.import_module(module)
    if "ai_edge_litert." in code:
        importlib.import_module("ai_edge_litert.interpreter")
    picture = Image.open(next(Path("scans").iterdir()))
    for name in ("png", "jpeg"):
        content = io.BytesIO()
        picture.save(content, name)
        yield name, content.getvalue()
    yield "images", np.zeros((2, 28, 28, 1), np.uint8)


class InThisProcess:
    """In place of a process that `submit` starts: runs `python -m deploy …` here, to its end."""

    def __init__(self, command: list[str], stdout: io.IOBase | None = None, **_: object) -> None:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            self.returncode = deploy_main(command[3:])
        if stdout:
            stdout.write(printed.getvalue().encode())
        self.pid = os.getpid()
        self._looks = 0

    def wait(self) -> int:
        return self.returncode

    def poll(self) -> int | None:
        self._looks += 1
        return None if self._looks == 1 else self.returncode


@pytest.fixture
def reader(request, tmp_path, monkeypatch) -> Reader:
    """In a folder with all that pages name, a crontab, a bucket, and clouds that are stand-ins."""
    stubs = {name: request.getfixturevalue(name) for name in ("bucket", "google", "cluster", "crontab")}
    folder = tmp_path / "reader"
    make_sources(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))  # of the cache
    monkeypatch.setattr(synthetic, "EXAMPLES_PER_CLASS", {"train": 12, "test": 4})
    monkeypatch.setattr(crontabs, "_LOCAL_TIME", Path("/usr/share/zoneinfo/Etc/UTC"))
    monkeypatch.setattr(local, "subprocess", SimpleNamespace(Popen=InThisProcess, DEVNULL=None, STDOUT=None))
    monkeypatch.setenv("HANDWRITING_TRAINER_EXTRAS", "")  # Dataflow's submit changes it
    for path in Path("path/to/gzip").iterdir():
        storage.to_path(f"gs://test/raw/emnist/gzip/{path.name}").upload_from(path)
    storage.to_path("gs://test/ours/settings/cnn.yaml").write_text("model: dense")
    return Reader(stubs["google"], stubs["cluster"], monkeypatch)


def chapters() -> Iterator[object]:
    for pages in CHAPTERS:
        yield pytest.param(pages, marks=[] if WITHOUT_TENSORFLOW.issuperset(pages) else [pytest.mark.tensorflow])


@pytest.mark.parametrize("pages", chapters(), ids=lambda pages: pages[0])
def test_what_pages_say_can_be_done(pages, reader, capfd):
    blocks = [block for page in pages for block in docs.blocks(page)]
    assert any(block.reason is None for block in blocks), "there is something to do"
    for block in blocks:
        try:
            reader.follow(block)
        except Exception as error:
            raise AssertionError(f"{block}: {error}\n{capfd.readouterr().err}") from error


@pytest.mark.parametrize("page", PAGES)
def test_every_block_names_its_language_and_is_run_or_says_why_not(page):
    blocks = docs.blocks(page)
    assert docs.read(page).count("```") == 2 * len(blocks)
    for block in blocks:
        assert block.language in ("bash", "console", "python", "yaml", "json", "text"), block
        assert block.reason or block.language == "text" or any(page in pages for pages in CHAPTERS), (
            f"{block}: is not run"
        )
        for test in re.findall(r"tests/\S+\.py", block.reason or ""):
            assert (ROOT / test).is_file(), f"{block}: {test} is no test"


@pytest.mark.parametrize("page", ALL_PAGES)
def test_links_lead_to_what_is_there(page):
    for link in docs.links(page):
        path, _, anchor = link.partition("#")
        assert "://" not in link, f"{link}: nobody checks it"
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.is_file(), f"{page}: {link}"
        if anchor:
            assert anchor in docs.anchors(os.path.relpath(target, ROOT)), f"{page}: {link}"


def flags_of(config_type: type, prefix: str = "--") -> Iterator[str]:
    for setting in settings_of(config_type):
        if dataclasses.is_dataclass(setting.type):
            yield from flags_of(
                setting.type, prefix if setting.is_group else f"{prefix}{setting.name}.".replace("_", "-")
            )
        else:
            name = setting.flat_name.replace("_", "-")
            yield f"{prefix}{name}"
            if setting.type is bool:
                yield f"{prefix}no-{name}"


def our_flags() -> set[str]:
    modules = (deploy_commands, trainer_commands)
    types = [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    ]
    return {flag for kind in (PreprocessConfig, TrainConfig, *types) for flag in flags_of(kind)} | {
        *("--config", "--help", "--help-all")
    }


def beam_flags() -> set[str]:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.dask import dask_runner  # noqa: F401

    parsers = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    return {option for parser in parsers for action in parser._actions for option in action.option_strings}


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_exists(page):
    blocks = [block.text.replace("\\\n", "") for block in docs.blocks(page) if not block.reason]
    ours, beams = our_flags(), beam_flags()
    for line in (*docs.code_spans(page), *(line for text in blocks for line in text.splitlines())):
        line = FOREIGN.sub("", line)
        script = ROOT / "benchmarks" / line.split(" ")[0]
        if script.suffix == ".py" and script.exists():
            assert set(FLAG.findall(line)) <= set(FLAG.findall(script.read_text())), line
            continue
        own, _, after = f" {line}".partition(" -- ")
        assert set(FLAG.findall(own)) <= ours, line
        assert set(FLAG.findall(after)) <= beams, line


@pytest.mark.parametrize("page", ALL_PAGES)
def test_every_file_of_the_project_that_is_named_exists(page):
    for span in docs.code_spans(page):
        if re.fullmatch(r"(common|preprocess|trainer|deploy|tests|benchmarks|docs)/[\w./]*", span):
            assert (ROOT / span).exists(), span


def texts_of_the_code() -> list[str]:
    """All texts in the code; what is filled in later is `…`."""
    texts = []
    for package in ("common", "preprocess", "trainer", "deploy"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    texts.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return texts


def test_symptoms_are_what_the_code_says():
    texts = texts_of_the_code()
    table = docs.prose("docs/troubleshooting.md").partition("## Symptoms")[2]
    symptoms = [span for span in re.findall(r"^\| `([^`]+)`", table, re.MULTILINE) if " " in span]
    assert len(symptoms) > 10
    for symptom in symptoms:
        pattern = re.compile(".*".join(map(re.escape, symptom.split("…"))))
        assert any(pattern.search(text) for text in texts), symptom


def test_the_readme_is_a_page():
    assert len(docs.read("README.md").split()) <= 700
