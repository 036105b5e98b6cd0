"""The graph decodes each form of PNG and JPEG to the pixels that Pillow gives, and knows what it cannot read."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common.formats import picture as reference
from tests.support import picture_bytes as files
from trainer.serving import decoding

PNG, JPEG = b"\x89PNG", b"\xff\xd8\xff"
SIGNATURE = [tf.TensorSpec([], tf.string)]
decode = tf.function(decoding.decode, input_signature=SIGNATURE)
decode_colours = tf.function(decoding.decode_colours, input_signature=[*SIGNATURE, tf.TensorSpec([], tf.int32)])


def assert_as_by_pillow(content: bytes, name: str = "") -> None:
    pixels, orientation, problem = decode(content)
    assert problem == b""
    np.testing.assert_array_equal(pixels, reference.decode(content), name)
    if content.startswith(JPEG):
        np.testing.assert_array_equal(
            decode_colours(content, orientation), reference.decode(content, in_colour=True), name
        )


@pytest.mark.parametrize(("colours", "depth"), files.PNG_FORMS)
def test_each_kind_and_depth_of_png(colours, depth):
    samples = files.samples_of(colours, depth)
    assert_as_by_pillow(files.png(samples, colours, depth))
    assert_as_by_pillow(files.interlaced_png(samples, colours, depth), "interlaced")
    if colours in (files.GREY, files.COLOUR):
        key = files.transparent_colour(samples[3, 4])
        assert_as_by_pillow(files.png(samples, colours, depth, before=key), "a transparent colour")
    if colours == files.PALETTE:
        assert_as_by_pillow(files.png(samples, colours, depth, before=files.chunk(b"tRNS", b"\0\x64")), "with opacity")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_that_a_png_notes(orientation):
    for name, content in files.pngs_held(orientation, files.samples_of(files.COLOUR, 8), files.COLOUR).items():
        assert_as_by_pillow(content, name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_that_a_jpeg_notes(orientation):
    stored = files.encode(Image.fromarray(files.turned(np.asarray(files.photograph()), orientation)), "JPEG")
    for name, content in files.jpegs_held(orientation, stored).items():
        assert_as_by_pillow(content, name)


def test_a_jpeg_that_notes_no_orientation_of_its_own_stays_as_it_is():
    for name, content in files.jpegs_that_note_nothing(files.encode(files.photograph(), "JPEG")).items():
        assert_as_by_pillow(content, name)


@pytest.mark.parametrize("form", [{}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}, {"quality": 5}])
def test_each_form_of_jpeg(form):
    picture = files.photograph()
    for mode in ("L", "RGB", "CMYK"):
        if mode == "RGB" or "keep_rgb" not in form:
            assert_as_by_pillow(files.encode(picture.convert(mode), "JPEG", **form), mode)


def test_each_form_of_four_inks():
    inks = files.photograph().convert("CMYK")
    assert_as_by_pillow(files.jpeg_of_plain_inks(inks))
    assert_as_by_pillow(files.jpeg_of_luminance_and_black(inks))


@pytest.mark.parametrize("shape", files.LARGE)
def test_large_pictures_are_reduced(shape):
    picture = files.photograph(*shape)
    for mode in ("L", "RGB", "CMYK"):
        assert_as_by_pillow(files.encode(picture.convert(mode), "JPEG"))
    colours = np.asarray(picture)
    grey = colours[..., :1].astype(np.uint16)
    key = files.transparent_colour(colours[0, 0])
    assert_as_by_pillow(files.png(colours, files.COLOUR))
    assert_as_by_pillow(files.png(colours, files.COLOUR, before=key))
    assert_as_by_pillow(files.png(colours[..., :2], files.GREY_AND_OPACITY))
    assert_as_by_pillow(files.png(grey * 100 + 1000, files.GREY, 16, before=files.transparent_colour([0x1000])))


@pytest.mark.parametrize(("problem", "content"), files.REFUSED)
def test_what_cannot_be_read_has_the_same_problem(problem, content):
    if problem == "cannot-decode" and content.startswith((PNG, JPEG)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(content)
    else:
        pixels, _, found = decode(content)
        assert found.numpy().decode() == ("unknown-format" if problem == "cannot-decode" else problem)
        assert pixels.shape == (1, 1, 1)


def test_what_only_pillow_reads_is_of_an_unknown_format():
    for form in ("TIFF", "GIF", "BMP", "WebP"):
        assert decode(files.encode(files.photograph(), form))[2] == b"unknown-format"


def test_no_damage_stops_a_dataset():
    random = np.random.default_rng(1)
    contents = []
    for content in files.WHOLE * 10:
        damaged = bytearray(content)
        for at in random.integers(0, len(content), 3):
            damaged[at] ^= 1 << random.integers(8)
        contents += [bytes(damaged), content[: random.integers(len(content))]]
    pictures = tf.data.Dataset.from_tensor_slices([*contents, files.WHOLE[0]]).map(decode).ignore_errors()
    *_, (pixels, _, problem) = pictures
    assert problem == b""
    np.testing.assert_array_equal(pixels, reference.decode(files.WHOLE[0]))


def test_it_is_part_of_a_saved_model(tmp_path):
    module = tf.Module()
    module.decode = decode
    tf.saved_model.save(module, str(tmp_path))
    pixels, *_ = tf.saved_model.load(str(tmp_path)).decode(files.WHOLE[2])
    np.testing.assert_array_equal(pixels, reference.decode(files.WHOLE[2]))
