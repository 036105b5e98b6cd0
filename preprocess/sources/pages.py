"""Pages with PAGE or ALTO XML, as Transkribus and eScriptorium export them: each line is cut out of the page's picture.

Lines without text, and other XML files, are left out. The page is the file; its writer is known by
`--group-pattern` alone.
"""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from common.dataset.manifest import SourceFile
from common.errors import InputError
from common.formats import page_xml
from common.normalize import cutting
from common.normalize.page import LineOfPage, PageFile, open_page
from common.storage import read, to_path, visible_files
from preprocess.sources.base import Rejected, Wanted, left_out, split_of
from preprocess.sources.lines import Listed, Listing

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_AT_ONCE = 8


def holds(wanted: Wanted) -> bool:
    """Whether the source is a PAGE or ALTO file, or a folder with one."""
    root = to_path(wanted.location)
    if root.is_dir():
        return any(page_xml.is_page(read(path)) for path in visible_files(root, "*.xml"))
    return root.suffix.lower() == ".xml" and root.is_file()


def list_lines(wanted: Wanted) -> Listing:
    """The lines of all pages, their sizes by the geometry alone. A page that cannot be read is rejected as a whole."""
    root = to_path(wanted.location)
    base = root if root.is_dir() else root.parent
    files = sorted(visible_files(root, "*.xml")) if root.is_dir() else [root]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        pages = list(pool.map(partial(_open, base=base), files))
    lines, rejected, others, counts, digest = [], [], [], Counter(), hashlib.sha256()
    for path, page in zip(files, pages, strict=True):
        if page is None:
            others.append(left_out(path.relative_to(base), "no-page"))
            continue
        if isinstance(page, Rejected):
            rejected.append(page)
            continue
        digest.update(read(path) + page.picture_sha256)
        name = str(path.relative_to(base))
        for line in page.lines:
            problem = cutting.problem_of(line, page.size)
            if problem == "no-text":
                others.append(left_out(f"{name}#{line.id}", "no-text"))
            elif problem:
                rejected.append(Rejected(f"{name}#{line.id}", problem, cutting.PROBLEMS[problem]))
            else:
                counts[f"lines cut by their {cutting.way_of(line)}"] += 1
                lines.append(_list_line(page, line, name, split_of(path.relative_to(base))))
    file = SourceFile(root.name, 0, digest.hexdigest(), official=False)
    return Listing(tuple(lines), tuple(rejected), (file,), dict(counts), tuple(others))


def _open(path: "AnyPath", base: "AnyPath") -> PageFile | Rejected | None:
    """None for other XML: Transkribus puts a `mets.xml` beside its pages."""
    if not page_xml.is_page(read(path)):
        return None
    try:
        return open_page(path)
    except InputError as error:
        return Rejected(str(path.relative_to(base)), "bad-page", f"cannot be read: {error}")


def _list_line(page: PageFile, line: page_xml.Line, name: str, split: str) -> Listed:
    geometry = repr((line.polygon, line.baseline, line.box, page.is_as_stored)).encode()
    return Listed(
        source=name,
        line=line.id,
        text=line.text or "",
        picture=LineOfPage(page.picture, page.is_as_stored, line),
        size=cutting.size_of(line, page.size),
        content=hashlib.sha256(page.picture_sha256 + geometry).digest(),
        split=split,
        page=name,
    )
