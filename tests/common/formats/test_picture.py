"""Every form of a picture file is decoded to its pixels, upright, or refused with the reason."""

import base64
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from common.formats.picture import MAX_PIXELS, Header, PictureError, as_stored, decode, read_header
from tests.support import picture_bytes as files

F = np.array([[9, 8, 7, 6], [5, 0, 0, 0], [4, 3, 2, 0]], np.uint8) * 20
HEIC = zlib.decompress(
    base64.b85decode(
        "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>UfiWRBwIq=N0u(b+a*CjAhJwuG5(YG&l$nzcHpIn&fe{FSfUyNa1Aze$D`#frrGa@MQBfc#l?lqr"
        "C`&d3G5HEIOLE~#9%L326#(f2nFY!DK)M2`%$boHBs2l6NbUo}pT9qTFfi~lCjfOwI56@s{{IhBzzkBs3_^0dm>d#;lG;v;jA$|o3>sOdz4Fvt"
        "m&YW<!vPXH0U|gYl7Q;jT^J7*ZBTLmS|gmCpHq~VoKpc5=4D`O01Am@78j&K{gwd4AY}ptnH8BJ0cH*kplJ-8nML{FV3Noz$c2R?FlbmCnV4Bx"
        "fozN1lthpM9Sz3y5nb0CC&mB&#V{>?s`GmjFZZv<CRH0V-IR5@^jKE=$YCMpU+b#o#K{~00O1%|bp"
    )
)
NOT_TURNED = b"irot\0"  # in that file; a mirrored one has "imir" there


def pixels_of(samples: np.ndarray, colours: int, depth: int) -> np.ndarray:
    """The pixels, uint8, that samples of a PNG file mean."""
    if colours == files.PALETTE:
        return files.palette(depth)[samples[..., 0]]
    if colours == files.GREY and depth == 16:
        return np.floor(samples * 255.0 / samples.max() + 0.5).astype(np.uint8)
    pixels = (samples >> 8 if depth == 16 else samples * 255 // ((1 << depth) - 1)).astype(np.uint8)
    return pixels[..., [0, 0, 0, 1]] if pixels.shape[2] == 2 else pixels


@pytest.mark.parametrize(("colours", "depth"), files.PNG_FORMS)
def test_each_kind_and_depth_of_png(colours, depth):
    samples = files.samples_of(colours, depth)
    expected = pixels_of(samples, colours, depth)
    for content in (files.png(samples, colours, depth), files.interlaced_png(samples, colours, depth)):
        pixels = decode(content)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("colours", "depth"), [form for form in files.PNG_FORMS if form[0] in (files.GREY, files.COLOUR)]
)
def test_a_transparent_colour_of_png(colours, depth):
    samples = files.samples_of(colours, depth)
    key = samples[3, 4]
    content = files.png(samples, colours, depth, before=files.transparent_colour(key))
    expected = pixels_of(samples, colours, depth)
    pixels = decode(content)
    np.testing.assert_array_equal(pixels[..., :3], np.broadcast_to(expected, pixels[..., :3].shape))
    np.testing.assert_array_equal(pixels[..., 3] == 0, (samples == key).all(axis=2))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_of_png_with_opacity(depth):
    samples = files.samples_of(files.PALETTE, depth)
    opacity = bytes([0, 100])
    pixels = decode(files.png(samples, files.PALETTE, depth, before=files.chunk(b"tRNS", opacity)))
    expected = np.full(1 << depth, 255, np.uint8)
    expected[:2] = list(opacity)
    np.testing.assert_array_equal(pixels[..., :3], files.palette(depth)[samples[..., 0]])
    np.testing.assert_array_equal(pixels[..., 3], expected[samples[..., 0]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_that_a_png_notes(orientation):
    for name, content in files.pngs_held(orientation, files.turned(F[..., None], orientation)).items():
        np.testing.assert_array_equal(decode(content), F[..., None], name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_that_a_jpeg_notes(orientation):
    upright = files.photograph().convert("L")
    stored = files.encode(Image.fromarray(files.turned(np.asarray(upright), orientation)), "JPEG", quality=95)
    expected = decode(stored)
    for name, content in files.jpegs_held(orientation, stored).items():
        pixels = decode(content)
        assert np.abs(pixels[..., 0].astype(int) - np.asarray(upright)).max() < 30, name
        np.testing.assert_array_equal(files.turned(pixels, orientation), expected, name)


def test_a_jpeg_that_notes_no_orientation_of_its_own_stays_as_it_is():
    stored = files.encode(files.photograph(), "JPEG")
    expected = decode(stored)
    for name, content in files.jpegs_that_note_nothing(stored).items():
        np.testing.assert_array_equal(decode(content), expected, name)


def test_jpeg_gives_grey_unless_asked_for_colours():
    picture = files.photograph()
    for form in ({}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}):
        content = files.encode(picture, "JPEG", quality=98, **form)
        for in_colour, mode in ((False, "L"), (True, "RGB")):
            pixels = decode(content, in_colour)
            expected = np.atleast_3d(np.asarray(picture.convert(mode))).astype(int)
            assert pixels.shape == expected.shape
            assert np.abs(pixels - expected).mean() < 4
    grey = files.encode(picture.convert("L"), "JPEG", quality=98)
    np.testing.assert_array_equal(decode(grey, in_colour=True), np.repeat(decode(grey), 3, axis=2))


def test_a_jpeg_of_four_inks():
    picture = files.photograph()
    inks = picture.convert("CMYK")
    for content in (files.encode(inks, "JPEG", quality=98), files.jpeg_of_plain_inks(inks, quality=98)):
        assert np.abs(decode(content, in_colour=True).astype(int) - np.asarray(picture)).mean() < 2
        assert np.abs(decode(content)[..., 0].astype(int) - np.asarray(picture.convert("L"))).mean() < 2


@pytest.mark.parametrize("shape", files.LARGE)
def test_large_pictures_are_reduced(shape):
    by = max(k for k in (1, 2, 4, 8) if max(shape) // k >= 1024 and min(shape) >= k) if max(shape) >= 2048 else 1
    rows, columns = (side // by for side in shape)
    colours = np.asarray(files.photograph(*shape))
    blocks = colours[: rows * by, : columns * by].reshape(rows, by, columns, by, 3).sum(axis=(1, 3), dtype=int)
    np.testing.assert_array_equal(decode(files.png(colours, files.COLOUR)), (2 * blocks + by * by) // (2 * by * by))
    jpeg = decode(files.encode(Image.fromarray(colours), "JPEG"))
    assert jpeg.shape == (-(-shape[0] // by), -(-shape[1] // by), 1)


MODES = {
    "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("L", "P", "RGBA"),
    "WebP": ("RGB", "RGBA"),
}


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form in MODES for mode in MODES[form]])
def test_other_formats_have_pixels_of_the_same_shapes(form, mode):
    picture = files.photograph().convert("P").convert("RGB") if form == "GIF" else files.photograph()
    if mode == "RGBA":
        picture.putalpha(picture.getchannel(0).point(lambda value: 255 * (value > 90)))
    picture = picture.convert(mode)
    pixels = decode(files.encode(picture, form, **({"lossless": True, "exact": True} if form == "WebP" else {})))
    expected = "RGBA" if mode == "RGBA" else "L" if mode in ("1", "L") and form != "GIF" else "RGB"
    expected = np.atleast_3d(np.asarray(picture.convert(expected)))
    if form == "GIF" and mode == "RGBA":
        pixels, expected = pixels * (pixels[..., 3:] > 0), expected * (expected[..., 3:] > 0)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("numbers", ["<u2", "<i4", "<f4"])
def test_deep_grey_of_tiff_is_stretched(numbers):
    values = np.asarray(files.photograph().convert("L")).astype(numbers) * 16
    expected = np.floor(values * 255.0 / values.max() + 0.5)[..., None]
    np.testing.assert_array_equal(decode(files.encode(Image.fromarray(values), "TIFF")), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_tiff_and_webp(orientation):
    stored = Image.fromarray(files.turned(F, orientation))
    noted = Image.Exif()
    noted[0x0112] = orientation
    np.testing.assert_array_equal(decode(files.encode(stored, "TIFF", exif=noted))[..., 0], F)
    np.testing.assert_array_equal(decode(files.encode(stored, "WebP", exif=noted, lossless=True))[..., 0], F)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WebP"])
def test_a_header_says_the_size_as_stored_and_how_to_turn_it(form, orientation):
    stored = Image.fromarray(files.turned(np.repeat(F, 2, axis=0), orientation))
    noted = Image.Exif()
    noted[0x0112] = orientation
    content = files.encode(stored, form, exif=noted)
    assert read_header(content) == Header(stored.width, stored.height, orientation)
    assert as_stored(decode(content), orientation).shape[:2] == (stored.height, stored.width)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_header_finds_the_orientation_that_the_pixels_are_turned_by(orientation):
    stored = files.turned(F[..., None], orientation)
    held = files.jpegs_held(orientation, files.encode(Image.fromarray(stored[..., 0]), "JPEG"))
    for name, content in (files.pngs_held(orientation, stored) | held).items():
        assert read_header(content) == Header(stored.shape[1], stored.shape[0], orientation), name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_back_to_how_they_are_stored(orientation):
    stored = files.turned(F[..., None], orientation)
    for content in files.pngs_held(orientation, stored).values():
        np.testing.assert_array_equal(as_stored(decode(content), orientation), stored)


def test_a_header_of_what_is_no_picture_is_refused():
    with pytest.raises(PictureError, match="is not a picture"):
        read_header(b"<alto/>")
    with pytest.raises(PictureError, match="cannot be decoded"):
        read_header(b"\x89PNG\r\n\x1a\n")


def test_the_first_of_several_frames():
    frames = [Image.new("L", (9, 9), value) for value in (200, 100)]
    for form in ("GIF", "TIFF"):
        assert (decode(files.encode(frames[0], form, save_all=True, append_images=frames[1:])) == 200).all()


def test_heic():
    pytest.importorskip("pi_heif")
    pixels = decode(HEIC)
    assert pixels.shape == (64, 96, 3)
    assert (pixels[:30, :46] < 40).all()
    assert (pixels[34:] > 230).all()


@pytest.mark.parametrize(
    ("held", "upright"),
    [
        (b"irot\1", np.rot90),
        (b"irot\2", lambda stored: stored[::-1, ::-1]),
        (b"irot\3", lambda stored: np.rot90(stored, -1)),
        (b"imir\0", np.flipud),
        (b"imir\1", np.fliplr),
    ],
)
def test_how_a_heic_is_held(held, upright):
    pytest.importorskip("pi_heif")
    np.testing.assert_array_equal(decode(HEIC.replace(NOT_TURNED, held)), upright(decode(HEIC)))


def test_heic_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PictureError, match="install this package's extra heif") as refused:
        decode(HEIC)
    assert refused.value.problem == "unknown-format"


@pytest.mark.parametrize(("problem", "content"), files.REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(problem, content):
    with pytest.raises(PictureError) as refused:
        decode(content)
    assert refused.value.problem == problem


def test_a_refusal_says_what_would_be_right():
    with pytest.raises(PictureError, match=f"is 20000×20000 pixels; at most {MAX_PIXELS:,} are read"):
        decode(files.png_of_size(20_000, 20_000))
    with pytest.raises(PictureError, match=f"has a frame of more than {MAX_PIXELS:,} pixels"):
        decode(files.gif_of_frame(20_000, 20_000))
    with pytest.raises(PictureError, match="is of the kind AVIF, which is not read; save it as PNG or JPEG"):
        decode(b"\0\0\0\x1cftypavif\0\0\0\0")


@given(st.sampled_from(files.WHOLE), st.integers(0, 10**6), st.integers(0, 10**6), st.binary(max_size=8))
@settings(deadline=None)
def test_no_damage_raises_anything_else(content, at, end, replacement):
    at, end = at % len(content), end % len(content)
    for damaged in (content[:end], content[:at] + replacement + content[at + len(replacement) :], replacement * 20):
        for read in (decode, read_header):
            try:
                read(damaged)
            except PictureError as error:
                assert error.problem in ("cannot-decode", "not-a-picture", "unknown-format", "too-large")
