"""Pictures of characters: what each kind shows, and that every form of file holds the same picture."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.ndimage import label

from common.photographs import KINDS, photograph, surroundings
from common.photographs.sheet import lay_out
from tests.support.photographs import HARD, REFUSED, hard_photograph, hostile, in_form
from tests.support.picture_files import FORMS, TURNED


@pytest.fixture(scope="module")
def seven() -> np.ndarray:
    """A character that no turn nor mirror leaves as it is."""
    image = np.zeros((28, 28), np.uint8)
    image[4:7, 6:22] = 255
    image[4:24, 18:21] = 255
    return image


def taken(character: np.ndarray, kind: str, seed: int = 0, side: int | None = 240) -> Image.Image:
    return Image.open(io.BytesIO(photograph(character, kind, np.random.default_rng(seed), side)))


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(image).convert("L"), int)


def inked(image: Image.Image) -> np.ndarray:
    """Whether each pixel is nearer to the darkest than to the paper."""
    pixels = grey(image)
    return pixels < (pixels.min() + np.median(pixels)) / 2


def quarters(image: Image.Image) -> list[int]:
    """The inked pixels in each quarter of their box: upper left and right, lower left and right."""
    rows, columns = np.nonzero(inked(image))
    ink = inked(image)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    upper, lower = ink[: len(ink) // 2], ink[len(ink) // 2 :]
    middle = ink.shape[1] // 2
    return [int(part.sum()) for half in (upper, lower) for part in (half[:, :middle], half[:, middle:])]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_file_and_another_seed_another(seven, kind):
    first, again, other = (photograph(seven, kind, np.random.default_rng(seed), 200) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", KINDS)
def test_the_longer_side_is_as_asked(seven, kind):
    image = taken(seven, kind)
    assert image.format in {"JPEG", "PNG"}
    assert max(image.size) == pytest.approx(240, abs=4 if kind == "tight" else 0)


@pytest.mark.parametrize(("kind", "least", "most"), [("clean", 300, 1200), ("small", 1000, 2000), ("tight", 40, 300)])
def test_without_a_side_it_is_as_people_have_it(seven, kind, least, most):
    sides = [max(taken(seven, kind, seed, None).size) for seed in range(8)]
    assert least - 4 <= min(sides)
    assert max(sides) <= most + 4
    assert len(set(sides)) > 4


@pytest.mark.parametrize("kind", ["clean", "exif", "noisy", "coloured", "tight", "palette"])
def test_the_character_stands_upright(seven, kind):
    for seed in range(7):
        image = taken(seven, kind, seed)
        if "transparency" not in image.info:
            upper_left, upper_right, lower_left, lower_right = quarters(image)
            assert upper_right > upper_left > lower_left
            assert lower_right > lower_left


@pytest.mark.parametrize(("kind", "least", "most"), [("clean", 0.15, 0.75), ("small", 0.02, 0.13), ("tight", 0.9, 1)])
def test_the_character_is_as_large_as_the_kind_says(seven, kind, least, most):
    for seed in range(7):
        image = taken(seven, kind, seed, 600)
        rows, columns = np.nonzero(inked(image))
        size = max(np.ptp(rows), np.ptp(columns)) + 1
        assert least <= size / max(image.size) <= most


def test_light_falls_off_to_its_lowest():
    for seed in range(10):
        light = surroundings.soft_shadow((200, 240), 0.4, np.random.default_rng(seed))
        assert light.min() == pytest.approx(0.4, abs=0.02)
        assert light.max() > 0.7


def test_a_hand_shades_the_character_in_part(seven):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        sheet = lay_out(seven, rng, 300)
        light = surroundings.hand_shadow(sheet, 0.4, rng)[sheet.place]
        assert light.min() < 0.45
        assert light.max() > 0.95


def test_a_frame_is_dark_along_all_edges_and_a_strip_along_one_or_two(seven):
    def dark_edges(kind: str, seed: int) -> int:
        pixels = grey(taken(seven, kind, seed))
        return sum(edge.mean() < 110 for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))

    assert {dark_edges("frame", seed) for seed in range(10)} == {4}
    assert {dark_edges("strip", seed) for seed in range(10)} == {1, 2}


def test_specks_lie_apart_from_the_character(seven):
    counts = [label(grey(taken(seven, "speck", seed)) < 150)[1] for seed in range(10)]
    assert min(counts) >= 2
    assert 3 < max(counts) <= 6


def test_ink_on_transparency_is_one_colour_often_white_with_black_under_what_is_transparent(seven):
    inks = set()
    for seed in range(8):
        pixels = np.asarray(taken(seven, "alpha_white", seed)).reshape(-1, 4)
        seen = pixels[:, 3] > 0
        assert not pixels[~seen].any()
        assert not np.ptp(pixels[seen, :3], axis=0).any()
        inks.add(tuple(pixels[seen][0, :3].tolist()))
    assert (255, 255, 255) in inks
    assert len(inks) > 2


def test_palettes_have_few_levels_and_half_of_them_transparency(seven):
    images = [taken(seven, "palette", seed) for seed in range(20)]
    assert {image.mode for image in images} == {"P"}
    assert {"transparency" in image.info for image in images} == {True, False}
    assert {len(image.getcolors()) for image in images} >= {2, 4, 16}


def test_chalk_is_light_on_dark_and_a_pencil_pale(seven):
    for seed in range(5):
        assert np.median(grey(taken(seven, "chalk", seed))) < 110
        pencil = grey(taken(seven, "pencil", seed))
        assert 25 < np.median(pencil) - np.percentile(pencil, 1) < 150


@pytest.mark.parametrize("kind", HARD)
def test_harder_kinds_are_pictures_too(seven, kind):
    image = Image.open(io.BytesIO(hard_photograph(seven, kind, np.random.default_rng(0))))
    image.load()
    assert (image.width * image.height > 8_000_000) == (kind == "twelve_megapixels")


@pytest.mark.parametrize("form", TURNED)
def test_pillow_turns_every_orientation_upright(seven, form):
    for seed in range(3):
        image = Image.open(io.BytesIO(in_form(seven, form, np.random.default_rng(seed))))
        plain = Image.open(io.BytesIO(photograph(seven, "clean", np.random.default_rng(seed), 320)))
        assert np.abs(grey(image) - grey(plain)).max() < 30


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_character(seven, form):
    content = in_form(seven, form, np.random.default_rng(3))
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode in {"I", "I;16"}:
        pixels = np.asarray(image, float)
        image = Image.fromarray((pixels * (240 / pixels.max())).astype(np.uint8))
    if image.mode == "LA" or "transparency" in image.info:
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    plain = Image.open(io.BytesIO(photograph(seven, "clean", np.random.default_rng(3), 320)))
    ink, expected = grey(image) < 140, grey(plain) < 140
    assert (ink & expected).sum() > 0.8 * (ink | expected).sum()


@pytest.mark.parametrize("form", [form for form in FORMS if form[-1].isdigit() and form.startswith("png")])
def test_depths_are_what_their_names_say(seven, form):
    content = in_form(seven, form, np.random.default_rng(0))
    assert content[24] == int(form.split("_")[-1])


def test_a_corpus_is_the_same_each_time(seven):
    assert hostile(12, 0) == hostile(12, 0)
    assert hostile(12, 0, seven[None]) != hostile(12, 1, seven[None])


def test_a_corpus_spreads_evenly_over_everything(seven):
    names = [name.split("-")[0] for name, _ in hostile(40, 0, seven[None])]
    groups = [KINDS, HARD, FORMS, REFUSED]
    for group in groups:
        assert sum(name in group for name in names) == pytest.approx(40 * len(group) / sum(map(len, groups)), abs=1)
