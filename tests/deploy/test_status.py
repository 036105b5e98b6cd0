"""How far a retraining is, in words."""

from deploy import status
from deploy.state import lock, progress


def test_a_retraining_that_was_killed_is_not_said_to_be_at_work(tmp_path):
    folder = tmp_path / "runs" / "digits"
    with lock.held(folder):
        progress.begin(folder, "digits", "commit", lambda: None)
        assert status.describe(folder, "digits").startswith("digits: running, begun ")
    assert status.describe(folder, "digits").startswith("digits: interrupted; started again, it goes on, begun ")
