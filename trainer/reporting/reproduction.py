"""The command that reproduces a finished run."""

import shlex

from common import config_io
from common.dataset import manifest as manifests
from common.dataset.manifest import Request
from trainer.runs import run_folder
from trainer.runs.run_folder import Results

_SYNTHETIC = "synthetic"
_NO_FLAGS = ("dataset", "files", "excluded_hashes", "conversion")


def command(results: Results) -> str:
    """A shell command for dataset and run, with the run's own settings.

    SOURCE stands for the source files, and LIST for the list of excluded examples: only their owner has them.
    """
    request = config_io.from_plain(Request, results.run_info["dataset"], run_folder.RUN)
    data = str(manifests.dataset_folder("data", request.dataset))
    settings = f"{results.config.run_dir.rstrip('/')}/{run_folder.CONFIG}"
    origin = results.config.initialize_from
    steps = [
        ["git", "checkout", results.run_info["commit"]],
        ["python", "-m", "preprocess", *_preprocess_flags(request)],
        ["python", "-m", "trainer", "train", "--config", settings, "--data", data, "--run-dir", "runs/again"]
        + (["--initialize-from", origin] if origin else []),
    ]
    return " && \\\n".join(map(shlex.join, steps))


def _preprocess_flags(request: Request) -> list[str]:
    """The flags of `python -m preprocess` for a dataset's `Request`, independent of future defaults."""
    source = _SYNTHETIC if request.dataset.startswith(f"{_SYNTHETIC}/") else "SOURCE"
    flags = ["--dataset", request.dataset, "--source", source, "--data-dir", "data"]
    if request.excluded_hashes:
        flags += ["--exclude", "LIST"]
    plain = config_io.to_plain(request)
    for name, value in (plain | (plain.pop("lines") or {})).items():
        if name in _NO_FLAGS or value is None or value is False:
            continue
        values = () if value is True else value if isinstance(value, list) else (value,)
        flags += [f"--{name.replace('_', '-')}", *map(str, values)]
    return flags
