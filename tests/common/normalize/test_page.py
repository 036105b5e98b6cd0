"""A page's XML finds its picture, and the two fit together or it is said that they do not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.formats.picture import PictureError
from common.normalize.page import LineOfPage, open_page
from tests.support.lines import strokes
from tests.support.pages import LINE_HEIGHT, LINE_WIDTH, page_xml, write_page
from tests.support.picture_bytes import exif, exif_segment, with_segments


def test_a_page_has_its_lines_and_the_place_of_each_in_its_picture(tmp_path):
    page = open_page(write_page(tmp_path, "a", ["one", None]))
    assert [(line.id, line.text) for line in page.lines] == [("l0", "one"), ("l1", None)]
    assert (page.picture, page.is_as_stored, page.size) == (str(tmp_path / "a.png"), False, (192, 340))
    pixels = LineOfPage(page.picture, page.is_as_stored, page.lines[0]).pixels()
    assert pixels.shape[2] == 1
    assert abs(pixels.shape[0] - LINE_HEIGHT) <= 4
    assert abs(pixels.shape[1] - LINE_WIDTH) <= 4
    assert pixels.min() == strokes(0).min()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.png", "pages/a.png"),
        ("a.png", "a.png"),  # one folder above
        ("C:\\scans\\a.png", "pages/a.png"),
        ("https://example.org/iiif/a.png", "pages/a.png"),
        ("", "pages/a.png"),
        ("other.tif", "pages/a.png"),  # by the XML's own name
        ("../../etc/a.png", "pages/a.png"),
    ],
)
def test_the_picture_is_beside_the_xml_or_one_folder_above(tmp_path, name, place):
    xml = write_page(tmp_path / "pages", "a", ["one"])
    xml.write_text(page_xml(name, (112, 340), ["one"]))
    if place != "pages/a.png":
        (tmp_path / "pages" / "a.png").rename(tmp_path / place)
    assert open_page(xml).picture == str(tmp_path / place)


def test_a_page_without_its_picture_is_refused(tmp_path):
    xml = write_page(tmp_path, "a", ["one"])
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a.xml: its picture a.png is neither beside it nor one folder above"):
        open_page(xml)


def test_a_picture_of_another_size_is_refused(tmp_path):
    xml = write_page(tmp_path, "a", ["one"])
    xml.write_text(page_xml("a.png", (1120, 3400), ["one"]))
    with pytest.raises(InputError, match=r"describes a picture of 3400×1120 pixels; a.png has 340×112"):
        open_page(xml)


def test_a_picture_that_exif_turns_is_told_of(real_data, caplog):
    xml = real_data / "pages" / "testaments-de-poilus" / "TestamentsDePoilus_will_AD78_0005-0.xml"
    page = open_page(xml)
    assert page.is_as_stored
    assert "its XML describes the picture as it is stored, but EXIF turns it; look at its lines" in caplog.text


def test_lines_of_a_picture_that_is_described_as_it_is_stored_are_cut_from_it_so(tmp_path):
    xml = write_page(tmp_path, "a", ["one", "two"])
    stored, cuts = tmp_path / "a.jpg", []
    Image.open(tmp_path / "a.png").save(stored, quality=95)
    xml.write_text(page_xml("a.jpg", (192, 340), ["one", "two"]))
    turned = tmp_path / "turned"
    turned.mkdir()
    (turned / "a.jpg").write_bytes(with_segments(stored.read_bytes(), exif_segment(exif(6))))
    shutil.copy(xml, turned)
    for place in (xml, turned / "a.xml"):
        page = open_page(place)
        cuts.append(LineOfPage(page.picture, page.is_as_stored, page.lines[1]).pixels())
    assert page.is_as_stored
    np.testing.assert_array_equal(*cuts)


def test_page_and_alto_of_one_page_give_the_same_lines(real_data):
    folder = real_data / "pages" / "timeus"
    for name, count in (("PH 1858-22", None), ("PH 1858-81", None)):
        page, alto = (open_page(folder / form / f"{name}.xml") for form in ("page", "alto"))
        assert len(page.lines) == len(alto.lines) in (7, 9), count
        assert [line.text for line in page.lines] == [line.text for line in alto.lines]
        for first, second in zip(page.lines, alto.lines, strict=True):
            cuts = [
                LineOfPage(one.picture, one.is_as_stored, line).pixels()
                for one, line in ((page, first), (alto, second))
            ]
            np.testing.assert_array_equal(*cuts)


def test_a_damaged_picture_is_found_when_a_line_is_cut(tmp_path):
    xml = write_page(tmp_path, "a", ["one"])
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[100:110] = bytes(10)
    (tmp_path / "a.png").write_bytes(content)
    page = open_page(xml)
    with pytest.raises(PictureError, match="cannot be decoded"):
        LineOfPage(page.picture, page.is_as_stored, page.lines[0]).pixels()


def test_colour_and_transparency_are_brightness_on_white(tmp_path):
    xml = write_page(tmp_path, "a", ["one"])
    plain = open_page(xml)
    expected = LineOfPage(plain.picture, False, plain.lines[0]).pixels()
    copy = Path(shutil.copytree(tmp_path, tmp_path / "colour"))
    grey = np.asarray(Image.open(copy / "a.png"))
    opacity = 255 - grey
    Image.fromarray(np.stack([grey * 0, grey * 0, grey * 0, opacity], axis=-1)).save(copy / "a.png")
    page = open_page(copy / "a.xml")
    np.testing.assert_array_equal(LineOfPage(page.picture, False, page.lines[0]).pixels(), expected)
