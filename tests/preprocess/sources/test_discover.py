"""The kind of a source, and several sources combined."""

import gzip
from pathlib import Path

import pytest

from common import storage
from common.dataset import manifest
from common.dataset.schema import LABEL
from common.errors import InputError
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from preprocess.sources import discover, nist
from tests.support.forms import FORMS, zip_folder


def test_an_archive_gives_the_dataset_of_its_folder(make_source, tmp_path):
    source = make_source("emnist/letters", train=120, test=40)
    archive = zip_folder(source)
    of_folder = manifest.read(Path(pipeline.run(source.config(tmp_path / "one"))))
    of_archive = manifest.read(Path(pipeline.run(source.config(tmp_path / "other", source=(str(archive),)))))
    assert of_folder.data_fingerprint == of_archive.data_fingerprint
    assert of_folder.request == of_archive.request


@pytest.mark.parametrize("form", FORMS)
def test_the_labels_are_known_before_the_pixels(make_source, form):
    source = make_source("emnist/letters", train=60, test=20)
    config = PreprocessConfig("emnist/letters", (str(FORMS[form](source)),), "unused", max_examples_per_split=50)
    for split in discover.discover(config).splits:
        read = {example: label for block in split.read(16) for example, label in zip(
            block.example_ids.tolist(), block.examples[LABEL].tolist(), strict=True)}  # fmt: skip
        known = zip(split.example_ids().tolist(), split.example_labels().tolist(), strict=True)
        assert read == dict(known)
        assert len(read) == len(split.example_ids())


@pytest.fixture(scope="module")
def fingerprints() -> dict[str, str]:
    """Of the datasets that local files give."""
    return {}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_may_lie_in_a_bucket(make_source, fingerprints, tmp_path, bucket, form):
    source = make_source("emnist/digits", train=60, test=20)
    location = FORMS[form](source)
    content = "pictures" if form == "pictures" else "idx"  # the other forms hold the same examples
    if content not in fingerprints:
        config = PreprocessConfig("emnist/digits", (str(FORMS[content](source)),), str(tmp_path / "one"))
        fingerprints[content] = manifest.read(Path(pipeline.run(config))).data_fingerprint
    storage.to_path(f"{bucket}/source/{location.name}").upload_from(location)
    config = PreprocessConfig("emnist/digits", (f"{bucket}/source/{location.name}",), str(tmp_path / "other"))
    assert manifest.read(Path(pipeline.run(config))).data_fingerprint == fingerprints[content]


def test_nist_is_the_downloaded_archive(make_source, tmp_path, monkeypatch):
    source = make_source("emnist/letters")
    path = zip_folder(source)
    asked = []
    monkeypatch.setattr(nist, "fetch", lambda cache_dir, url: asked.append((cache_dir, url)) or path)
    config = source.config(
        tmp_path / "data", source=("nist",), cache_dir=str(tmp_path / "cache"), url="http://mirror/x"
    )
    assert discover.discover(config).schema.vocabulary[0] == "A"
    assert asked == [(tmp_path / "cache", "http://mirror/x")]


@pytest.mark.parametrize("dataset", ["mnist/original", "mine/letters"])
def test_nist_holds_only_emnist(tmp_path, dataset):
    with pytest.raises(InputError, match="--source nist: does not hold --dataset"):
        discover.discover(PreprocessConfig(dataset, ("nist",), str(tmp_path)))


def test_the_same_source_twice_is_refused(make_source, tmp_path):
    source = make_source()
    config = source.config(tmp_path / "data", source=(str(source.folder), str(source.folder)))
    with pytest.raises(InputError, match="two sources hold the same examples"):
        discover.discover(config)


def test_sources_of_other_classes_are_refused(make_source, tmp_path):
    source = make_source("emnist/digits")
    other = tmp_path / "other"
    other.mkdir()
    for path in source.folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "emnist-digits-mapping.txt").write_text("".join(f"{label} {65 + label}\n" for label in range(10)))
    with pytest.raises(InputError, match="its classes differ from those of"):
        discover.discover(source.config(tmp_path / "data", source=(str(source.folder), str(other))))


@pytest.mark.parametrize(
    ("dataset", "complaint"),
    [
        (
            "emnist/digits",
            "holds no images of characters, such as emnist-digits-train-images-idx3-ubyte.gz; what is read: a folder",
        ),
        ("emnits/digits", "known datasets: emnist/byclass, emnist/bymerge"),
        ("Mine/Letters", "has two words of a-z, 0-9 and _, like mine/letters"),
        ("../escape", "unknown dataset"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, dataset, complaint):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match=complaint):
        discover.discover(PreprocessConfig(dataset, (str(tmp_path / "folder"),), str(tmp_path / "data")))


@pytest.mark.parametrize("dataset", ["emnist/digits", "mine/letters"])
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"Rar!\x1a\7\1\0", "is a RAR archive; unpack it"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it"),
        (b"<!DOCTYPE html>", "is an HTML page; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS; fetch the file itself"),
        (b"\x89PNG\r\n\x1a\n", "is one picture, which has no class"),
        (b"PK\5\6" + bytes(18), "holds no images with their classes"),
        (b"PK\3\4", "is not a complete zip archive; fetch it again"),
        (b"PAR1" + bytes(20) + b"PAR1", "is no complete Parquet file"),
        (gzip.compress(bytes(9), mtime=0)[:9], "is damaged"),
        (b"", "is empty; fetch it again"),
        (b"\1\2\3", "is of no kind that is read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_has_its_cause_and_the_list_of_what_can(tmp_path, dataset, content, cause):
    (tmp_path / "some.bin").write_bytes(content)
    with pytest.raises(InputError) as caught:
        discover.discover(PreprocessConfig(dataset, (str(tmp_path / "some.bin"),), str(tmp_path)))
    message = str(caught.value)
    assert f"{tmp_path}/some.bin: {cause}" in message and "\n" not in message
