"""How far a retraining is, in words."""

from common import storage
from deploy import progress, status


def test_a_retraining_that_was_killed_is_not_said_to_be_at_work(tmp_path):
    folder = tmp_path / "runs" / "digits"
    with progress.recording(folder, "digits", "commit"):
        running = storage.read(folder / progress.FILE_NAME)
        assert status.describe(folder, "digits").startswith("digits: running, begun ")
    storage.write_atomically(folder / progress.FILE_NAME, running)  # as it is after a kill
    assert status.describe(folder, "digits").startswith("digits: interrupted; the same command resumes it, begun ")
