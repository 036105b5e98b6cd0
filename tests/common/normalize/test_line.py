"""Pictures of lines become even images of one height; the graph of a model makes the same of them."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from common.formats import picture
from common.normalize import arrays, line
from common.photographs.files import STORED_AS
from tests.support.lines import png, strokes
from tests.support.picture_bytes import exif, exif_segment, with_segments


def image_of(pixels: np.ndarray, height: int = 48, most: int = 1536) -> tuple[np.ndarray, str]:
    pixels = np.atleast_3d(pixels)
    return line.to_image(pixels, line.size_of(*pixels.shape[:2], height, most), height)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ((96, 800), (48, 400)),
        ((48, 1537), (48, 1536)),  # hardly too wide
        ((48, 3072), (24, 1536)),  # scaled down in both directions, never cut
        ((1, 1), (48, 48)),
        ((1, 10_000), (1, 1536)),
        ((10_000, 1), (48, 1)),
        ((31, 77), (48, 119)),
    ],
)
def test_the_aspect_ratio_stays_unless_a_line_is_wider_than_the_widest(sides, expected):
    assert line.size_of(*sides, 48, 1536) == expected


def test_two_equal_characters_need_a_step_between_them():
    assert [line.steps_needed(text) for text in ("", "a", "ab", "aa", "aabbb")] == [0, 1, 2, 3, 8]


def test_ink_is_light_on_dark_ground_and_paper_is_nothing():
    image, problem = image_of(strokes(0, width=320))
    assert (image.shape, image.dtype, problem) == ((48, 320), np.uint8, "")
    ink = strokes(0, width=320) < 128
    assert image[ink].min() > 200
    assert np.median(image[~ink]) == 0


@pytest.mark.parametrize("form", ["light on dark", "pale", "shaded", "colour", "opacity alone", "twice as large"])
def test_how_ink_and_paper_look_hardly_matters(form):
    dark = strokes(3, width=320)
    match form:
        case "light on dark":
            pixels = 255 - dark
        case "pale":
            pixels = (200 + dark.astype(int) // 6).astype(np.uint8)
        case "shaded":
            pixels = (dark * np.linspace(0.4, 1, 320)).astype(np.uint8)
        case "colour":
            pixels = np.stack([dark, dark // 2 + 60, dark], axis=-1)
        case "opacity alone":
            nothing = np.zeros_like(dark)
            pixels = np.stack([nothing, nothing, nothing, 255 - dark], axis=-1)
        case "twice as large":
            pixels = dark.repeat(2, axis=0).repeat(2, axis=1)
    expected, image = image_of(dark)[0].astype(int), image_of(pixels)[0].astype(int)
    assert np.abs(image - expected).mean() < 8


def test_what_is_lower_than_the_image_stands_in_its_middle():
    image, _ = image_of(strokes(0, width=3200), most=320)
    rows = np.flatnonzero(image.any(axis=1))
    assert image.shape == (48, 320)
    assert 21 <= rows.min() <= rows.max() <= 25  # five rows


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_paper_without_ink_is_named(grey):
    rng = np.random.default_rng(0)
    even = np.full((40, 200), grey, np.uint8)
    grained = np.clip(even + rng.normal(0, 4, even.shape), 0, 255).astype(np.uint8)
    assert [image_of(pixels)[1] for pixels in (even, grained)] == [line.NO_INK] * 2


def test_a_file_is_read_upright_as_its_orientation_says():
    upright = Image.fromarray(strokes(5))
    buffer = io.BytesIO()
    upright.transpose(STORED_AS[6]).save(buffer, "JPEG", quality=95)
    turned = with_segments(buffer.getvalue(), exif_segment(exif(6)))
    header = picture.read_header(turned)
    assert (header.height, header.width, header.size) == (300, 48, (48, 300))
    image, _ = line.read(turned, line.size_of(*header.size, 48, 1536), 48)
    plain, _ = line.read(png(strokes(5)), (48, 300), 48)
    assert np.abs(image.astype(int) - plain).mean() < 5


def test_a_very_wide_picture_needs_no_memory_that_grows_with_the_square_of_its_width():
    pixels = np.full((8, 100_000, 1), 200, np.uint8)
    pixels[2:6, ::50] = 10
    tracemalloc.start()
    image_of(pixels)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40 * pixels.size


_HOSTILE = {
    "any size": (37, 911, 1),
    "lower than the image": (17, 120, 1),
    "large": (480, 2000, 1),
    "colour": (60, 400, 3),
    "opacity": (60, 400, 4),
    "10,000 pixels wide": (60, 10_000, 1),
    "a row": (1, 200, 1),
    "a column": (200, 1, 1),
    "a pixel": (1, 1, 1),
}


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", _HOSTILE)
@pytest.mark.parametrize("form", ["strokes", "light on dark", "noise", "nothing"])
def test_the_graph_makes_the_same_image(name, form):
    import tensorflow as tf

    from trainer.serving import line_conversion

    height, width, channels = _HOSTILE[name]
    plain = strokes(1, max(height, 12), max(width, 24))[:height, :width]
    match form:
        case "light on dark":
            plain = 255 - plain
        case "noise":
            plain = np.random.default_rng(0).integers(0, 256, plain.shape, np.uint8)
        case "nothing":
            plain = np.full_like(plain, 90)
    pixels = np.repeat(plain[..., None], channels, axis=2)
    if channels == 4:
        pixels[..., 3] = np.linspace(0, 255, width)
    size = line.size_of(height, width, 48, 4096)
    image, has_ink = line.image_of(arrays, pixels, size)
    converted = line_conversion.convert_pixels(tf.constant(pixels), 48)
    above = (48 - size[0]) // 2
    in_graph = converted["image"].numpy()[above : above + size[0], : size[1], 0].astype(int)
    assert int(converted["width"]) == size[1]
    assert (converted["problem"].numpy() == b"") == has_ink
    assert not converted["image"].numpy()[:, size[1] :].any()
    differences = np.abs(in_graph - image)
    assert (differences <= 1).mean() > 0.999
    assert differences.max() <= 32  # where the last bit of a sum rounds another way, and contrast is stretched
