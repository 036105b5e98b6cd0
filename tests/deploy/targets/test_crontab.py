"""A job's line in the crontab: shown, added, replaced and removed, with no other line touched."""

import subprocess
from pathlib import Path

import pytest

from deploy import job as jobs
from deploy.main import main
from deploy.targets import crontab as crontabs

OTHERS = "MAILTO=me\n\n# mine\n*/5 * * * * backup  # handwriting-trainer: /elsewhere/digits\n"


def schedule(job_file: Path, *flags: str) -> int:
    return main(["schedule", "--job", str(job_file), *flags])


def test_a_dry_run_shows_the_line_and_installs_nothing(job_file, crontab, capsys):
    assert schedule(job_file, "--dry-run", "--cron", "30 4 * * *") == 0
    line = capsys.readouterr().out
    assert line.startswith("30 4 * * * cd ")
    assert " -m deploy run --job " in line
    assert "--if-changed >> " in line
    assert not crontab.exists()


def test_the_line_is_shown_before_it_is_installed(job_file, crontab, caplog):
    assert schedule(job_file) == 0
    (line,) = crontab.read_text().splitlines()
    assert line.startswith("0 3 * * 1 cd ")
    assert line in caplog.text


def test_scheduled_again_it_is_there_once_and_other_lines_are_as_they_were(job_file, crontab):
    crontab.write_text(OTHERS)
    assert schedule(job_file) == 0
    assert schedule(job_file, "--cron", "0 5 * * 2") == 0
    text = crontab.read_text()
    assert text.startswith(OTHERS)
    (line,) = text.removeprefix(OTHERS).splitlines()
    assert line.startswith("0 5 * * 2 ")
    assert main(["unschedule", "--job", str(job_file)]) == 0
    assert crontab.read_text() == OTHERS


def test_what_is_scheduled_is_the_job_as_it_was_then(job_file, crontab, tmp_path):
    before = jobs.read(str(job_file))
    assert schedule(job_file) == 0
    job_file.write_text(job_file.read_text().replace("epochs: 6", "epochs: 7"))
    scheduled = str(tmp_path / "runs" / "digits" / "scheduled-job.json")
    assert f"--job {scheduled} " in crontab.read_text()
    assert jobs.read(scheduled).train == before.train


def test_what_is_not_scheduled_cannot_be_taken_out(job_file, crontab, capsys):
    crontab.write_text(OTHERS)
    assert main(["unschedule", "--job", str(job_file)]) == 2
    assert "digits: is not in the crontab" in capsys.readouterr().err
    assert crontab.read_text() == OTHERS


def test_a_zone_that_is_not_crons_is_refused(job_file, crontab, monkeypatch, capsys):
    monkeypatch.setattr(crontabs, "_LOCAL_TIME", Path("/usr/share/zoneinfo/Europe/Berlin"))
    assert schedule(job_file) == 2
    assert "schedule.time_zone Etc/UTC: cron uses this machine's time zone" in capsys.readouterr().err
    assert not crontab.exists()
    assert schedule(job_file, "--time-zone", "Europe/Zurich") == 0, "the clocks there show the same"


def test_the_line_survives_what_cron_and_the_shell_read_in_it(job_file, crontab, tmp_path, monkeypatch):
    """Cron ends a command at a bare %, and gives the rest of the line to sh."""
    place = tmp_path / "50% of 'it all'"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(place / "key.json"))
    job = jobs.read(str(job_file))
    line = crontabs.line(job, ["sh", "-c", 'pwd; echo "$GOOGLE_APPLICATION_CREDENTIALS"'], place / "log.txt")
    command = line.split(maxsplit=5)[5].replace("\\%", "%")
    assert "%" not in line.replace("\\%", "")
    subprocess.run(["sh", "-c", command], cwd="/", check=True)
    assert (place / "log.txt").read_text().splitlines() == [str(place), str(place / "key.json")]


def test_without_cron_that_is_said(job_file, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert schedule(job_file) == 2
    assert "crontab: no such program on this machine" in capsys.readouterr().err


def test_a_crontab_that_cannot_be_read_is_not_overwritten(job_file, crontab, tmp_path, capsys):
    crontab.write_text(OTHERS)
    program = tmp_path / "bin" / "crontab"
    program.write_text('#!/bin/sh\necho "you are not allowed to use this program" >&2; exit 1\n')
    assert schedule(job_file) == 1
    assert "crontab -l: you are not allowed" in capsys.readouterr().err
    assert crontab.read_text() == OTHERS


@pytest.mark.parametrize("cron", ["0 3 * *", "60 3 * * 1", "0 3 * * MO", "@reboot", "0 3 * * 1\n* * * * * rm"])
def test_what_is_no_time_is_refused(job_file, crontab, cron, capsys):
    assert schedule(job_file, "--cron", cron) == 2
    assert "schedule.cron" in capsys.readouterr().err
    assert not crontab.exists()
