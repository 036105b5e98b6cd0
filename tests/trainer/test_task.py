"""`python -m trainer`, as a user runs it."""

import pytest

from tests.conftest import run_command
from trainer import task


def test_the_last_line_of_stdout_is_the_run_folder(synthetic_digits, tmp_path):
    run = tmp_path / "run"
    arguments = ("train", "--data", str(synthetic_digits), "--config", "article_dense", "--epochs", "1")
    done = run_command("trainer", *arguments, "--run-dir", str(run))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(run)
    for line in ("no GPU found", "epoch 1/1", "test accuracy", f"SavedModel    {run / 'model'}", "metrics.json"):
        assert line in done.stderr
    assert "global_batch_size: 100\n" in (run / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["train", "--data", "nowhere", "--run-dir", "x"], "error: nowhere: no manifest.json there"),
        (["train", "--data", "d", "--run-dir", "x", "--model", "cnnn"], "'cnnn'.*'dense', 'cnn'"),
        (["train", "--data", "d", "--run-dir", "x", "--epoch", "3"], "--epoch.*--epochs"),
        (["train", "--config"], "--config: expects"),
        (["train", "--config=nope", "--data", "d"], "recipes: article_cnn, article_dense"),
        (["tran"], "unknown command 'tran'; known: train, evaluate"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments, complaint, capsys):
    import re

    assert task.main(arguments) == 2
    error = capsys.readouterr().err
    assert re.search(complaint, error)
    assert error.count("\n") == 1


def test_importing_the_trainer_loads_no_beam():
    import subprocess
    import sys

    program = "import sys, trainer.train, trainer.task; sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
