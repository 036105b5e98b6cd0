"""The serving folder: versions complete before they are named, one winner of many, safe to kill at any moment."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common import storage
from common.errors import FailedError, InputError
from common.storage import gcs
from deploy import serving as servings
from deploy.serving import Lost, Model, NewVersion
from tests.support import ROOT


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path):
    """A folder on a disk, or in a bucket that keeps its preconditions."""
    if request.param == "disk":
        return tmp_path / "serving" / "digits"
    request.getfixturevalue("faulty_bucket")
    return storage.to_path("gs://test/serving/digits")


def make_model(tmp_path, name: str = "a") -> Path:
    """Files such as a SavedModel has."""
    folder = tmp_path / "models" / name
    for file in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        storage.write_atomically(folder / file, f"{name} {file}".encode() * 100)
    return folder


def promote(place, source: Path, serving=None, keep: int = 5, verify=lambda copy: None) -> int | None:
    """The version; None if it has lost."""
    model = Model(servings.fingerprint(source), f"runs/{source.name}", "data", 0.9, "better")
    new = NewVersion(source, model, {"gate.json": b"{}"}, verify)
    version = servings.promote(serving or servings.read(place), new, keep)
    return None if isinstance(version, Lost) else version


def served(place) -> int:
    """The version that both files name."""
    version = servings.read(place).current.version
    assert f"versions: {version} }}" in (place / servings.MODELS_CONFIG).read_text()
    return version


def test_a_version_is_a_whole_copy_with_what_is_known_of_it(place, tmp_path):
    source = make_model(tmp_path)
    assert promote(place, source) == 1
    copied = storage.checksums_below(place / "1")
    assert {name: copied[name] for name in storage.checksums_below(source)} == storage.checksums_below(source)
    assert (place / "1" / "assets.extra" / "gate.json").read_bytes() == b"{}"
    assert servings.fingerprint(place / "1") == servings.fingerprint(source)


def test_tensorflow_serving_is_told_the_version(place, tmp_path):
    promote(place, make_model(tmp_path))
    text = (place / "models.config").read_text()
    assert 'name: "digits"' in text
    assert f'base_path: "{place}"' in text
    assert served(place) == 1


def test_versions_are_numbered_and_the_last_few_are_kept(place, tmp_path):
    for number in range(1, 6):
        assert promote(place, make_model(tmp_path, str(number)), keep=3) == number
    assert servings.read(place).current.kept == (5, 4, 3)
    assert servings._versions(place) == {3, 4, 5}
    assert served(place) == 5


def test_what_cannot_be_verified_is_not_served(place, tmp_path):
    promote(place, make_model(tmp_path, "good"))

    def verify(copy):
        assert (copy / "saved_model.pb").exists()
        raise FailedError(f"{copy}: cannot be loaded")

    with pytest.raises(FailedError, match="2: cannot be loaded"):
        promote(place, make_model(tmp_path, "bad"), verify=verify)
    assert served(place) == 1
    assert servings._versions(place) == {1}


def test_who_compared_with_a_model_that_was_replaced_meanwhile_does_not_win(place, tmp_path):
    promote(place, make_model(tmp_path, "champion"))
    seen = servings.read(place)
    assert promote(place, make_model(tmp_path, "quick")) == 2
    assert promote(place, make_model(tmp_path, "slow"), serving=seen) is None
    assert served(place) == 2
    assert servings._versions(place) == {1, 2}
    assert promote(place, make_model(tmp_path, "slow")) == 3


def test_of_many_at_once_one_wins(place, tmp_path):
    promote(place, make_model(tmp_path, "champion"))
    seen, sources = servings.read(place), [make_model(tmp_path, f"challenger{number}") for number in range(6)]
    together = threading.Barrier(6)

    def race(source: Path) -> int | None:
        return promote(place, source, serving=seen, verify=lambda copy: together.wait(60))

    with ThreadPoolExecutor(6) as pool:
        versions = list(pool.map(race, sources))
    (winner,) = [(version, source) for version, source in zip(versions, sources, strict=True) if version]
    assert served(place) == winner[0]
    assert servings.fingerprint(place / str(winner[0])) == servings.fingerprint(winner[1])
    promote(place, make_model(tmp_path, "next"))
    assert servings._versions(place) == {1, winner[0], served(place)}, "the losers' folders are gone"


def test_of_many_processes_at_once_one_wins(tmp_path):
    place = tmp_path / "serving" / "digits"
    promote(place, make_model(tmp_path, "champion"))
    program = textwrap.dedent("""
        import pathlib, sys, time
        from deploy import serving as servings
        from tests.deploy.test_serving import promote
        place, source, go = map(pathlib.Path, sys.argv[1:])
        seen = servings.read(place)
        print("ready", flush=True)
        while not go.exists():
            time.sleep(0.001)
        print(promote(place, source, serving=seen))
    """)
    go = tmp_path / "go"
    sources = [make_model(tmp_path, str(number)) for number in range(4)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, place, source, go], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for source in sources
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 4
    go.touch()
    versions = [racer.communicate(timeout=60)[0].strip() for racer in racers]
    assert versions.count("None") == 3
    (winner,) = [place_ for place_ in range(4) if versions[place_] != "None"]
    assert served(place) == int(versions[winner])
    assert servings.fingerprint(place / versions[winner]) == servings.fingerprint(sources[winner])


def test_over_a_bad_network_it_comes_to_the_same(faulty_bucket, quick_retries, tmp_path):
    place = storage.to_path("gs://test/serving/digits")
    faulty_bucket.rate = 0.15
    faulty_bucket.kinds = ("429", "500", "503", "reset", "lost", "flip")
    for number in (1, 2, 3, 4):
        assert promote(place, make_model(tmp_path, str(number)), keep=2) == number
    assert servings.rollback(place, None) == 3
    faulty_bucket.mend()
    assert sum(faulty_bucket.happened.values()) > 5
    assert served(place) == 3
    assert servings._versions(place) == {3, 4}


def test_a_write_whose_answer_was_lost_has_won_nevertheless(faulty_bucket, quick_retries, tmp_path):
    place = storage.to_path("gs://test/serving/digits")
    faulty_bucket.spoil("lost", "POST", servings.CURRENT)
    assert promote(place, make_model(tmp_path)) == 1
    assert faulty_bucket.happened["lost"] == 1
    assert served(place) == 1


def test_who_has_won_without_an_answer_keeps_its_version(place, tmp_path, monkeypatch):
    """The answer is lost; before the request is made again, the next model has been promoted."""
    write = servings._replace

    def lose_answer(serving, after):
        assert write(serving, after)
        monkeypatch.setattr(servings, "_replace", write)
        assert promote(place, make_model(tmp_path, "next")) == 2
        return False

    monkeypatch.setattr(servings, "_replace", lose_answer)
    assert promote(place, source := make_model(tmp_path)) == 1
    assert served(place) == 2
    assert servings.fingerprint(place / "1") == servings.fingerprint(source)


def test_who_does_not_know_whether_it_has_won_removes_nothing(place, tmp_path, monkeypatch):
    write = servings._replace

    def break_off(serving, after):
        assert write(serving, after)
        raise FailedError("the bucket cannot be reached")

    monkeypatch.setattr(servings, "_replace", break_off)
    with pytest.raises(FailedError):
        promote(place, source := make_model(tmp_path))
    servings.sync_models_config(place)
    assert servings.fingerprint(place / str(served(place))) == servings.fingerprint(source)


ON_DISK = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree")
IN_BUCKET = ("http.client.send",)


def kill_at(count: int, place, source: Path) -> bool:
    """Promotes in a process that is killed at the so-manieth file operation, or request; whether it came so far."""
    events = ON_DISK if isinstance(place, Path) else IN_BUCKET
    child = os.fork()
    if not child:
        gcs._client.cache_clear()  # connections are the parent's
        ours = storage.to_path(str(place))

        def watch(event: str, arguments: tuple) -> None:
            nonlocal count
            if event in events and (events is IN_BUCKET or str(ours) in str(arguments)):
                count -= 1
                if count == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        promote(ours, source, keep=2)
        os._exit(0)
    _, end = os.waitpid(child, 0)
    assert end in (0, signal.SIGKILL), end
    return end != 0


def is_new_served(place, old: Path, new: Path) -> bool:
    """Checks that all of the old model, version 2, is served or all of the new one; whether it is the new one."""
    current = servings.read(place).current
    is_new = current.version != 2
    assert servings.fingerprint(place / str(current.version)) == servings.fingerprint(new if is_new else old)
    models_config = (place / servings.MODELS_CONFIG).read_text()
    assert any(f"versions: {version} }}" in models_config for version in {2, current.version}), "both are whole"
    for kept in current.kept:
        assert servings.fingerprint(place / str(kept)) == current.models[kept].fingerprint
    return is_new


def kill_at_moments(where: str, tmp_path: Path, step: int) -> None:
    """Promotes again and again, killed one `step` of operations or requests later each time, until it is not killed."""
    old, new, moment, was_killed = make_model(tmp_path, "old"), make_model(tmp_path, "new"), 0, True
    before, ends = tmp_path / "before" / "digits", set()
    promote(before, make_model(tmp_path, "oldest"))
    promote(before, old)
    while was_killed:
        moment += step
        place = storage.to_path(f"{where}/{moment}/digits")
        for file in filter(Path.is_file, before.rglob("*")):
            storage.write_atomically(place / file.relative_to(before), file.read_bytes())
        was_killed = kill_at(moment, place, new)
        ends.add(is_new := is_new_served(place, old, new))
        if not is_new:
            assert promote(place, new, keep=2) >= 3
        servings.sync_models_config(place)
        assert servings.fingerprint(place / str(served(place))) == servings.fingerprint(new)
    assert moment > 20
    assert ends == {False, True}


@pytest.mark.parametrize(
    ("kind", "step"), [("disk", 1), ("bucket", 3), pytest.param("bucket", 1, marks=pytest.mark.thorough)]
)
def test_a_kill_at_any_moment_leaves_what_is_served_whole_and_the_next_run_ends_it(kind, step, tmp_path, request):
    if kind == "bucket":
        request.getfixturevalue("faulty_bucket")
    where = "gs://test/serving" if kind == "bucket" else str(tmp_path / "serving")
    # In a process without threads, which can be forked.
    program = f"from tests.deploy.test_serving import *; kill_at_moments({where!r}, Path({str(tmp_path)!r}), {step})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_rollback_serves_what_was_replaced(place, tmp_path):
    for number in (1, 2, 3):
        promote(place, make_model(tmp_path, str(number)))
    assert servings.rollback(place, None) == 2
    assert served(place) == 2
    assert servings.rollback(place, None) == 1
    assert servings.rollback(place, 3) == 3
    assert served(place) == 3
    events = [(event.what, event.version, event.replaced) for event in servings.read(place).current.history[3:]]
    assert events == [("rolled back", 2, 3), ("rolled back", 1, 2), ("rolled back", 3, 1)]


def test_what_was_rolled_back_is_remembered_until_it_is_served_again(place, tmp_path):
    promote(place, make_model(tmp_path, "1"))
    promote(place, bad := make_model(tmp_path, "2"))
    assert servings.read(place).rolled_back_at(servings.fingerprint(bad)) is None
    servings.rollback(place, None)
    assert servings.read(place).rolled_back_at(servings.fingerprint(bad))
    servings.rollback(place, 2)
    assert servings.read(place).rolled_back_at(servings.fingerprint(bad)) is None


def test_after_a_rollback_versions_go_on_and_the_one_in_use_is_never_removed(place, tmp_path):
    for number in (1, 2, 3):
        promote(place, make_model(tmp_path, str(number)), keep=3)
    servings.rollback(place, 1)
    assert promote(place, make_model(tmp_path, "4"), keep=2) == 4
    assert servings.read(place).current.kept == (4, 1)


@pytest.mark.parametrize(
    ("to", "complaint"),
    [(7, "--to 7: is not kept; kept versions: 1"), (2, "--to 2: is already in use; kept versions: 1")],
)
def test_only_a_kept_version_can_be_rolled_back_to(tmp_path, to, complaint):
    place = tmp_path / "digits"
    promote(place, make_model(tmp_path, "1"))
    promote(place, make_model(tmp_path, "2"))
    with pytest.raises(InputError, match=complaint):
        servings.rollback(place, to)
    assert served(place) == 2


def test_a_version_that_was_damaged_is_not_rolled_back_to(tmp_path):
    place = tmp_path / "digits"
    promote(place, make_model(tmp_path, "1"))
    promote(place, make_model(tmp_path, "2"))
    (place / "1" / "variables" / "variables.index").write_bytes(b"damaged")
    with pytest.raises(InputError, match="1: its files have changed"):
        servings.rollback(place, None)
    assert served(place) == 2


def test_where_nothing_was_replaced_there_is_nothing_to_roll_back_to(tmp_path):
    place = tmp_path / "digits"
    with pytest.raises(InputError, match="no model is served yet"):
        servings.rollback(place, None)
    promote(place, make_model(tmp_path))
    with pytest.raises(InputError, match="version 1 replaced none; give --to; kept versions: none"):
        servings.rollback(place, None)


def test_a_damaged_current_json_is_told_and_left(tmp_path):
    place = tmp_path / "digits"
    promote(place, make_model(tmp_path))
    (place / "current.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(InputError, match=r"current.json: is damaged"):
        servings.read(place)


def test_a_job_killed_before_models_config_was_written_is_settled_by_the_next(place, tmp_path):
    promote(place, make_model(tmp_path, "1"))
    old = (place / "models.config").read_bytes()
    promote(place, make_model(tmp_path, "2"))
    storage.write_atomically(place / "models.config", old)
    servings.sync_models_config(place)
    assert served(place) == 2


def test_hidden_files_do_not_count_as_a_models(tmp_path):
    model = make_model(tmp_path)
    before = servings.fingerprint(model)
    (model / ".DS_Store").touch()
    (model / "assets.extra").mkdir()
    (model / "assets.extra" / "notes").touch()
    assert servings.fingerprint(model) == before
