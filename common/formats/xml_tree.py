"""An XML document as elements that know their places in its bytes, so that parts of it can be replaced.

All that is not replaced stays as it is, byte for byte: comments, namespaces, the order of attributes, line ends. Expat
reads the documents; one with a document type declaration is refused before anything in it is expanded or fetched.
Elements have local names: the prefix of a namespace is apart. Source: Extensible Markup Language 1.0, fifth edition
(W3C, 2008).
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from common.errors import InputError

MOST_BYTES = 64_000_000
MOST_ELEMENTS = 1_000_000
DEEPEST = 200
"""Larger documents are refused: an element takes a thousand bytes of memory, a point a hundred."""

_ROOT_WITHIN = 1 << 16  # bytes
_UTF_16 = (
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_START_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")
_OUTSIDE_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_IN_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_IN_QUOTES = str.maketrans({'"': "&quot;", "\t": "&#9;", "\n": "&#10;"})
_BLANKS = b" \t\r\n"


@dataclass(slots=True)
class Element:
    """An element, and where it stands: offsets into the document's bytes."""

    tag: str
    """Its name, with the prefix of its namespace."""
    attributes: dict[str, str]
    start: int
    end: int = 0
    is_empty: bool = False
    """Whether it is written like `<a/>`, without an end tag."""
    children: list["Element"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.tag.rpartition(":")[2]

    @property
    def prefix(self) -> str:
        """With the colon; "" if there is none."""
        return self.tag[: len(self.tag) - len(self.name)]

    @property
    def text(self) -> str:
        """What stands in it outside of its children."""
        return "".join(self.texts)

    def all(self, *names: str) -> list["Element"]:
        """Its children of these names."""
        return [child for child in self.children if child.name in names]

    def first(self, *path: str) -> "Element | None":
        """The first child of the first name, the first child in that of the second name, and so on."""
        found: Element | None = self
        for name in path:
            found = next(iter(found.all(name)), None) if found else None
        return found

    def walk(self) -> Iterator["Element"]:
        """This element and all that are in it, in the document's order."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.children))


@dataclass(frozen=True)
class Document:
    """A document that was read."""

    root: Element
    content: bytes
    """Its bytes, to which the places of elements refer; in UTF-8 if they were in UTF-16."""
    encoding: str
    """That of `content`."""
    stored_as: str | None
    """The encoding of UTF-16 in which it was stored, else None."""


@dataclass(frozen=True)
class Edit:
    """What is to stand in the place of the bytes from `start` to `end`."""

    start: int
    end: int
    markup: str


class _FoundError(Exception):
    """Ends the parsing at the root element; its argument is the name."""


def root_name(content: bytes) -> str:
    """The local name of the root element; "" if these are no bytes of XML. Only the first 64 KiB are looked at."""

    def found(tag: str, *_: object) -> None:
        raise _FoundError(tag.rpartition(":")[2])

    start, stored_as = content[:_ROOT_WITHIN], _utf_16(content)
    if stored_as:
        start = start.decode(stored_as, "ignore").encode()
    parser = expat.ParserCreate("utf-8" if stored_as else None)
    parser.StartElementHandler = parser.StartDoctypeDeclHandler = found
    try:
        parser.Parse(start, False)
    except _FoundError as name:
        return name.args[0]
    except (expat.ExpatError, LookupError, ValueError):
        pass
    return ""


def parse(content: bytes, name: str) -> Document:
    """Reads a document. Raises `InputError`, which names the file, if it is damaged or too large or declares a type."""
    if not content:
        raise InputError(f"{name}: is empty")
    if len(content) > MOST_BYTES:
        raise InputError(f"{name}: has {len(content):,} bytes; of XML at most {MOST_BYTES:,} are read")
    stored_as = _utf_16(content)
    try:
        if stored_as:
            content = content.decode(stored_as).encode()
        reader = _Reader(content, name, "utf-8" if stored_as else None)
        reader.parser.Parse(content, True)
    except expat.ExpatError as error:
        raise InputError(f"{name}: is damaged, or no XML ({error})") from None
    except (LookupError, ValueError) as error:
        raise InputError(f"{name}: its characters cannot be decoded ({error}); store it as UTF-8") from None
    return Document(reader.root, content, reader.encoding, stored_as)


def _utf_16(content: bytes) -> str | None:
    return next((encoding for mark, encoding in _UTF_16 if content.startswith(mark)), None)


class _Reader:
    """What was read so far, and Expat's handlers, which add to it."""

    def __init__(self, content: bytes, name: str, encoding: str | None):
        self.content, self.name = content, name
        self.encoding = encoding or "utf-8"
        self.is_encoding_known = encoding is not None
        self.root = Element("", {}, 0)
        self.open: list[Element] = []
        self.nothing_in: Element | None = None
        """The element that was begun last, as long as neither text nor a child was seen in it."""
        self.count = 0
        self.parser = expat.ParserCreate(encoding)
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = self.declare
        self.parser.StartDoctypeDeclHandler = self.refuse_type
        self.parser.StartElementHandler = self.start
        self.parser.CharacterDataHandler = self.add_text
        self.parser.EndElementHandler = self.end

    def declare(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and not self.is_encoding_known:
            self.encoding = encoding

    def refuse_type(self, *_: object) -> None:
        raise InputError(f"{self.name}: has a document type declaration, as neither PAGE nor ALTO has; remove it")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if self.count > MOST_ELEMENTS:
            raise InputError(f"{self.name}: has more than {MOST_ELEMENTS:,} elements")
        if len(self.open) == DEEPEST:
            raise InputError(f"{self.name}: has elements within each other, more than {DEEPEST} deep")
        element = Element(tag, attributes, self.parser.CurrentByteIndex)
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)
        self.nothing_in = element

    def add_text(self, text: str) -> None:
        self.open[-1].texts.append(text)
        self.nothing_in = None

    def end(self, _tag: str) -> None:
        element, at = self.open.pop(), self.parser.CurrentByteIndex
        # Expat calls this behind `<a/>`, but before `</a>`.
        element.is_empty = element is self.nothing_in and self.content.endswith(b"/>", 0, at)
        element.end = at if element.is_empty else self.content.index(b">", at) + 1
        self.nothing_in = None


def edited(document: Document, edits: Iterable[Edit]) -> bytes:
    """The bytes of the document after these edits, in its own encoding. An edit within another one is not made."""
    parts, done = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start < done:
            continue
        parts += [document.content[done : edit.start], edit.markup.encode(document.encoding, "xmlcharrefreplace")]
        done = edit.end
    content = b"".join([*parts, document.content[done:]])
    return content.decode().encode(document.stored_as) if document.stored_as else content


def inserted(document: Document, parent: Element, after: Element | None, markup: str) -> Edit:
    """Puts markup into `parent`, behind its child `after`, and indented like that, or else before all that is in it."""
    if after:
        indent = document.content[blanks_before(document, after.start) : after.start].decode(document.encoding)
        return Edit(after.end, after.end, indent + markup)
    if parent.is_empty:
        return Edit(parent.end - len("/>"), parent.end, f">{markup}</{parent.tag}>")
    inside = _START_TAG.match(document.content, parent.start).end()
    return Edit(inside, inside, markup)


def removed(document: Document, element: Element) -> Edit:
    """Takes an element out, with the white space before it."""
    return Edit(blanks_before(document, element.start), element.end, "")


def blanks_before(document: Document, at: int) -> int:
    """Where the white space begins that ends at `at`."""
    while at and document.content[at - 1] in _BLANKS:
        at -= 1
    return at


def escaped(text: str) -> str:
    """`text` as it stands in an element. Characters that XML cannot hold become U+FFFD."""
    return _OUTSIDE_XML.sub("\ufffd", text).translate(_IN_TEXT)


def quoted(text: str) -> str:
    """`text` as the value of an attribute, with its quotes. Characters that XML cannot hold become U+FFFD."""
    return f'"{escaped(text).translate(_IN_QUOTES)}"'
