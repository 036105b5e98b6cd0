"""`python -m preprocess`, as a user runs it."""

from preprocess import main
from tests.support.commands import run_command


def test_the_last_line_of_stdout_is_the_dataset_folder(make_source, tmp_path, capsys, caplog):
    source = make_source("mnist/original")
    arguments = ("--dataset", "mnist/original", "--source", str(source.folder), "--data-dir", str(tmp_path / "data"))
    first = run_command("preprocess", *arguments)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == str(tmp_path / "data" / "mnist/original/1.0.0")
    assert "train" in first.stderr
    with caplog.at_level("INFO", "preprocess"):
        assert main.main(arguments) == 0
    assert capsys.readouterr().out == first.stdout
    assert "nothing to do" in caplog.text


def test_bad_input_that_worker_processes_find_gives_one_line_and_exit_code_2(make_source, tmp_path, capfd):
    source = make_source("mnist/original")
    path = source.path("images", "train")
    path.write_bytes(path.read_bytes()[:-1000])
    arguments = ("--dataset", "mnist/original", "--source", str(source.folder), "--data-dir", str(tmp_path / "data"))
    assert main.main([*arguments, "--local-workers", "2"]) == 2
    stdout, stderr = capfd.readouterr()
    assert stderr.splitlines()[-1] == f"error: {path}: the gzip stream is truncated; fetch the file again"
    assert "Traceback" not in stderr
    assert stdout == ""


def test_a_misspelt_beam_option_is_refused_with_the_known_ones(make_source, tmp_path, capsys):
    source = make_source("mnist/original")
    arguments = ("--dataset", "mnist/original", "--source", str(source.folder), "--data-dir", str(tmp_path / "data"))
    assert main.main([*arguments, "--", "--runer", "DirectRunner"]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: unknown Beam option --runer; did you mean --runner")
    assert "--direct_num_workers" in stderr
    assert not (tmp_path / "data").exists()
