"""EMNIST's MATLAB files give exactly the dataset that the IDX files give."""

from pathlib import Path

import numpy as np
import pytest

from common.dataset import manifest
from common.dataset.schema import IMAGE, LABEL
from common.errors import InputError
from preprocess import pipeline
from preprocess.sources import arrays
from preprocess.sources.discover import discover
from tests.support.forms import write_mat


@pytest.mark.parametrize("name", [pytest.param("emnist/byclass", marks=pytest.mark.thorough), "emnist/letters"])
def test_both_forms_of_the_same_data_give_the_same_dataset(make_source, tmp_path, name):
    source = make_source(name)
    file = write_mat(source, tmp_path / f"{source.dataset.file_prefix}.mat")
    expected = manifest.read(Path(pipeline.run(source.config(tmp_path / "idx"))))
    actual = manifest.read(Path(pipeline.run(source.config(tmp_path / "mat", source=(str(file),)))))
    assert actual.data_fingerprint == expected.data_fingerprint
    assert [described.name for described in actual.request.files] == [file.name]


def test_the_file_is_found_in_its_folder(make_source, tmp_path):
    source = make_source("emnist/digits", train=30, test=10)
    (tmp_path / "matlab").mkdir()
    file = write_mat(source, tmp_path / "matlab/emnist-digits.mat")
    by_folder, by_name = (source.config("unused", source=(str(place),)) for place in (file.parent, file))
    assert discover(by_folder) == discover(by_name)


def test_the_struct_that_matlab_writes_is_upright_after_reading(make_source, tmp_path):
    source = make_source("emnist/digits", train=30, test=10)
    inspected = arrays.inspect(source.wanted(write_mat(source, tmp_path / "x.mat")))
    (block,) = inspected.splits[0].read(100)
    np.testing.assert_array_equal(block.examples[IMAGE][..., 0], source.images["train"])
    np.testing.assert_array_equal(block.examples[LABEL], source.labels["train"])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"mapping": np.array([[0.0], [1.0]])}, "mapping has shape"),
        ({"train": {"images": np.zeros((3, 784), np.int16), "labels": np.zeros((3, 1))}}, "expected uint8"),
        ({"train": {"images": np.zeros((3, 783), np.uint8), "labels": np.zeros((3, 1))}}, "expected uint8"),
        ({"train": {"images": np.zeros((3, 784), np.uint8), "labels": np.zeros((2, 1))}}, "3 train images, but 2"),
        ({"train": {"images": np.zeros((3, 784), np.uint8), "labels": np.full((3, 1), 0.5)}}, "not all whole numbers"),
        ({"test": {"images": np.zeros((3, 784), np.uint8), "labels": np.full((3, 1), 77)}}, "label 77 of example 0"),
        ({"test": np.zeros(3)}, "is not a MATLAB file of EMNIST"),
    ],
)
def test_other_structs_are_refused(make_source, tmp_path, changes, complaint):
    source = make_source("emnist/digits", train=30, test=10)
    path = write_mat(source, tmp_path / "x.mat", **changes)
    with pytest.raises(InputError, match=complaint) as caught:
        arrays.inspect(source.wanted(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cut", [0, 50, 200, 3000])
def test_damaged_files_are_refused(make_source, tmp_path, cut):
    source = make_source("emnist/digits", train=30, test=10)
    path = write_mat(source, tmp_path / "x.mat")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"is not a MATLAB file of EMNIST, or is damaged|is empty"):
        arrays.inspect(source.wanted(path))
    path.write_text("<html>")
    with pytest.raises(InputError, match="HTML"):
        arrays.inspect(source.wanted(path))
