"""The command that makes a finished run again."""

import dataclasses
import shlex

from common import cli
from common.dataset import manifest as manifests
from preprocess.config import SYNTHETIC, PreprocessConfig
from trainer.run_folder import Results


def command(results: Results) -> str:
    """What does all of it again, for a shell; where source files lie, only their owner knows."""
    request = results.facts["dataset"]
    taken_over = {field.name for field in dataclasses.fields(PreprocessConfig)} & set(request)
    source = SYNTHETIC if request["dataset"].startswith(f"{SYNTHETIC}/") else "SOURCE"
    preprocess = PreprocessConfig(source=(source,), data_dir="data", **{name: request[name] for name in taken_over})
    data = str(manifests.dataset_folder(preprocess.data_dir, preprocess.dataset))
    train = dataclasses.replace(results.config, data=data, run_dir="runs/again")
    steps = [
        ["git", "checkout", results.facts["commit"]],
        ["python", "-m", "preprocess", *cli.to_flags(preprocess)],
        ["python", "-m", "trainer", "train", *cli.to_flags(train)],
    ]
    return " && \\\n".join(map(shlex.join, steps))
