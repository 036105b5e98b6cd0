"""The lines of a page, as PAGE and ALTO XML describe them, and their texts written back.

Both formats are known by the root element and read by local names, so that all years and versions are: PAGE 2013-07-15
(Transkribus) and 2019-07-15 (eScriptorium, OCR-D), ALTO 2 to 4. Coordinates are pixels of the page's picture, x to the
right and y down. Sources: PAGE 2019-07-15 (github.com/PRImA-Research-Lab/PAGE-XML) and ALTO 4.2
(github.com/altoxml/schema).
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from common.errors import InputError, shown
from common.formats import xml_tree
from common.formats.picture import Header
from common.formats.xml_tree import Document, Edit, Element

Point = tuple[float, float]
Box = tuple[float, float, float, float]

MOST_POINTS = 10_000
"""A polygon or baseline of more points is none that a program or a person has drawn; it is left out."""
FARTHEST = 1_000_000
"""The same holds for a point farther away than this, in pixels."""

_LONGEST_NUMBER = 50  # characters

FITS = {
    "fits": "",
    "fits-as-stored": "its XML describes the picture as it is stored, but EXIF turns it",
    "fits-turned": "its XML describes the picture as EXIF turns it",
    "fits-both": "EXIF turns the picture, and its XML does not show whether it describes the turned one",
    "unknown": "its XML does not give the size of the picture",
    "differs": "its XML describes a picture of another size",
}
"""How the XML and the picture of a page go together, by code (see `fit`), and what is to be said of it."""


@dataclass(frozen=True)
class Line:
    """A line of a page. What the XML lacks, and geometry that cannot be read, is empty or None."""

    id: str
    """The XML's; where that has none or the same again, made up, so that no other line of the page has it."""
    polygon: tuple[Point, ...]
    baseline: tuple[Point, ...]
    box: Box | None
    """Left, top, right and bottom; where the XML has none, that of the polygon's points."""
    text: str | None
    """As it was typed, but for white space: within it that is single blanks."""


@dataclass(frozen=True)
class Page:
    """A page, and its lines in the order of the XML."""

    picture: str
    """The picture's file name, as the XML has it; "" if that has none."""
    width: int | None
    height: int | None
    lines: tuple[Line, ...]
    format: Literal["PAGE", "ALTO"]


@dataclass(frozen=True)
class _Format:
    """What is particular to one of the two formats."""

    name: Literal["PAGE", "ALTO"]
    id: str
    """The attribute with a line's id."""
    check: Callable[[Element, str], None]
    picture: Callable[[Element, Element], str]
    size: tuple[str, str]
    """The attributes of a page's width and height."""
    line: Callable[[Element, str], Line]
    text: Callable[[Element], str | None]
    """Of a line."""
    edits: Callable[[Document, Element, str, float], Iterator[Edit]]
    """Those that write a line's text and its confidence."""
    summaries: Callable[[Document, list[tuple[Element, str | None]], set[int]], Iterator[Edit]]
    """Those that bring texts of whole regions up to date: of all lines' texts, and the starts of those written."""


def is_page(content: bytes) -> bool:
    """Whether these are the bytes of a PAGE or ALTO file. They may be damaged further on: `read` finds that."""
    return xml_tree.root_name(content) in _FORMATS


def read(content: bytes, name: str) -> Page:
    """The page that a PAGE or ALTO file describes.

    A line whose geometry or text cannot be read lacks it; it never ends the reading. Raises `InputError`, which names
    the file, if the XML is damaged, of another kind, of several pages, or measured otherwise than in pixels.
    """
    document, form = _document(content, name)
    page = _only_page(document, name)
    width, height = (_side(page.attributes.get(key)) for key in form.size)
    lines = tuple(form.line(element, line_id) for line_id, element in _lines(page, form).items())
    return Page(form.picture(document.root, page), width, height, lines, form.name)


def with_texts(content: bytes, readings: Mapping[str, tuple[str, float]]) -> bytes:
    """The same file with a text and its confidence, 0 to 1, for each line whose `Line.id` is in `readings`.

    All else stays as it is, byte for byte, except what would contradict the new texts. In PAGE, a line's other
    `TextEquiv` and its `Word` elements go: eScriptorium joins all texts of a line, takes those of its words instead
    where it has words, and Transkribus does not bring words in step; a region's own text, if it has one, becomes that
    of its lines. In ALTO, the line gets one `String`. Characters that XML cannot hold become U+FFFD. Raises
    `InputError` as `read` does, and `KeyError` for an id that is not a line's.
    """
    document, form = _document(content, "the XML")
    lines = _lines(_only_page(document, "the XML"), form)
    unknown = readings.keys() - lines.keys()
    if unknown:
        raise KeyError(f"no line of the page has the id {shown(min(unknown))}")
    edits = []
    for line_id, (text, confidence) in readings.items():
        edits += form.edits(document, lines[line_id], text, confidence)
    texts = [(line, readings[key][0] if key in readings else form.text(line)) for key, line in lines.items()]
    edits += form.summaries(document, texts, {lines[line_id].start for line_id in readings})
    return xml_tree.edited(document, edits)


def fit(page: Page, header: Header) -> str:
    """How a page's XML goes with its picture: a code of `FITS`. Unless that is "fits", people should be told.

    Where EXIF turns the picture, sizes that fit prove nothing: there are such pages whose lines lie on no text at all.
    """
    if page.width is None or page.height is None:
        return "unknown"
    size, stored = (page.width, page.height), (header.width, header.height)
    turned = stored[::-1] if header.orientation in (5, 6, 7, 8) else stored
    if size not in (stored, turned):
        return "differs"
    if header.orientation == 1:
        return "fits"
    return "fits-both" if stored == turned else "fits-as-stored" if size == stored else "fits-turned"


def _document(content: bytes, name: str) -> tuple[Document, _Format]:
    document = xml_tree.parse(content, name)
    form = _FORMATS.get(document.root.name)
    if form is None:
        raise InputError(f"{name}: is neither PAGE nor ALTO XML: its root element is {shown(document.root.tag)}")
    form.check(document.root, name)
    return document, form


def _only_page(document: Document, name: str) -> Element:
    pages = [element for element in document.root.walk() if element.name == "Page"]
    if len(pages) != 1:
        raise InputError(f"{name}: describes {len(pages)} pages; XML of one page is read")
    return pages[0]


def _lines(page: Element, form: _Format) -> dict[str, Element]:
    """By `Line.id`, in the document's order."""
    lines: dict[str, Element] = {}
    for number, element in enumerate((one for one in page.walk() if one.name == "TextLine"), 1):
        line_id = element.attributes.get(form.id, "")
        while not line_id or line_id in lines:
            line_id += f"#{number}"  # ids of XML have no such sign
        lines[line_id] = element
    return lines


def _number(text: str | None) -> float | None:
    try:
        number = float((text or "")[:_LONGEST_NUMBER])
    except ValueError:
        return None
    return number if abs(number) <= FARTHEST else None  # NaN is not


def _side(text: str | None) -> int | None:
    number = _number(text)
    return round(number) if number and number >= 1 else None


def _points(text: str | None) -> tuple[Point, ...]:
    """Of "x,y x,y" or "x y x y"; none if one of them is no pair of numbers."""
    numbers = [_number(part) for part in (text or "").replace(",", " ").split(None, 2 * MOST_POINTS)]
    if len(numbers) % 2 or len(numbers) > 2 * MOST_POINTS or None in numbers:
        return ()
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _around(points: tuple[Point, ...]) -> Box | None:
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _attribute(element: Element | None, key: str) -> str | None:
    return element.attributes.get(key) if element else None


def _confidence(key: str, confidence: float) -> str:
    """An attribute; nothing if it is not a number."""
    return "" if math.isnan(confidence) else f' {key}="{min(max(confidence, 0.0), 1.0):.4f}"'


# PAGE


def _page_picture(_root: Element, page: Element) -> str:
    return page.attributes.get("imageFilename", "")


def _page_line(element: Element, line_id: str) -> Line:
    polygon = _points(_attribute(element.first("Coords"), "points"))
    baseline = _points(_attribute(element.first("Baseline"), "points"))
    return Line(line_id, polygon, baseline, _around(polygon), _page_text(element))


def _page_text(line: Element) -> str | None:
    """A line's own text; where it has none, that of its words."""
    text = _main_text(line)
    return text or " ".join(filter(None, map(_main_text, line.all("Word")))) or text


def _main_text(element: Element) -> str | None:
    """The text of a line or word; of several, that with the lowest index."""
    readings = element.all("TextEquiv")
    if not readings:
        return None
    reading = min(readings, key=lambda one: _number(one.attributes.get("index")) or 0)  # the first of equal ones
    written = reading.first("Unicode") or reading.first("PlainText")
    return _plain(written.text) if written else None


def _page_edits(document: Document, line: Element, text: str, confidence: float) -> Iterator[Edit]:
    markup = _text_equiv(line.prefix, text, _confidence("conf", confidence))
    yield from _in_place_of(document, line, ("TextEquiv", "Word"), ("AlternativeImage", "Coords", "Baseline"), markup)


def _text_equiv(prefix: str, text: str, attributes: str = "") -> str:
    written = f"<{prefix}Unicode>{xml_tree.escaped(text)}</{prefix}Unicode>"
    return f"<{prefix}TextEquiv{attributes}>{written}</{prefix}TextEquiv>"


def _page_summaries(document: Document, texts: list[tuple[Element, str | None]], written: set[int]) -> Iterator[Edit]:
    starts = [line.start for line, _ in texts]
    for region in document.root.walk():
        if region.name == "TextRegion" and region.first("TextEquiv"):
            first, end = bisect_left(starts, region.start), bisect_left(starts, region.end)
            if written.intersection(starts[first:end]):
                joined = "\n".join(text for _, text in texts[first:end] if text)
                yield from _in_place_of(document, region, ("TextEquiv",), (), _text_equiv(region.prefix, joined))


# ALTO


def _alto_check(root: Element, name: str) -> None:
    unit = root.first("Description", "MeasurementUnit")
    if unit and unit.text.strip() not in ("", "pixel"):
        raise InputError(f"{name}: is measured in {shown(unit.text.strip())}; export it with the unit pixel")


def _alto_picture(root: Element, _page: Element) -> str:
    written = root.first("Description", "sourceImageInformation", "fileName")
    return written.text.strip() if written else ""


def _alto_line(element: Element, line_id: str) -> Line:
    polygon = _points(_attribute(element.first("Shape", "Polygon"), "POINTS"))
    left, top, width, height = (_number(element.attributes.get(key)) for key in _ALTO_BOX)
    box = _around(polygon)
    if None not in (left, top, width, height):
        box = left, top, left + width, top + height
    written = element.attributes.get("BASELINE")
    baseline = _points(written)
    y = _number(written)
    if y is not None and box:  # as before ALTO 4.2
        baseline = (box[0], y), (box[2], y)
    return Line(line_id, polygon, baseline, box, _alto_text(element))


def _alto_text(line: Element) -> str | None:
    parts = line.all(*_ALTO_TEXT)
    return _plain("".join(map(_alto_part, parts))) if parts else None


def _alto_part(part: Element) -> str:
    """Strings are words: white space is between them also where no SP says so. A hyphen, HYP, belongs to the last."""
    content = part.attributes.get("CONTENT", "")
    return content if part.name == "HYP" else f" {content}"


def _alto_edits(document: Document, line: Element, text: str, confidence: float) -> Iterator[Edit]:
    strings = line.all("String")
    is_whole = len(strings) == 1  # else each is a word, of which no more is known where it stands
    model = strings[0].attributes if is_whole else {key: line.attributes.get(key) for key in _ALTO_BOX}
    kept = {key: value for key, value in model.items() if value is not None and key not in _OF_ALTO_READING}
    written = "".join(f" {key}={xml_tree.quoted(value)}" for key, value in kept.items())
    reading = f"CONTENT={xml_tree.quoted(text)}" + _confidence("WC", confidence)
    shape = strings[0].first("Shape") if is_whole else None
    inside = document.content[shape.start : shape.end].decode(document.encoding) if shape else ""
    markup = f"<{line.prefix}String {reading}{written}>{inside}</{line.prefix}String>"
    yield from _in_place_of(document, line, _ALTO_TEXT, ("Shape",), markup)


_ALTO_BOX = ("HPOS", "VPOS", "WIDTH", "HEIGHT")
_ALTO_TEXT = ("String", "SP", "HYP")
_OF_ALTO_READING = ("CONTENT", "WC", "CC", "CS", "SUBS_TYPE", "SUBS_CONTENT")


def _in_place_of(
    document: Document, parent: Element, names: tuple[str, ...], before: tuple[str, ...], markup: str
) -> Iterator[Edit]:
    """Puts markup in the place of the first child of the first name; children of all these names go.

    Where there is none, it stands behind the last child of those that have to stand before it.
    """
    old = parent.all(*names)
    place = next((child for child in old if child.name == names[0]), None)
    if place:
        yield Edit(place.start, place.end, markup)
    else:
        earlier = parent.all(*before)
        yield xml_tree.inserted(document, parent, earlier[-1] if earlier else None, markup)
    yield from (xml_tree.removed(document, child) for child in old if child is not place)


_FORMATS = {
    "PcGts": _Format(
        "PAGE",
        "id",
        lambda _root, _name: None,
        _page_picture,
        ("imageWidth", "imageHeight"),
        _page_line,
        _page_text,
        _page_edits,
        _page_summaries,
    ),
    "alto": _Format(
        "ALTO",
        "ID",
        _alto_check,
        _alto_picture,
        ("WIDTH", "HEIGHT"),
        _alto_line,
        _alto_text,
        _alto_edits,
        lambda _document, _texts, _written: iter(()),
    ),
}
"""By the local name of the root element."""
