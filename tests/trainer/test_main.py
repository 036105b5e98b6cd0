"""`python -m trainer`, as a user runs it."""

import re
import subprocess
import sys

import pytest

from tests.support.commands import run_command
from trainer import main


@pytest.mark.tensorflow
def test_the_last_line_of_stdout_is_the_run_folder(synthetic_digits, tmp_path):
    run = tmp_path / "run"
    arguments = ("train", "--data", str(synthetic_digits), "--config", "article_dense", "--epochs", "1")
    arguments += ("--calibration-pictures", "17")
    done = run_command("trainer", *arguments, "--run-dir", str(run))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(run)
    for line in ("no GPU found", "epoch 1/1", "test accuracy", f"SavedModel    {run / 'model'}", "metrics.json"):
        assert line in done.stderr
    assert "model, loaded again, reproduces the test figures" in done.stderr
    assert "global_batch_size: 100\n" in (run / "config.yaml").read_text()


@pytest.mark.tensorflow
def test_vertex_ai_finds_model_checkpoints_and_logs_where_it_asks_for_them(synthetic_digits, tmp_path):
    parts = {"AIP_MODEL_DIR": "model", "AIP_CHECKPOINT_DIR": "checkpoints", "AIP_TENSORBOARD_LOG_DIR": "logs"}
    variables = {name: f"{tmp_path}/out/{part}/" for name, part in parts.items()}
    variables["TF_CONFIG"] = '{"cluster": {"chief": ["a:2222"]}, "task": {"type": "chief", "index": 0}}'
    flags = ("--data", str(synthetic_digits), "--model", "dense", "--smoke", "--no-verify-export")
    flags += ("--calibration-pictures", "17")
    done = run_command("trainer", "train", *flags, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out")
    assert (tmp_path / "out" / "model" / "saved_model.pb").exists()
    assert list((tmp_path / "out" / "checkpoints").iterdir())
    assert list((tmp_path / "out" / "logs").rglob("events.*"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(
            ["train", "--data", "nowhere", "--run-dir", "x"],
            "error: nowhere: no manifest.json there",
            marks=pytest.mark.tensorflow,
        ),
        (["train", "--data", "d", "--run-dir", "x", "--model", "cnnn"], "'cnnn'.*'dense', 'cnn'"),
        (["train", "--data", "d", "--run-dir", "x", "--epoch", "3"], "--epoch.*--epochs"),
        (["train", "--config"], "--config: expects"),
        (["train", "--config=nope", "--data", "d"], "recipes: article_cnn, article_dense"),
        (["tran"], "unknown command 'tran'; known: train, evaluate"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments, complaint, capsys):
    assert main.main(arguments) == 2
    error = capsys.readouterr().err
    assert re.search(complaint, error)
    assert error.count("\n") == 1


@pytest.mark.tensorflow
def test_importing_the_trainer_loads_no_beam():
    program = "import sys, trainer.train, trainer.main; sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
