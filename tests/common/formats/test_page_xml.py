"""PAGE and ALTO: the same lines from both, whatever is wrong with some of them, and texts written back into the XML."""

import math
import re
import time
from dataclasses import replace
from importlib import util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from common.formats import page_xml, xml_tree
from common.formats.page_xml import Line, Page
from common.formats.picture import Header, read_header

PAGE_2019 = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
PAGE_2013 = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15"
COORDS = '<Coords points="10,20 110,20 110,60 10,60"/>'
BASELINE = '<Baseline points="10,50 110,52"/>'


def page(lines: str, head: str = '<?xml version="1.0" encoding="UTF-8"?>', namespace: str = PAGE_2019) -> bytes:
    return (
        f'{head}<PcGts xmlns="{namespace}"><Metadata><Creator>a person</Creator><Created>2026-11-27T10:00:00</Created>'
        "<LastChange>2026-11-27T10:00:00</LastChange></Metadata>"
        '<Page imageFilename="sheet 1.jpg" imageWidth="200" imageHeight="100">'
        f'<TextRegion id="r1"><Coords points="0,0 200,0 200,100 0,100"/>{lines}</TextRegion></Page></PcGts>'
    ).encode()


def page_line(content: str = "", id: str | None = "l1") -> str:
    named = "<TextLine>" if id is None else f'<TextLine id="{id}">'
    return f"{named}{COORDS}{BASELINE}{content}</TextLine>"


def equiv(text: str, index: int | None = None) -> str:
    start = "<TextEquiv>" if index is None else f'<TextEquiv index="{index}">'
    return f"{start}<Unicode>{text}</Unicode></TextEquiv>"


def alto(lines: str, unit: str = "<MeasurementUnit>pixel</MeasurementUnit>") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">'
        f"<Description>{unit}<sourceImageInformation><fileName>sheet 1.jpg</fileName></sourceImageInformation>"
        '</Description><Layout><Page WIDTH="200" HEIGHT="100" PHYSICAL_IMG_NR="1" ID="p"><PrintSpace>'
        f'<TextBlock ID="b">{lines}</TextBlock></PrintSpace></Page></Layout></alto>'
    ).encode()


def alto_line(content: str = "", attributes: str = 'ID="l1" BASELINE="10 50 110 52"') -> str:
    shape = '<Shape><Polygon POINTS="10 20 110 20 110 60 10 60"/></Shape>'
    return f'<TextLine {attributes} HPOS="10" VPOS="20" WIDTH="100" HEIGHT="40">{shape}{content}</TextLine>'


LINE = Line(
    "l1",
    polygon=((10, 20), (110, 20), (110, 60), (10, 60)),
    baseline=((10, 50), (110, 52)),
    box=(10, 20, 110, 60),
    text="mon testament",
)
SMALL = {
    "PAGE": page(page_line(equiv("mon testament"))),
    "ALTO": alto(alto_line('<String CONTENT="mon testament"/>')),
}


def lines_of(content: bytes) -> tuple[Line, ...]:
    return page_xml.read(content, "file.xml").lines


def line_of(content: bytes) -> Line:
    (line,) = lines_of(content)
    return line


@pytest.fixture
def pages(real_data: Path) -> Path:
    folder = real_data / "pages"
    if not folder.is_dir():
        pytest.skip("no real pages here")
    return folder


# Reading


@pytest.mark.parametrize("name", ["PH 1858-22", "PH 1858-81"])
def test_page_and_alto_of_the_same_sheet_give_the_same_lines(pages, name):
    of_page, of_alto = (
        page_xml.read((pages / "timeus" / form / f"{name}.xml").read_bytes(), name) for form in ("page", "alto")
    )
    assert (of_page.format, of_alto.format) == ("PAGE", "ALTO")
    assert replace(of_page, format="ALTO") == of_alto
    assert len(of_page.lines) == {"PH 1858-22": 7, "PH 1858-81": 9}[name]
    assert (of_page.picture, of_page.width, of_page.height) == (f"{name}.jpg", 4608, 3072)
    assert all(line.polygon and line.baseline and line.text == line.text.strip() for line in of_page.lines)


def test_the_texts_of_a_real_page_are_as_they_were_typed(pages):
    lines = lines_of((pages / "timeus" / "page" / "PH 1858-81.xml").read_bytes())
    assert [line.text for line in lines][:2] == [
        "Du dit jour Cinq Février",
        "Entre Monsieur Auguste Bénard, ouvrier, demeurant à",
    ]
    assert (lines[0].id, lines[0].polygon[:2]) == ("r2l9", ((1635, 1054), (1635, 1077)))
    assert (lines[0].baseline[-1], lines[0].box) == ((3078, 1041), (1633, 893, 3077, 1088))


def test_all_real_pages_are_read(pages):
    files = sorted(pages.glob("**/*.xml"))
    counts = {path.stem: len(lines_of(path.read_bytes())) for path in files}
    assert len(files) == 8
    assert (counts["wikitexte_0003_2"], counts["wikitexte_0201_2"]) == (8, 16)
    assert all(page_xml.is_page(path.read_bytes()) for path in files)


@pytest.mark.parametrize("form", SMALL)
def test_a_line_has_its_geometry_and_its_text(form):
    assert page_xml.read(SMALL[form], "file.xml") == Page("sheet 1.jpg", 200, 100, (LINE,), form)


@pytest.mark.parametrize("namespace", [PAGE_2013, PAGE_2019, "urn:of-somebody"])
def test_names_count_and_not_their_namespaces(namespace):
    content = page(page_line(equiv("mon testament")), namespace=namespace)
    prefixed = re.sub(rb"<(/?)([A-Z])", rb"<\1pc:\2", content).replace(b"xmlns=", b"xmlns:pc=")
    assert line_of(content) == line_of(prefixed) == LINE


@pytest.mark.parametrize(
    ("content", "is_page"),
    [
        (SMALL["PAGE"], True),
        (SMALL["ALTO"], True),
        (b"\xef\xbb\xbf<!-- by hand -->\n<alto/>", True),
        ("<?xml version='1.0' encoding='UTF-16'?><PcGts/>".encode("utf-16"), True),
        (SMALL["PAGE"][:400], True),
        (b"<!DOCTYPE PcGts SYSTEM 'x'><PcGts/>", True),
        (b"<mets/>", False),
        (b"<html><body>alto</body></html>", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"PcGts", False),
        (b"", False),
    ],
)
def test_a_file_of_lines_is_known_by_its_content(content, is_page):
    assert page_xml.is_page(content) == is_page


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", None),
        ("<TextEquiv/>", None),
        (equiv(""), ""),
        (equiv(" mon \n\t testament "), "mon testament"),
        ("<TextEquiv><PlainText>mon</PlainText></TextEquiv>", "mon"),
        ("<TextEquiv><PlainText>m</PlainText><Unicode>mon</Unicode></TextEquiv>", "mon"),
        (equiv("2", 2) + equiv("0", 0) + equiv("1", 1), "0"),
        (equiv("first") + equiv("second"), "first"),
        (equiv("1", 1) + equiv("none"), "none"),
        (f'<Word id="w1">{equiv("mon")}</Word><Word id="w2">{equiv("testament")}</Word>', "mon testament"),
        (f'<Word id="w1">{equiv("mon")}</Word>' + equiv(""), "mon"),
        (f'<Word id="w1">{equiv("word")}</Word>' + equiv("line"), "line"),
        (f'<Word id="w1"><Glyph id="g">{equiv("m")}</Glyph>{equiv("mon")}</Word>', "mon"),
        (equiv("<!-- no text -->d&#233;j&#xE0; &lt;vu&gt; <![CDATA[& <]]>"), "déjà <vu> & <"),
    ],
)
def test_the_text_of_a_line_of_page(content, text):
    assert line_of(page(page_line(content))).text == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", None),
        ('<String CONTENT=""/>', ""),
        ('<String CONTENT=" mon  testament "/>', "mon testament"),
        ('<String CONTENT="mon"/><SP/><String CONTENT="testament"/>', "mon testament"),
        ('<String CONTENT="mon"/><String CONTENT="testament"/>', "mon testament"),
        (
            '<String CONTENT="mon"/><SP/><String CONTENT="testa" SUBS_CONTENT="testament"/><HYP CONTENT="-"/>',
            "mon testa-",
        ),
        ('<String CONTENT="mon"><ALTERNATIVE>ton</ALTERNATIVE><Glyph CONTENT="m"/></String>', "mon"),
    ],
)
def test_the_text_of_a_line_of_alto(content, text):
    assert line_of(alto(alto_line(content))).text == text


@pytest.mark.parametrize(
    ("written", "baseline"),
    [
        ("10 50 110 52", ((10, 50), (110, 52))),
        ("10,50 110,52", ((10, 50), (110, 52))),
        ("10.5 50 110 52.25", ((10.5, 50), (110, 52.25))),
        ("51", ((10, 51), (110, 51))),
        ("", ()),
    ],
)
def test_the_baseline_of_alto_is_points_or_before_version_4_2_a_height(written, baseline):
    assert line_of(alto(alto_line(attributes=f'ID="l1" BASELINE="{written}"'))).baseline == baseline


@pytest.mark.parametrize(
    "points",
    [
        "",
        "10,20 110",
        "nan,20 110,20 110,60",
        "10,20 inf,20 1,1",
        "a,b c,d",
        "1e30,0 1,1 2,2",
        pytest.param("0,0 " * 10_001, id="many"),
    ],
)
def test_geometry_that_cannot_be_read_is_absent_and_ends_nothing(points):
    bad = f'<TextLine id="bad"><Coords points="{points}"/><Baseline points="{points}"/>{equiv("text")}</TextLine>'
    assert lines_of(page(bad + page_line(equiv("mon testament")))) == (Line("bad", (), (), None, "text"), LINE)


def test_points_may_lie_outside_of_the_page():
    line = line_of(page('<TextLine id="l1"><Coords points="-10,-20 1000,20 1000,60.5"/></TextLine>'))
    assert line == Line("l1", ((-10, -20), (1000, 20), (1000, 60.5)), (), (-10, -20, 1000, 60.5), None)


def test_a_box_stands_in_alto_where_there_is_no_polygon():
    attributes = 'ID="l1" HPOS="10" VPOS="20" WIDTH="100.5" HEIGHT="40"'
    assert line_of(alto(f"<TextLine {attributes}/>")).box == (10, 20, 110.5, 60)
    assert line_of(alto('<TextLine ID="l1" HPOS="10" VPOS="20" WIDTH="100"/>')).box is None


def test_each_line_has_an_id_of_its_own():
    same, none = page_line(equiv("b"), "l1"), page_line(equiv("c"), None)
    content = page(page_line(equiv("a")) + same + none + page_line(equiv("d"), "l1#2"))
    ids = [line.id for line in lines_of(content)]
    assert ids[0] == "l1"
    assert len(set(ids)) == 4
    written = page_xml.with_texts(content, {id: (f"text {id}", 1) for id in ids})
    assert [(line.id, line.text) for line in lines_of(written)] == [(id, f"text {id}") for id in ids]


def test_lines_of_regions_in_regions_stand_in_the_order_of_the_xml():
    inner = f'<TextRegion id="r2">{page_line(id="b")}</TextRegion>'
    table = f'<TableRegion id="t"><TextRegion id="r3">{page_line(id="d")}</TextRegion></TableRegion>'
    content = page(page_line(id="a") + inner + page_line(id="c") + table)
    assert [line.id for line in lines_of(content)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("size", ["", 'imageWidth="0" imageHeight="100"', 'imageWidth="a" imageHeight="b"'])
def test_a_page_may_not_say_its_size(size):
    content = SMALL["PAGE"].replace(b'imageWidth="200" imageHeight="100"', size.encode())
    assert page_xml.read(content, "file.xml").width is None


@pytest.mark.parametrize("unit", ["mm10", "inch1200"])
def test_alto_in_other_units_than_pixels_is_refused(unit):
    with pytest.raises(InputError, match=rf"^file\.xml: is measured in '{unit}'; export it with the unit pixel$"):
        lines_of(alto("", f"<MeasurementUnit>{unit}</MeasurementUnit>"))


@pytest.mark.parametrize("unit", ["", "<MeasurementUnit> pixel\n</MeasurementUnit>"])
def test_alto_is_in_pixels_also_if_it_does_not_say_so(unit):
    assert line_of(alto(alto_line(), unit)).box == LINE.box


# Damage and malice

ENTITIES = "".join(f'<!ENTITY {name} "{f"&{of};" * 10}">' for of, name in zip("abcdefgh", "bcdefghi", strict=True))
LAUGHS = f'<!DOCTYPE PcGts [<!ENTITY a "ha">{ENTITIES}]>'


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n", "is damaged, or no XML"),
        (SMALL["PAGE"][:-20], "is damaged, or no XML"),
        (SMALL["PAGE"].replace(b"mon", b"\xff\xfe"), "is damaged, or no XML"),
        (page(page_line(equiv("&eacute;"))), "undefined entity"),
        (b"<mets/>", "is neither PAGE nor ALTO XML: its root element is 'mets'"),
        (b"<PcGts/>", "describes 0 pages"),
        (b"<alto><Layout><Page/><Page/></Layout></alto>", "describes 2 pages"),
        (page("", head='<?xml version="1.0" encoding="klingon"?>'), "cannot be decoded"),
        (page("", head='<?xml version="1.0" encoding="shift_jis"?>'), "store it as UTF-8"),
        (SMALL["PAGE"].decode().encode("utf-16")[:-1], "cannot be decoded"),
        (page(page_line(equiv("&i;")), head=LAUGHS), "has a document type declaration"),
        (page('<TextLine id="&i;"/>', head=LAUGHS), "has a document type declaration"),
        (page(page_line(equiv("&x;")), head='<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>'), "document type"),
        (page("", head='<!DOCTYPE PcGts SYSTEM "http://127.0.0.1:9/page.dtd">'), "has a document type declaration"),
        (b"<PcGts>" * 100_000, "more than 200 deep"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line_with_the_files_name(content, complaint):
    for action in (lambda: page_xml.read(content, "file.xml"), lambda: page_xml.with_texts(content, {})):
        with pytest.raises(InputError) as error:
            action()
        assert complaint in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"^file\.xml: "):
        page_xml.read(content, "file.xml")


def test_documents_have_limits(monkeypatch):
    monkeypatch.setattr(xml_tree, "MOST_ELEMENTS", 50)
    with pytest.raises(InputError, match="more than 50 elements"):
        lines_of(page("<Border/>" * 50))
    monkeypatch.setattr(xml_tree, "MOST_BYTES", 500)
    with pytest.raises(InputError, match="bytes; of XML at most 500 are read"):
        lines_of(page(" " * 500))


def test_a_large_document_takes_as_much_more_time_as_it_is_larger():
    """The same ids over and over, and points by the million: nothing compares each with each."""

    def seconds(count: int) -> float:
        content = page(page_line(equiv("a")) * count + f'<TextLine><Coords points="{"1,1 " * count * 50}"/></TextLine>')
        start = time.process_time()
        assert len(lines_of(page_xml.with_texts(content, {}))) == count + 1
        return time.process_time() - start

    seconds(100)
    assert seconds(4000) < 8 * 4 * seconds(500)


# Writing


def without_texts(content: bytes) -> bytes:
    content = re.sub(rb"\s*<TextEquiv.*?</TextEquiv>", b"", content, flags=re.DOTALL)
    return re.sub(rb"\s*<String [^>]*(/>|>\s*</String>)", b"", content)


def test_only_the_texts_of_a_real_page_change(pages):
    for path in sorted(pages.glob("**/*.xml")):
        content = path.read_bytes()
        before = page_xml.read(content, path.name)
        readings = {line.id: (f"Ligne {number} : « l’été »", 0.5) for number, line in enumerate(before.lines)}
        written = page_xml.with_texts(content, readings)
        after = page_xml.read(written, path.name)
        assert [line.text for line in after.lines] == [text for text, _ in readings.values()]
        assert [replace(line, text="") for line in after.lines] == [replace(line, text="") for line in before.lines]
        assert without_texts(written) == without_texts(content)
        assert written != content


def test_one_line_of_a_real_page_changes_alone(pages):
    content = (pages / "timeus" / "alto" / "PH 1858-81.xml").read_bytes()
    old, new = content.splitlines(), page_xml.with_texts(content, {"r2l9": ("Du dit jour", 0.75)}).splitlines()
    at = next(number for number, row in enumerate(old) if b"Du dit jour" in row)
    assert new[:at] == old[:at]
    assert new[-(len(old) - at - 5) :] == old[at + 5 :]


def test_a_text_of_page_is_put_in_the_place_of_the_old_one():
    around = "<!-- é -->\r\n<TextLine\tcustom='readingOrder {index:0;}'  id='l1' >%s\r\n\t</TextLine ><!-- & -->"
    old = f'<TextEquiv index="1"><Unicode>old</Unicode></TextEquiv>\r\n  {equiv("older", 0)}'
    inside = f"\r\n  {COORDS}\r\n  %s\r\n  <TextStyle fontSize='5.0'/>"
    content = page(around % (inside % old))
    new = '<TextEquiv conf="0.8750"><Unicode>new</Unicode></TextEquiv>'
    assert page_xml.with_texts(content, {"l1": ("new", 0.875)}) == page(around % (inside % new))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<TextLine id='l1'/>", "<TextLine id='l1'>{}</TextLine>"),
        ("<TextLine id='l1' custom='a>b/'></TextLine>", "<TextLine id='l1' custom='a>b/'>{}</TextLine>"),
        ('<TextLine id="l1" custom="a>b"></TextLine>', '<TextLine id="l1" custom="a>b">{}</TextLine>'),
        ("<TextLine id='l1' custom='/'></TextLine>", "<TextLine id='l1' custom='/'>{}</TextLine>"),
        ("<TextLine id='l1'>/></TextLine>", "<TextLine id='l1'>{}/></TextLine>"),
        ("<TextLine id='l1'><!-- / --></TextLine>", "<TextLine id='l1'>{}<!-- / --></TextLine>"),
        (f"<TextLine id='l1'>{COORDS}</TextLine>", f"<TextLine id='l1'>{COORDS}{{}}</TextLine>"),
        (
            f"<TextLine id='l1'>\n {COORDS}\n {BASELINE}\n <TextStyle/>\n</TextLine>",
            f"<TextLine id='l1'>\n {COORDS}\n {BASELINE}\n {{}}\n <TextStyle/>\n</TextLine>",
        ),
    ],
)
def test_a_text_of_page_stands_where_the_schema_wants_it(before, after):
    new = '<TextEquiv conf="1.0000"><Unicode>new</Unicode></TextEquiv>'
    assert page_xml.with_texts(page(before), {"l1": ("new", 1)}) == page(after.format(new))


def test_the_words_of_a_line_of_page_go_with_its_old_text():
    """What takes PAGE back prefers words to the line's text, as eScriptorium does."""
    words = f'\n<Word id="w1">{COORDS}{equiv("old")}</Word>\n<Word id="w2">{COORDS}{equiv("text")}</Word>'
    content = page(page_line(f"{words}\n{equiv('old text')}\n"))
    new = '<TextEquiv conf="0.5000"><Unicode>new</Unicode></TextEquiv>'
    assert page_xml.with_texts(content, {"l1": ("new", 0.5)}) == page(page_line(f"\n{new}\n"))
    without_line_text = page(page_line(f"{words}\n"))
    assert page_xml.with_texts(without_line_text, {"l1": ("new", 0.5)}) == page(page_line(f"{new}\n"))


def test_lines_where_no_lines_belong_do_no_harm():
    hidden = f'<Word id="w">{page_line(equiv("inner"), "l2")}</Word>'
    written = page_xml.with_texts(page(page_line(hidden)), {"l1": ("outer", 1), "l2": ("inner", 1)})
    assert [(line.id, line.text) for line in lines_of(written)] == [("l1", "outer")]


def test_the_text_of_a_region_of_page_follows_its_lines():
    def region(first: str, joined: str, id: str = "") -> str:
        lines = page_line(equiv(first), f"{id}1") + page_line(equiv("b"), f"{id}2")
        return f"<TextRegion>{lines}{equiv(joined)}</TextRegion>"

    content = page(region("a", "a b", "x") + region("a", "as it was", "y"))
    written = page_xml.with_texts(content, {"x1": ("new", math.nan)})
    assert written == page(region("new", "new\nb", "x") + region("a", "as it was", "y"))


def test_a_text_of_alto_is_one_string():
    kept = 'ID="s" HPOS="11" VPOS="21" STYLEREFS="f"'
    shape = '<Shape><Polygon POINTS="11 21 109 21 109 59"/></Shape>'
    old = f'<String {kept} CONTENT="old" WC="0.1" CC="9 9 9">{shape}<Glyph CONTENT="o"/></String>'
    new = f'<String CONTENT="new" WC="0.8750" {kept}>{shape}</String>'
    assert page_xml.with_texts(alto(alto_line(old)), {"l1": ("new", 0.875)}) == alto(alto_line(new))
    words = '\n<String CONTENT="a" HPOS="11"/>\n<SP/>\n<String CONTENT="b" HPOS="60"/>\n<HYP CONTENT="-"/>\n'
    whole = '<String CONTENT="new" WC="0.8750" HPOS="10" VPOS="20" WIDTH="100" HEIGHT="40"></String>'
    assert page_xml.with_texts(alto(alto_line(words)), {"l1": ("new", 0.875)}) == alto(alto_line(f"\n{whole}\n"))
    assert page_xml.with_texts(alto(alto_line()), {"l1": ("new", 0.875)}) == alto(alto_line(whole))


def test_new_elements_have_the_prefix_of_the_line():
    content = page(page_line()).replace(b"<TextLine", b"<pc:TextLine").replace(b"</TextLine", b"</pc:TextLine")
    assert b"<pc:TextEquiv><pc:Unicode>a</pc:Unicode></pc:TextEquiv>" in page_xml.with_texts(
        content, {"l1": ("a", math.nan)}
    )


@pytest.mark.parametrize(("confidence", "written"), [(0.12345, "0.1235"), (-0.1, "0.0000"), (1.5, "1.0000")])
def test_confidences_are_from_0_to_1(confidence, written):
    assert f'conf="{written}"'.encode() in page_xml.with_texts(SMALL["PAGE"], {"l1": ("a", confidence)})
    assert f'WC="{written}"'.encode() in page_xml.with_texts(SMALL["ALTO"], {"l1": ("a", confidence)})


@given(text=st.text() | st.text("<>&\"'\n\t\r\0\ud800\ufffe]é’😀 a"))
@pytest.mark.parametrize("form", SMALL)
def test_what_was_written_is_read_again(form, text):
    possible = re.sub("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
    written = page_xml.with_texts(SMALL[form], {"l1": (text, 0.5)})
    assert line_of(written) == replace(LINE, text=" ".join(possible.split()))
    assert page_xml.with_texts(written, {"l1": (text, 0.5)}) == written


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "utf-16-be", "ISO-8859-1", "windows-1252", "US-ASCII"])
def test_the_encoding_of_a_file_stays(encoding):
    declared = re.sub("-[bl]e$", "", encoding)
    text = "cafe" if encoding == "US-ASCII" else "café"
    content = page(page_line(equiv(text)), f'<?xml version="1.0" encoding="{declared}"?>').decode()
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    written = page_xml.with_texts((mark + content).encode(encoding), {"l1": ("l’été", math.nan)})
    assert line_of(written).text == "l’été"
    assert written.decode(encoding).replace("&#8217;", "’").replace("&#233;", "é") == mark + content.replace(
        text, "l’été"
    )


def test_nothing_to_write_changes_nothing():
    assert all(page_xml.with_texts(content, {}) == content for content in SMALL.values())


def test_a_text_for_a_line_that_is_not_there_is_an_error():
    with pytest.raises(KeyError, match="'l2'"):
        page_xml.with_texts(SMALL["PAGE"], {"l1": ("a", 1), "l2": ("b", 1)})


def test_what_is_written_is_valid_page():
    """By the schema that OCR-D's package brings: `pip install --no-deps ocrd lxml`."""
    etree = pytest.importorskip("lxml.etree")
    found = util.find_spec("ocrd_validators")
    if not found:
        pytest.skip("no schema of PAGE here: pip install --no-deps ocrd lxml")
    schema = etree.XMLSchema(file=str(Path(found.submodule_search_locations[0]) / "page.xsd"))
    style = '<TextStyle fontSize="5.0"/>'
    word = f'<Word id="w1">{COORDS}{equiv("old")}</Word>'
    for inside in ("", style, equiv("old") + style, word, word + equiv("old", 1) + style):
        content = page(page_line(inside) + equiv("old"))
        for checked in (content, page_xml.with_texts(content, {"l1": ("new <&>", 0.5)})):
            assert schema.validate(etree.fromstring(checked)), schema.error_log


# The picture


@pytest.mark.parametrize(
    ("size", "header", "code"),
    [
        ((200, 100), Header(200, 100, 1), "fits"),
        ((200, 100), Header(100, 200, 1), "differs"),
        ((200, 100), Header(400, 200, 1), "differs"),
        ((200, 100), Header(200, 100, 6), "fits-as-stored"),
        ((200, 100), Header(100, 200, 6), "fits-turned"),
        ((200, 100), Header(300, 200, 6), "differs"),
        ((200, 100), Header(200, 100, 3), "fits-both"),
        ((100, 100), Header(100, 100, 8), "fits-both"),
        ((None, 100), Header(200, 100, 1), "unknown"),
    ],
)
def test_whether_xml_and_picture_go_together(size, header, code):
    assert page_xml.fit(Page("a.jpg", *size, (), "PAGE"), header) == code
    assert (page_xml.FITS[code] == "") == (code == "fits")


def test_an_orientation_is_told_of_also_where_the_size_fits(pages):
    folder = pages / "testaments-de-poilus"
    codes = {}
    for path in folder.glob("*.xml"):
        described = page_xml.read(path.read_bytes(), path.name)
        codes[path.stem[-6:]] = page_xml.fit(described, read_header((folder / described.picture).read_bytes()))
    assert codes == {"0005-0": "fits-as-stored", "0240-1": "fits"}
