"""From source files to a dataset folder, on real Beam runners."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common import storage
from common.dataset import exclude_list, hashing, manifest
from common.errors import InputError
from common.formats import idx
from preprocess import pipeline, stages
from tests.support.datasets import as_set, contents, read_split
from tests.support.lines import PAGE_PATTERN
from tests.support.lines import config as line_config
from tests.support.sources import IdxSource, write_gzip

# Of such sources, as commit 0653fc2 wrote them: of shards, counts and class names.
FINGERPRINTS = {
    "emnist/byclass": "8c929be363bcf01eb1150b44bd4a71a13069290edb689c1226a94be9e82e2318",
    "emnist/letters": "375af5d7be078a55c37b64f3ac0536b50148af05d693735750932fa1c7f68c28",
    "emnist/balanced": "badfdf1880a388c121e37f60b77727ecb0c381ac3ed64ca8ebcc513ffd26e701",
    "mnist/original": "30f8697305ae2aaf96cec413f73974d9da5712a15a057ba0b03421871309ff97",
}


@pytest.fixture(scope="module")
def made_before() -> dict[tuple, Path]:
    """Dataset folders, by what was asked for."""
    return {}


@pytest.fixture
def make_dataset(make_source, made_before, tmp_path, tmp_path_factory) -> Callable[..., tuple[IdxSource, Path]]:
    """Gives a source, and the dataset folder below `tmp_path / "data"` that a run makes of it.

    A test may change both: the folder is a copy of one that is made once of the same source.
    """

    def make(name: str = "emnist/byclass", **settings) -> tuple[IdxSource, Path]:
        source = make_source(name)
        asked = (name, *sorted(settings.items()))
        if asked not in made_before:
            made_before[asked] = Path(pipeline.run(source.config(tmp_path_factory.mktemp("made"), **settings)))
        folder = manifest.dataset_folder(str(tmp_path / "data"), name)
        shutil.copytree(made_before[asked], folder)
        return source, folder

    return make


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_every_example_arrives_upright_with_its_label_and_in_its_split(make_dataset, name):
    source, folder = make_dataset(name)
    train, validation, test = (as_set(*read_split(folder, split)) for split in ("train", "validation", "test"))
    # Fails if images were left transposed, or if Letters' labels were off by one.
    assert train | validation == as_set(source.images["train"], source.labels["train"])
    assert test == as_set(source.images["test"], source.labels["test"])
    # Fails if a validation example were also a training example.
    assert not train & validation
    assert len(train) + len(validation) == 600
    assert 30 <= len(validation) <= 90
    # The bytes stay what they were: other ones would make everyone's datasets, caches and gates start anew.
    manifest.check_shards(folder, manifest.read(folder))
    assert manifest.read(folder).data_fingerprint == FINGERPRINTS[name]


def test_the_folder_is_that_of_the_dataset_and_nothing_else_is_left(make_source, tmp_path):
    folder = Path(pipeline.run(make_source("emnist/letters").config(tmp_path / "data")))
    assert folder == tmp_path / "data" / "emnist/letters" / "1.0.0"
    assert sorted(path.name for path in folder.parent.iterdir()) == [".1.0.0.lock", "1.0.0"]


def test_class_names_stand_in_label_order(make_dataset):
    expected = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    _, folder = make_dataset("emnist/balanced")
    assert "".join(manifest.read(folder).class_names) == expected
    assert (folder / "label.labels.txt").read_text() == "".join(f"{name}\n" for name in expected)


def test_the_mapping_file_decides_the_class_names(make_source, tmp_path):
    source = make_source("emnist/digits")
    mapping = "".join(f"{label} {ord(character)}\n" for label, character in enumerate("zyxwvutsrq"))
    (source.folder / source.dataset.mapping_file).write_text(mapping)
    assert "".join(manifest.read(Path(pipeline.run(source.config(tmp_path)))).class_names) == "zyxwvutsrq"


def test_the_manifest_says_what_the_shards_hold(make_dataset):
    source, folder = make_dataset(num_shards=4)
    loaded = manifest.read(folder)
    for name, split in loaded.splits.items():
        images, labels = read_split(folder, name)
        assert split.num_examples == len(labels)
        assert split.class_histogram == tuple(np.bincount(labels, minlength=62))
        assert split.pixel_mean == pytest.approx(images.mean(), rel=1e-12)
        assert split.pixel_std == pytest.approx(images.std(), rel=1e-9)
        for shard in split.shards:
            assert storage.sha256_of(folder / shard.name) == shard.sha256
            assert (folder / shard.name).stat().st_size == shard.size_bytes
    names = [shard.name for shard in loaded.splits["train"].shards]
    assert names == [f"emnist-train.tfrecord-0000{index}-of-00004" for index in range(4)]
    assert {file.name: file.sha256 for file in loaded.request.files} == {
        path.name: storage.sha256_of(path) for path in source.folder.iterdir()
    }


def test_examples_are_spread_and_mixed_by_their_keys_alone(make_dataset):
    source, folder = make_dataset("mnist/original", num_shards=3, validation_fraction=0)
    images, _ = read_split(folder, "train")
    order = np.argsort(hashing.hashes(0, "order", "mnist/original/train", np.arange(600, dtype=np.uint64)))
    np.testing.assert_array_equal(images, source.images["train"][order])


def test_any_number_of_workers_gives_the_same_bytes(make_dataset, tmp_path):
    source, folder = make_dataset()
    assert contents(Path(pipeline.run(source.config(tmp_path / "two", local_workers=2)))) == contents(folder)


def test_blocks_of_any_size_give_the_same_bytes(make_dataset, tmp_path, monkeypatch):
    source, folder = make_dataset()
    monkeypatch.setattr(stages, "_BLOCK_BYTES", 100 * 784)
    assert contents(Path(pipeline.run(source.config(tmp_path / "small blocks")))) == contents(folder)


def test_a_second_run_does_nothing_and_says_so(make_dataset, tmp_path, caplog):
    source, folder = make_dataset()
    config = source.config(tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with caplog.at_level("INFO", "preprocess"):
        assert pipeline.run(config) == str(folder)
    assert "nothing to do" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_lost_shard_is_made_again(make_dataset, tmp_path):
    source, folder = make_dataset()
    before = contents(folder)
    next(folder.glob("*train.tfrecord*")).unlink()
    pipeline.run(source.config(tmp_path / "data"))
    assert contents(folder) == before


def test_another_request_is_refused_unless_overwriting_is_allowed(make_dataset, tmp_path):
    source, folder = make_dataset()
    before = contents(folder)
    with pytest.raises(InputError, match=r"another request \(different seed\); give --overwrite"):
        pipeline.run(source.config(tmp_path / "data", seed=1))
    labels = np.zeros(600, np.uint8)
    labels[:12] = 1
    write_gzip(source.path("labels", "train"), idx.write(labels))
    with pytest.raises(InputError, match=r"another request \(different files\)"):
        pipeline.run(source.config(tmp_path / "data"))
    assert contents(folder) == before
    pipeline.run(source.config(tmp_path / "data", overwrite=True, num_shards=2))
    assert manifest.read(folder).splits["train"].class_histogram[0] > 500
    assert len(list(folder.glob("*-train.tfrecord-*"))) == 2  # nothing is left of the older shards


def test_where_overwriting_is_allowed_too_the_same_request_is_found_done(make_dataset, tmp_path):
    source, folder = make_dataset()
    made = (folder / "manifest.json").stat().st_mtime_ns
    pipeline.run(source.config(tmp_path / "data", overwrite=True))
    assert (folder / "manifest.json").stat().st_mtime_ns == made


def test_where_overwriting_is_allowed_a_damaged_manifest_is_replaced(make_dataset, tmp_path):
    source, folder = make_dataset()
    before = contents(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest.json"):
        pipeline.run(source.config(tmp_path / "data"))
    pipeline.run(source.config(tmp_path / "data", overwrite=True))
    assert contents(folder) == before


def test_no_validation_split_if_none_is_wanted(make_dataset):
    _, folder = make_dataset("mnist/original", num_shards=3, validation_fraction=0)
    assert sorted(manifest.read(folder).splits) == ["test", "train"]
    assert manifest.read(folder).splits["train"].num_examples == 600


def test_only_the_first_examples_are_taken(make_source, tmp_path):
    source = make_source("mnist/original")
    folder = Path(pipeline.run(source.config(tmp_path, max_examples_per_split=100, validation_fraction=0)))
    assert as_set(*read_split(folder, "train")) == as_set(source.images["train"][:100], source.labels["train"][:100])


def truncate_images(source: IdxSource) -> None:
    path = source.path("images", "train")
    path.write_bytes(path.read_bytes()[:-2000])


def shorten_images(source: IdxSource) -> None:
    content = gzip.decompress(source.path("images", "test").read_bytes())
    write_gzip(source.path("images", "test"), content[:-784])


def lengthen_images(source: IdxSource) -> None:
    content = gzip.decompress(source.path("images", "train").read_bytes())
    write_gzip(source.path("images", "train"), content + b"x")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (truncate_images, "train-images-idx3-ubyte.gz: the gzip stream is truncated"),
        (shorten_images, "test-images-idx3-ubyte.gz: the header announces shape .* data ends after 129 rows"),
        (lengthen_images, "train-images-idx3-ubyte.gz: more bytes follow"),
        (lambda source: source.path("images", "train").unlink(), "no such file"),
    ],
)
def test_bad_input_leaves_nothing_behind(make_source, tmp_path, damage: Callable, complaint: str):
    source = make_source()
    damage(source)
    with pytest.raises(InputError, match=complaint) as caught:
        pipeline.run(source.config(tmp_path / "data"))
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.joinpath("data").rglob("[!.]*") if path.is_file()]


def test_bad_input_leaves_an_older_dataset_as_it_was(make_dataset, tmp_path):
    source, folder = make_dataset()
    before = contents(folder)
    truncate_images(source)
    with pytest.raises(InputError, match="truncated"):
        pipeline.run(source.config(tmp_path / "data", overwrite=True))
    assert contents(folder) == before


def test_what_a_killed_run_left_is_no_dataset_and_in_nobodys_way(make_source, tmp_path):
    config = make_source().config(tmp_path / "data")
    folder = tmp_path / "data" / "emnist/byclass" / "1.0.0"
    work = folder.with_name(".1.0.0.incomplete")
    for place in (folder, work):
        place.mkdir(parents=True)
        (place / "emnist-train.tfrecord-00003-of-00099").write_bytes(b"half")
    with pytest.raises(InputError, match="no manifest"):
        manifest.read(folder)
    pipeline.run(config)
    manifest.check_shards(folder, manifest.read(folder))
    assert not work.exists()
    assert not list(folder.glob("*-of-00099"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dataset": "emnist/byclas"}, "unknown dataset"),
        ({"dataset": "synthetic/byclass"}, "drawn characters are --dataset synthetic/… with --source synthetic"),
        ({"source": ("synthetic",)}, "drawn characters are --dataset synthetic/… with --source synthetic"),
        ({"validation_fraction": 1.0}, "--validation-fraction 1.0: must be"),
        ({"validation_fraction": -0.1}, "--validation-fraction -0.1: must be"),
        ({"seed": -1}, "--seed -1: must be at least 0"),
        ({"data_dir": "/proc/nowhere"}, "/proc/nowhere.*: cannot make this folder"),
        ({"num_shards": 0}, "--num-shards 0: must be at least 1"),
        ({"local_workers": 0}, "--local-workers 0: must be at least 1"),
        ({"max_examples_per_split": 0}, "--max-examples-per-split 0"),
        ({"data_dir": "s3://bucket/data"}, "s3://bucket/data: cannot read or write there"),
        ({"max_examples_per_split": 1, "validation_fraction": 0.9999999}, "leaves none"),
    ],
)
def test_impossible_requests_are_refused(make_source, tmp_path, changes, complaint):
    config = make_source().config(tmp_path / "data", **changes)
    with pytest.raises(InputError, match=complaint):
        pipeline.run(config)
    assert not (tmp_path / "data").exists()


def test_from_bucket_to_bucket_the_bytes_are_the_same(make_dataset, bucket):
    source, local = make_dataset("emnist/letters")
    for path in source.folder.iterdir():
        (storage.to_path(f"{bucket}/source") / path.name).upload_from(path)
    remote = storage.to_path(pipeline.run(source.config(f"{bucket}/data", source=(f"{bucket}/source",))))
    assert contents(remote) == contents(local)
    assert pipeline.run(source.config(f"{bucket}/data", source=(f"{bucket}/source",))) == str(remote)


def test_the_manifest_is_json_that_people_can_read(make_dataset):
    _, folder = make_dataset()
    text = (folder / "manifest.json").read_text()
    assert json.loads(text)["class_names"][36] == "a"
    assert text.count("\n") > 50


def test_a_stage_that_is_tried_again_goes_on_where_it_was(make_source, tmp_path, monkeypatch):
    """Other runners than the in-process one repeat a stage that failed, whatever it had done."""
    move, moved = storage.move, []

    def move_some(source, target):
        if len(moved) == 5:
            moved.clear()
            raise OSError("connection lost")
        moved.append(target)
        move(source, target)

    monkeypatch.setattr(storage, "move", move_some)
    finish = stages.FinishDataset.process

    def twice(self, *arguments):
        with pytest.raises(OSError, match="connection lost"):
            finish(self, *arguments)
        monkeypatch.setattr(storage, "move", move)
        return finish(self, *arguments)

    monkeypatch.setattr(stages.FinishDataset, "process", twice)
    folder = Path(pipeline.run(make_source().config(tmp_path / "data")))
    manifest.check_shards(folder, manifest.read(folder))


def relabelled(source: IdxSource, labels: np.ndarray) -> None:
    write_gzip(source.path("labels", "train"), idx.write(labels.astype(np.uint8)))


def test_what_labels_show_is_refused_before_any_work(make_source, tmp_path):
    source = make_source("emnist/digits")
    relabelled(source, np.full(600, 7))
    with pytest.raises(InputError, match=r"^emnist/digits: all training examples are of one class, '7'"):
        pipeline.run(source.config(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_what_labels_show_is_said_before_the_work_and_what_only_pixels_show_after_it_each_once(
    make_source, tmp_path, caplog
):
    source = make_source("emnist/digits", train=620)
    labels = np.arange(620) % 9
    labels[[3, 77, 300]] = 9
    relabelled(source, labels)
    images = source.images["train"].copy()
    images[3] = images[4]
    write_gzip(source.path("images", "train"), idx.write(images.transpose(0, 2, 1)))
    with caplog.at_level("INFO", "preprocess"):
        folder = Path(pipeline.run(source.config(tmp_path / "data", validation_fraction=0)))
    no_validation = "there is no validation split, by which training ends in time; see --validation-fraction"
    few, disputed = "fewer than 10 training examples of 1 class: 9", "1 image with more than one label, named in "
    said = [record.getMessage().removeprefix("emnist/digits: ") for record in caplog.records]
    work = said.index("read 620 train examples of emnist/digits/train")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == len(set(warned)) == 3
    assert {no_validation, few} <= set(said[:work])
    assert said[-2].startswith(disputed)
    warnings = manifest.read(folder).warnings
    assert warnings[:2] == (no_validation, few)
    assert warnings[2].startswith(disputed)
    rows = [json.loads(line) for line in (folder / "disputed.jsonl").read_text().splitlines()]
    train, train_labels = read_split(folder, "train")
    assert [row["class"] for row in rows] == [str(train_labels[row["index"]]) for row in rows]
    assert sorted(row["class"] for row in rows) == ["4", "9"]
    for row in rows:
        assert row.keys() == {"pixels", "split", "index", "class"}
        np.testing.assert_array_equal(train[row["index"]], images[3])
        assert hashing.pixel_hashes(images[3:4]) == [int(row["pixels"], 16)]


def test_pixels_of_only_0_and_1_end_the_job_at_its_first_block(make_source, tmp_path, caplog):
    source = make_source("emnist/digits")
    write_gzip(source.path("images", "train"), idx.write(source.images["train"] // 255))
    expected = "emnist/digits/train: all pixels of the first 600 images are 0 or 1: they were scaled"
    with caplog.at_level("INFO", "preprocess"), pytest.raises(InputError, match=expected):
        pipeline.run(source.config(tmp_path / "data"))
    assert "train examples" not in caplog.text


def test_two_runs_at_once_do_not_disturb_each_other(make_dataset, tmp_path):
    source, folder = make_dataset()
    config = source.config(tmp_path / "data")
    with storage.lock(folder), pytest.raises(InputError, match=f"{storage.this_process()} is writing it"):
        pipeline.run(config)
    pipeline.run(config)


def test_examples_whose_pixels_are_in_the_test_split_are_counted_and_left_out_on_demand(make_source, tmp_path, caplog):
    source = make_source("mnist/original")
    images = source.images["train"].copy()
    images[:25] = source.images["test"][:25]
    write_gzip(source.path("images", "train"), idx.write(images))
    kept = manifest.read(Path(pipeline.run(source.config(tmp_path / "kept"))))
    leaked = {name: split.leaked for name, split in kept.splits.items()}
    assert leaked["train"] + leaked["validation"] == 25
    assert leaked["test"] == 0
    with caplog.at_level("INFO", "preprocess"):
        folder = Path(pipeline.run(source.config(tmp_path / "excluded", drop_leaked=True)))
    assert "have the same pixels as a test example (left out)" in caplog.text
    excluded = manifest.read(folder)
    for name, split in excluded.splits.items():
        assert split.num_examples == kept.splits[name].num_examples - leaked[name]
    test = {image.tobytes() for image in read_split(folder, "test")[0]}
    assert not test & {image.tobytes() for image in read_split(folder, "train")[0]}


def test_listed_examples_are_left_out_of_training_alone(make_dataset, tmp_path, caplog):
    source, kept = make_dataset()
    before = {split: read_split(kept, split) for split in ("train", "validation", "test")}
    listed = tmp_path / "doubtful.txt"
    keys_of = {split: hashing.pixel_hashes(images) for split, (images, _) in before.items()}
    chosen = np.concatenate([keys_of["train"][:7], keys_of["validation"][:2], keys_of["test"][:2]])
    listed.write_text("# a comment\n\n" + exclude_list.format_lines(chosen, ["A, not 4"] * len(chosen)))
    config = source.config(tmp_path / "excluded", exclude=str(listed))
    with caplog.at_level("INFO", "preprocess"):
        folder = Path(pipeline.run(config))
    assert f"7 examples were left out by the 11 pixel hashes of {listed}" in caplog.text
    for split, (images, labels) in before.items():
        first = 7 if split == "train" else 0
        for actual, expected in zip(read_split(folder, split), (images[first:], labels[first:]), strict=True):
            np.testing.assert_array_equal(actual, expected)
    assert {name: split.excluded for name, split in manifest.read(folder).splits.items()} == {
        "train": 7,
        "validation": 0,
        "test": 0,
    }

    listed.write_text(exclude_list.format_lines(chosen[::-1], ["in another order"] * len(chosen)))
    made = contents(folder)
    pipeline.run(config)
    assert contents(folder) == made
    listed.write_text(exclude_list.format_lines(chosen[:3]))
    with pytest.raises(InputError, match="different excluded_hashes"):
        pipeline.run(config)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "no such file"), (b"0123\n", "line 1: must begin with 16 hex"), (b"\xff\xfe", "not text in UTF-8")],
)
def test_what_is_no_list_of_keys_is_refused(make_source, tmp_path, content, complaint):
    listed = tmp_path / "keys"
    if content is not None:
        listed.write_bytes(content)
    with pytest.raises(InputError, match=rf"--exclude {listed}: .*{complaint}"):
        pipeline.run(make_source().config(tmp_path / "data", exclude=str(listed)))


def test_only_published_files_are_accepted_on_demand(make_source, tmp_path):
    config = make_source().config(tmp_path / "data", require_official=True)
    with pytest.raises(InputError, match=r"--require-official: not identical to a published file.*images-idx3"):
        pipeline.run(config)


def test_a_dataset_may_be_compared_with_another(make_source, make_dataset, tmp_path):
    _, old_folder = make_dataset("mnist/original")
    old_folder, new = str(old_folder), make_source("emnist/digits")
    folder = Path(pipeline.run(new.config(tmp_path / "new", compare=old_folder, max_drift=0.1)))
    assert json.loads((folder / "drift.json").read_text())["class_histogram"] < 0.1
    before = contents(folder)
    with pytest.raises(InputError, match=r"--max-drift 0.0: the data differs"):  # also where nothing else is to do
        pipeline.run(new.config(tmp_path / "new", compare=old_folder, max_drift=0.0))
    labels = np.zeros(600, np.uint8)
    labels[:12] = 1
    write_gzip(new.path("labels", "train"), idx.write(labels))
    with pytest.raises(InputError, match=r"--max-drift 0.1: the data differs by 0.[89]\d\d"):
        pipeline.run(new.config(tmp_path / "new", compare=old_folder, max_drift=0.1, overwrite=True))
    assert contents(folder) == before


def test_a_dataset_of_which_nothing_is_left_for_training_is_refused(make_source, tmp_path):
    source = make_source("mnist/original", train=100, test=100)
    write_gzip(source.path("images", "train"), idx.write(source.images["test"]))
    with pytest.raises(InputError, match="no training example is left"):
        pipeline.run(source.config(tmp_path / "data", drop_leaked=True))
    assert not (tmp_path / "data/mnist/original/1.0.0").exists()


def test_lines_that_are_there_are_not_made_again_unless_something_else_is_asked(line_pairs, small_lines, caplog):
    data_dir = small_lines.parents[2]
    before = contents(small_lines)
    with caplog.at_level("INFO"):
        pipeline.run(line_config(line_pairs, where=data_dir, group_pattern=PAGE_PATTERN))
    assert "already holds this dataset; nothing to do" in caplog.text
    for settings in ({"line_height": 32}, {"max_width": 200}, {"group_by": "line"}, {"group_pattern": r"(\d+)-"}):
        with pytest.raises(InputError, match="holds a dataset made from another request"):
            pipeline.run(line_config(line_pairs, where=data_dir, **({"group_pattern": PAGE_PATTERN} | settings)))
    assert contents(small_lines) == before


def test_lines_in_the_test_split_too_are_counted_and_left_out_on_demand(line_pairs, tmp_path):
    """The same pixels in another file: the bytes differ, the images do not."""
    copy = Path(shutil.copytree(line_pairs, tmp_path / "lines" / "train"))
    (tmp_path / "lines" / "test").mkdir()
    for name in ("000-0", "001-2"):
        Image.open(copy / f"{name}.png").save(tmp_path / "lines" / "test" / f"{name}.bmp")
        shutil.copy(copy / f"{name}.gt.txt", tmp_path / "lines" / "test")
    asked = {"where": tmp_path / "kept", "validation_fraction": 0}
    kept = manifest.read(Path(pipeline.run(line_config(tmp_path / "lines", **asked))))
    assert kept.splits["train"].leaked == 2
    asked = {"where": tmp_path / "left out", "validation_fraction": 0, "drop_leaked": True}
    left = manifest.read(Path(pipeline.run(line_config(tmp_path / "lines", **asked))))
    assert left.splits["train"].num_examples == kept.splits["train"].num_examples - 2 == 38
