"""The command that reproduces a run requests the same dataset and the same training."""

import shlex
from dataclasses import replace

from common import flags
from preprocess.config import PreprocessConfig
from trainer.config import recipes
from trainer.config import settings as configs
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
    for name in request.keys() - {"files", "excluded_hashes", "conversion", "lines"}:
        assert getattr(config, name) == request[name], name
    assert train[:4] == ["python", "-m", "trainer", "train"]
    recipe, others = flags.take("--config", train[4:])
    again = flags.parse(TrainConfig, others, "trainer train", default=recipes.defaults(recipe, others))
    assert (again.data.folder, again.run_dir) == ("data/synthetic/digits/1.0.0", "runs/again")
    assert configs.differences(again, results.config) == []


def test_the_version_of_the_conversion_is_the_commits(finished_run):
    results = run_folder.read_results(finished_run)
    pictures = replace(
        results, run_info=results.run_info | {"dataset": results.run_info["dataset"] | {"conversion": 2}}
    )
    assert reproduction.command(pictures) == reproduction.command(results)


def test_a_list_of_excluded_examples_is_left_to_its_owner(finished_run):
    results = run_folder.read_results(finished_run)
    request = results.run_info["dataset"]
    # Of this version, and of one that named it otherwise.
    for name in ("excluded_hashes", "dropped_keys"):
        plain = {key: value for key, value in request.items() if key != "excluded_hashes"} | {name: "0" * 64}
        changed = replace(results, run_info=results.run_info | {"dataset": plain})
        assert " --exclude LIST " in reproduction.command(changed)
    assert "--exclude" not in reproduction.command(results)
