"""Lines cut out of a page: upright, level, on paper, of a size that is known before, or left out with a reason."""

import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from common.formats import page_xml
from common.formats.page_xml import Line
from common.normalize.cutting import PROBLEMS, cut, problem_of, size_of, way_of, with_boxes

PAPER, INK = 200, 40
SIZE = (400, 1000)
EMPTY = Line("l1", (), (), None, "text")
BOX = (100.0, 100.0, 600.0, 160.0)
POLYGON = ((100.0, 100.0), (600.0, 100.0), (600.0, 160.0), (100.0, 160.0))


def numbered() -> np.ndarray:
    """A page whose pixels differ from their neighbours."""
    rows, columns = np.indices(SIZE)
    return (rows * 7 + columns * 3).astype(np.uint8)


def written(rise: float, bend: float = 0.0, ink: int = INK, paper: int = PAPER) -> tuple[np.ndarray, Line]:
    """A page with one stroke of 7 pixels that rises so much in each column and bends, and the line around it."""
    columns = np.arange(SIZE[1])
    rows = 250 - rise * (columns - 500) - bend * np.sin(columns / 100)
    page = np.where(np.abs(np.arange(SIZE[0])[:, None] - rows) <= 3, ink, paper).astype(np.uint8)
    points = [(float(column), float(rows[column])) for column in range(200, 801, 20)]
    outline = [(x, y - 30) for x, y in points] + [(x, y + 15) for x, y in reversed(points)]
    return page, Line("l1", tuple(outline), tuple(points), None, "text")


def places_of_ink(image: np.ndarray) -> np.ndarray:
    """The middle row of the ink in each column of the middle of a cut."""
    inner = (image < 120)[:, 30:-30]
    assert inner.any(axis=0).all()
    return (inner * np.arange(len(inner))[:, None]).sum(0) / inner.sum(0)


@pytest.fixture
def pages(real_data: Path) -> Path:
    folder = real_data / "pages"
    if not folder.is_dir():
        pytest.skip("no real pages here")
    return folder


def grey(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"))


# By what


@pytest.mark.parametrize(
    ("line", "way"),
    [
        (replace(EMPTY, polygon=POLYGON, baseline=((100, 150), (600, 150)), box=BOX), "polygon"),
        (replace(EMPTY, baseline=((100, 150), (600, 150)), box=BOX), "baseline"),
        (replace(EMPTY, baseline=((100, 150), (600, 150))), "baseline"),
        (replace(EMPTY, box=BOX), "box"),
        (EMPTY, None),
        (replace(EMPTY, polygon=POLYGON[:2], box=BOX), "box"),
        (replace(EMPTY, polygon=((1, 1), (50, 50), (99, 99), (1, 1)), box=BOX), "box"),
        (replace(EMPTY, baseline=((100, 150),), box=BOX), "box"),
        (replace(EMPTY, baseline=((100, 150), (100, 150)), box=BOX), "box"),
        (replace(EMPTY, baseline=((100, 150), (110, 158)), box=BOX), "box"),
        (replace(EMPTY, box=(600, 100, 100, 160)), None),
        (replace(EMPTY, box=(100, 100, 100, 160)), None),
    ],
)
def test_a_line_is_cut_by_its_polygon_else_its_baseline_else_its_box(line, way):
    assert way_of(line) == way


def test_a_box_is_cut_as_it_is():
    page = numbered()
    line = replace(EMPTY, box=BOX)
    assert size_of(line, page.shape) == (60, 500)
    np.testing.assert_array_equal(cut(page, line), page[100:160, 100:600])
    beyond = replace(EMPTY, box=(-50.0, 350.0, 80.0, 500.0))
    np.testing.assert_array_equal(cut(page, beyond), page[350:, :80])


def test_a_level_line_keeps_its_pixels():
    page = numbered()
    line = replace(EMPTY, polygon=POLYGON, baseline=((100, 150), (600, 150)))
    image = cut(page, line)
    np.testing.assert_array_equal(image[4:-4, 4:-4], page[102:158, 102:598])


def test_a_polygon_is_a_little_widened():
    page = numbered()
    assert size_of(replace(EMPTY, polygon=POLYGON), page.shape) == (64, 504)  # 3 % of 60 pixels on each side


@pytest.mark.parametrize(("ink", "paper", "least", "most"), [(INK, PAPER, 213, 217), (220, 30, 32, 36)])
def test_what_is_outside_of_the_polygon_is_paper(ink, paper, least, most):
    """The paper's noise is 0 to 19 levels; its colour is that three quarters up, or down if the ink is light."""
    page, line = written(0.0, bend=10.0, ink=ink, paper=paper)
    noisy = (page + np.random.default_rng(0).integers(0, 20, page.shape)).astype(np.uint8)
    triangle = replace(line, polygon=((200.0, 280.0), (500.0, 200.0), (800.0, 280.0)), baseline=())
    noisy[200:230, 200:300] = ink  # of the line above
    image = cut(noisy, triangle)
    corner = image[:20, :80]
    assert (corner == corner[0, 0]).all()
    assert least <= corner[0, 0] <= most


def test_what_is_outside_of_the_page_is_paper():
    page = np.full(SIZE, PAPER, np.uint8)
    level = replace(
        EMPTY, polygon=((900, 340), (1100, 340), (1100, 500), (900, 500)), baseline=((900, 380), (1100, 380))
    )
    slanted = replace(level, baseline=((900, 340), (1100, 400)))
    for line in (level, slanted):
        assert (cut(page, line) == PAPER).all()


# Straightening


@pytest.mark.parametrize(("rise", "bend"), [(0, 0), (0.04, 0), (0, 10), (0.03, -15), (0.2, 0), (-0.2, 5), (0.5, 0)])
def test_the_baseline_becomes_level(rise, bend):
    page, line = written(rise, bend)
    for one in (line, replace(line, polygon=(), box=None), replace(line, baseline=line.baseline[::-1])):
        rows = places_of_ink(cut(page, one))
        assert np.ptp(rows) <= 2, way_of(one)


def test_a_slanted_line_is_turned_and_not_sheared():
    page, line = written(math.tan(math.radians(20)))
    height, width = size_of(line, page.shape)
    length = 600 / math.cos(math.radians(20))
    assert length < width < length * 1.06
    assert 45 * math.cos(math.radians(20)) < height < 50


def test_the_direction_of_the_baseline_does_not_matter():
    page, line = written(0.2, 5.0)
    backwards = replace(line, baseline=line.baseline[::-1])
    np.testing.assert_array_equal(cut(page, line), cut(page, backwards))


@pytest.mark.parametrize("baseline", [(), ((300, 300),), ((300, 300), (310, 340)), ((300, 300), (300, 300))])
def test_a_baseline_that_shows_no_direction_straightens_nothing(baseline):
    page = numbered()
    line = replace(EMPTY, polygon=POLYGON, box=BOX)
    np.testing.assert_array_equal(cut(page, replace(line, baseline=baseline)), cut(page, line))


# Only a baseline


def test_of_lines_with_baselines_only_the_distance_between_them_gives_the_height():
    baselines = [((100.0, y), (900.0, y)) for y in (100.0, 150.0, 200.0, 300.0)]
    short = ((100.0, 349.0), (160.0, 351.0))
    beside = [((910.0, y), (990.0, y)) for y in (110.0, 160.0, 210.0, 260.0)]  # another column
    lines = with_boxes([replace(EMPTY, baseline=baseline) for baseline in (*baselines, short, *beside)])
    assert lines[1].box == (100, 150 - 0.75 * 50, 900, 150 + 0.3 * 50)
    assert lines[4].box == (100, 349 - 0.75 * 50, 160, 351 + 0.3 * 50)
    assert {size_of(line, SIZE)[0] for line in lines[:4]} == {53, 54}
    assert all(way_of(line) == "baseline" for line in lines)


def test_other_lines_keep_what_they_have():
    lines = (replace(EMPTY, polygon=POLYGON), replace(EMPTY, box=BOX), EMPTY)
    assert with_boxes(lines) == lines
    alone = (replace(EMPTY, baseline=((100, 150), (600, 150))),)
    assert with_boxes(alone) == alone


def test_a_baseline_on_its_own_is_a_twelfth_of_its_length_high():
    height, width = size_of(replace(EMPTY, baseline=((100, 150), (340, 150))), SIZE)
    assert (round(height, -1), width) == (20, 240)


def test_a_box_around_a_baseline_gives_its_height():
    page, line = written(0.0, bend=10.0)
    top, bottom = min(y for _, y in line.polygon), max(y for _, y in line.polygon)
    boxed = replace(line, polygon=(), box=(200.0, top, 800.0, bottom))
    assert abs(size_of(boxed, page.shape)[0] - 45) <= 2


# Left out


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (replace(EMPTY, polygon=POLYGON), ""),
        (replace(EMPTY, polygon=POLYGON, text=None), "no-text"),
        (replace(EMPTY, polygon=POLYGON, text=""), "no-text"),
        (EMPTY, "no-place"),
        (replace(EMPTY, box=(1000, 100, 1200, 150)), "outside"),
        (replace(EMPTY, polygon=((-90, 10), (-10, 10), (-10, 60))), "outside"),
        (replace(EMPTY, polygon=((10, 500), (90, 500), (90, 560)), baseline=((10, 550), (90, 550))), "outside"),
        (replace(EMPTY, baseline=((10, -100), (90, -100))), "outside"),
        (replace(EMPTY, box=(10, 10, 400, 15)), "too-small"),
        (replace(EMPTY, box=(997, 10, 1100, 60)), "too-small"),
        (
            replace(EMPTY, polygon=((10, 10), (60, 10), (60, 300), (10, 300)), baseline=((50, 10), (50, 300))),
            "vertical",
        ),
        (
            replace(EMPTY, polygon=((10, 10), (60, 10), (60, 300), (10, 300)), baseline=((50, 300), (49, 10))),
            "vertical",
        ),
        (replace(EMPTY, baseline=((10, 10), (200, 150))), "vertical"),
    ],
)
def test_why_a_line_is_left_out(line, problem):
    assert problem_of(line, SIZE) == problem
    assert problem == "" or problem in PROBLEMS
    if problem and problem != "no-text":
        assert size_of(line, SIZE) is None
        with pytest.raises(ValueError, match=f"line l1 {PROBLEMS[problem]}"):
            cut(numbered(), line)


def test_a_line_to_be_read_needs_no_text():
    assert problem_of(replace(EMPTY, polygon=POLYGON, text=None), SIZE, needs_text=False) == ""


CLOSE = ((2e-309, 1.0), (-20.0, 0.0))
NUMBERS = st.one_of(st.integers(-50, 1050), st.floats(-1e6, 1e6)).map(float)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8).map(tuple)
BOXES = st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@example(line=replace(EMPTY, baseline=CLOSE))
@example(line=replace(EMPTY, polygon=((0.0, 1.0), (-1.0, 0.0), (2e-309, 0.0)), baseline=CLOSE))
@given(line=st.builds(Line, id=st.just("l1"), polygon=POINTS, baseline=POINTS, box=BOXES, text=st.just("text")))
def test_every_line_is_cut_to_the_size_foretold_or_has_a_problem(line):
    page = numbered()
    size = size_of(line, page.shape)
    assert (size is None) == (problem_of(line, page.shape) != "") == (problem_of(line, page.shape) in PROBLEMS)
    if size:
        assert max(size) <= 2 * 1.1 * math.hypot(*SIZE)
        image = cut(page, line)
        assert (image.shape, image.dtype) == (size, np.uint8)


@pytest.mark.parametrize("fall", [1, 10, 100])
def test_memory_is_bounded_by_the_line(fall):
    page = np.full((6000, 6000), PAPER, np.uint8)
    outline = ((1000, 3000), (1600, 3000 + fall), (1600, 3040 + fall), (1000, 3040))
    line = replace(EMPTY, polygon=outline, baseline=((1000, 3030), (1600, 3030 + fall)))
    cut(page, line)
    tracemalloc.start()
    image = cut(page, line)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * image.size < page.size


# Real pages


@pytest.mark.parametrize(("name", "count"), [("PH 1858-22", 7), ("PH 1858-81", 9)])
def test_page_and_alto_of_the_same_sheet_give_the_same_cuts(pages, name, count):
    page = grey(pages / "timeus" / f"{name}.jpg")
    cuts = {}
    for form in ("page", "alto"):
        path = pages / "timeus" / form / f"{name}.xml"
        lines = page_xml.read(path.read_bytes(), path.name).lines
        assert [problem_of(line, page.shape) for line in lines] == [""] * count
        cuts[form] = [cut(page, line) for line in lines]
    for first, second in zip(cuts["page"], cuts["alto"], strict=True):
        np.testing.assert_array_equal(first, second)


def test_cuts_look_as_those_of_the_set_of_lines(pages, real_data):
    """These were made by another program, which cut by polygon and baseline and scaled to 64 rows."""
    folder = real_data / "lines" / "testaments-de-poilus"
    name = "TestamentsDePoilus_will_AN_0240-1"
    page = grey(pages / "testaments-de-poilus" / f"{name}.jpg")
    lines = page_xml.read((pages / "testaments-de-poilus" / f"{name}.xml").read_bytes(), name).lines
    rows = [row.split("\t") for row in (folder / "train.tsv").read_text(encoding="utf-8").splitlines()]
    files = {row[3]: folder / "train" / row[0] for row in rows if row[2] == name}
    assert len(files) == len(lines) == 4
    for line in lines[:3]:  # the fourth slants by 8 degrees; there it was sheared
        theirs = grey(files[line.id])
        ours = np.asarray(Image.fromarray(cut(page, line)).resize(theirs.shape[::-1], Image.Resampling.LANCZOS))
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.85, line.text
        height, width = size_of(line, page.shape)
        assert abs(width * 64 / height - theirs.shape[1]) < 3
