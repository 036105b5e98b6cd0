"""The command that reproduces a run requests the same dataset and the same training."""

import shlex

from common import flags
from preprocess.config import PreprocessConfig
from trainer.config.settings import TrainConfig
from trainer.reporting import reproduction
from trainer.runs import run_folder


def test_preprocess_and_trainer_take_its_flags_and_understand_what_the_run_was_made_from(finished_run):
    results = run_folder.read_results(finished_run)
    steps = reproduction.command(results).split(" && \\\n")
    checkout, preprocess, train = map(shlex.split, steps)
    assert checkout == ["git", "checkout", results.run_info["commit"]]
    assert preprocess[:3] == ["python", "-m", "preprocess"]
    config = flags.parse(PreprocessConfig, preprocess[3:], "preprocess")
    request = results.run_info["dataset"]
    assert config.source == ("synthetic",)
    for name in request.keys() - {"files", "excluded_hashes"}:
        assert getattr(config, name) == request[name], name
    assert train[:4] == ["python", "-m", "trainer", "train"]
    again = flags.parse(TrainConfig, train[4:], "trainer train")
    assert again.data == "data/synthetic/digits/1.0.0"
    for name in ("model", "epochs", "global_batch_size", "verify_export"):
        assert getattr(again, name) == getattr(results.config, name), name
