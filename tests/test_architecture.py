"""The project's structure: imports, code style, and package metadata."""

import ast
import os
import re
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import grimp
import pytest

from tests.support import ROOT


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | environment
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )


def test_imports_flow_one_way():
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=None))"
    done = run("-c", program)
    assert done.returncode == 0, done.stdout


TOP_LEVELS = {
    "common": "beam cli config_io credentials errors flags fonts marks provenance signals",
    "preprocess": "main config catalogue pipeline plan stages publish",
    "trainer": "main train evaluate predict review export report check",
    "deploy": "main job retraining progress status history serving",
}
"""What each package has besides folders: commands, what they are asked by, and what they do from end to end."""


@pytest.mark.parametrize("package", TOP_LEVELS)
def test_a_package_shows_its_commands_and_folders_to_somebody_who_lists_it(package):
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__", "_build"}
    assert modules <= set(TOP_LEVELS[package].split())


def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph(*TOP_LEVELS, cache_dir=None)


def test_no_module_imports_itself_by_way_of_others():
    graph = import_graph()
    waiting = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    while free := {module for module, imported in waiting.items() if not imported & waiting.keys()}:
        waiting = {module: imported for module, imported in waiting.items() if module not in free}
    assert not waiting, "these are in a circle, or import one that is"


def test_no_module_takes_a_private_name_of_another():
    for package in TOP_LEVELS:
        for path in (ROOT / package).glob("**/*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            modules = set()
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in TOP_LEVELS:
                    private = [alias.name for alias in node.names if re.match("_(?!build$)", alias.name)]
                    assert not private, f"{path} imports {private}"
                    modules |= {alias.asname or alias.name for alias in node.names}
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                    assert not re.match("_(?!build$|_)", node.attr), f"{path}:{node.lineno} takes {node.attr}"


def imported_names(path: Path) -> set[str]:
    """Of modules, and of what is taken from them, with dots."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_what_tests_share_lies_in_support_and_no_test_module_is_imported():
    for path in (*ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/*.py")):
        for name in imported_names(path):
            assert not re.match(r"tests\.(.+\.)?(conftest|test_)", name), f"{path} imports {name}"


def test_the_code_is_linted_and_formatted():
    for command in (["check"], ["format", "--check"]):
        done = run("-m", "ruff", *command, "--no-cache", "--quiet", ".")
        assert done.returncode == 0, done.stdout


def test_the_package_declares_its_extras_and_commands():
    extras = {"preprocess", "cpu", "gpu", "formats", "heif", "dask", "deploy", "dev"}
    assert set(metadata.metadata("handwriting-trainer").get_all("Provides-Extra")) == extras
    scripts = metadata.entry_points(group="console_scripts")
    for name, module in (("preprocess", "preprocess.main"), ("train", "trainer.main"), ("deploy", "deploy.main")):
        assert scripts[f"handwriting-{name}"].value == f"{module}:main"


def test_constraints_are_names_and_versions_without_addresses():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r'#.*|[\w.-]+==[\w.]+(; python_version (<|>=) "3\.\d+")?', line), line


def test_a_source_distribution_carries_the_commit(tmp_path):
    done = run("setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path), "sdist", "--dist-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[-1]: name for name in archive.getnames()}
        assert {"preprocess/official_files.tsv", "trainer/recipes/article_cnn.yaml"} <= set(names)
        recorded = archive.extractfile(names["common/_build.py"]).read().decode()
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    assert f'COMMIT = "{commit}"' in recorded


def test_source_distributions_of_a_checkout_may_be_built_at_the_same_time(tmp_path):
    builds = []
    for number in range(3):
        place = str(tmp_path / str(number))
        Path(place).mkdir()
        command = ["setup.py", "--quiet", "egg_info", "--egg-base", place, "sdist", "--dist-dir", place]
        builds.append(subprocess.Popen([sys.executable, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True))
    complaints = [build.communicate()[1] for build in builds]
    assert [build.returncode for build in builds] == [0, 0, 0], complaints
    sizes = {path.stat().st_size for path in tmp_path.glob("*/*.tar.gz")}
    assert len(list(tmp_path.glob("*/*.tar.gz"))) == 3
    assert max(sizes) - min(sizes) < 100, "each is whole; gzip writes the time"


def test_a_source_distribution_carries_the_extras_that_its_target_needs(tmp_path):
    build = ("setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path), "sdist", "--dist-dir", str(tmp_path))
    done = run(*build, HANDWRITING_TRAINER_EXTRAS="preprocess,gpu")
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("handwriting_trainer-*/")
    (tmp_path / "metadata").mkdir()
    done = run("setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path / "metadata"), cwd=unpacked)  # as pip does
    assert done.returncode == 0, done.stderr
    (about,) = (tmp_path / "metadata").glob("*.egg-info/PKG-INFO")
    requirements = metadata.PathDistribution(about.parent).requires
    needed = {re.match(r"[\w.[\]-]+", requirement)[0] for requirement in requirements if "extra ==" not in requirement}
    assert {"apache-beam[gcp]", "tensorflow[and-cuda]", "keras", "cloudpathlib[gs]"} <= needed
    assert not {"tensorflow-cpu", "kubernetes", "pytest"} & needed
