"""The shape of the project: who may import whom, how the code is written, what the package says of itself."""

import re
import subprocess
import sys
import tarfile
from importlib import metadata

from tests.conftest import ROOT


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_flow_one_way():
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=None))"
    done = run("-c", program)
    assert done.returncode == 0, done.stdout


def test_the_code_is_linted_and_formatted():
    for command in (["check"], ["format", "--check"]):
        done = run("-m", "ruff", *command, "--no-cache", "--quiet", ".")
        assert done.returncode == 0, done.stdout


def test_the_package_declares_its_extras_and_commands():
    extras = {"preprocess", "cpu", "gpu", "formats", "dask", "deploy", "dev"}
    assert set(metadata.metadata("handwriting-trainer").get_all("Provides-Extra")) == extras
    scripts = metadata.entry_points(group="console_scripts")
    for name, room in (("preprocess", "preprocess"), ("train", "trainer"), ("deploy", "deploy")):
        assert scripts[f"emnist-{name}"].value == f"{room}.task:main"


def test_constraints_are_names_and_versions_without_addresses():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r'#.*|[\w.-]+==[\w.]+(; python_version (<|>=) "3\.\d+")?', line), line


def test_a_source_distribution_carries_the_commit(tmp_path):
    done = run("setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path), "sdist", "--dist-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[-1]: name for name in archive.getnames()}
        assert {"preprocess/official_files.tsv", "trainer/recipes/article_cnn.yaml"} <= set(names)
        recorded = archive.extractfile(names["preprocess/_build.py"]).read().decode()
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    assert f'COMMIT = "{commit}"' in recorded
