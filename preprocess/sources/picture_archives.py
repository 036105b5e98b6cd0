"""Archives of pictures, zip or tar: sources like the folders that they were made of, read in place."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import PurePath, PurePosixPath

from common.formats import archive, kind
from common.formats.archive import Member
from common.formats.picture import is_picture
from common.storage import is_hidden
from preprocess.sources import class_folders, pictures
from preprocess.sources.base import Rejected, Source, Wanted, left_out
from preprocess.sources.class_folders import Listed, Listing
from preprocess.sources.pictures import LABELS_FILE, Content, Found, Picture

_MOST_PARTS = 64
"""Each part of a zip reads its directory, which of a million members takes seconds."""


def holds(wanted: Wanted) -> bool:
    """Whether the source is an archive with a picture, or something that is named as one."""
    if not archive.is_archive(wanted.location):
        return False
    for member, load in archive.scan(wanted.location):
        if not member.problem and not is_hidden(PurePosixPath(member.name)):
            named = pictures.is_named_as_picture(member.name) or PurePosixPath(member.name).name == LABELS_FILE
            if named or is_picture(load(kind.HEAD_BYTES)):
                return True
    return False


def inspect(wanted: Wanted) -> Source:
    """Lists and hashes the pictures in an archive in one pass, as `pictures.inspect` does those in a folder."""
    pictures.refuse_classes(wanted)
    location = wanted.location
    members, contents, tables, others = {}, {}, {}, []
    for member, load in archive.scan(location):
        if member.name in members and member.problem != "folder":
            others.append(left_out(archive.member_of(location, member.name), "replaced"))
        members[member.name] = member
        contents.pop(member.name, None)
        inside = PurePosixPath(member.name)
        if not member.problem and not is_hidden(inside):
            content = load()
            contents[member.name] = pictures.examine(content)
            if inside.name == LABELS_FILE:
                tables[member.name] = content
    top = _top(members)
    if (table := str(top / LABELS_FILE)) in tables:
        listing = _read_table(wanted, members, table, tables[table])
    else:
        entries = _entries(members.values())
        listing = class_folders.arrange(entries, partial(_locate, location), least_depth=len(top.parts))
    pictures.log_listing(location, listing)
    can_be_entered = archive.can_be_entered(location)
    found, rejected = [], []
    for file in listing.files:
        place = members[file.inside].place
        one = _to_picture(file, contents.get(file.inside), (place if can_be_entered else 0, place))
        if isinstance(one, Picture):
            found.append(one)
        else:
            (rejected if one.problem == "too-large" else others).append(one)
    fetch = partial(_fetch_members, location)
    return pictures.assemble(wanted, Found(found, fetch, [*listing.left_out, *others], rejected, _MOST_PARTS))


def _top(names: Iterable[str]) -> PurePosixPath:
    """The folder that was packed, if it was packed as a whole and not what it holds."""
    tops = {inside.parts[0] for inside in map(PurePosixPath, names) if not is_hidden(inside)}
    is_whole = len(tops) == 1 and not class_folders.stands_for_itself(*tops)
    return PurePosixPath(*tops) if is_whole else PurePosixPath()


def _locate(location: str, inside: PurePath) -> str:
    return archive.member_of(location, str(inside))


def _read_table(wanted: Wanted, members: dict[str, Member], name: str, content: bytes) -> Listing:
    def find(inside: PurePath) -> str:
        member = members.get(str(inside))
        return _locate(wanted.location, inside) if member and member.problem in ("", "too-large") else ""

    table = PurePosixPath(name)
    where = _locate(wanted.location, table)
    return pictures.read_table(where, content, wanted.config.encoding, table.parent, find)


def _entries(members: Iterable[Member]) -> Iterator[tuple[PurePath, str]]:
    """What the archive holds, as a walk through its folder would give it."""
    members = list(members)
    filled = {parent for member in members for parent in PurePosixPath(member.name).parents}
    for member in members:
        inside = PurePosixPath(member.name)
        if member.problem != "folder":
            yield inside, "" if member.problem == "too-large" else member.problem
        elif inside not in filled:
            yield inside, "empty-folder"


def _to_picture(file: Listed, content: Content | None, place: tuple[int, int]) -> Picture | Rejected:
    """`content` is None for what is too large to be read."""
    if content is not None:
        return pictures.to_picture(file, content, place)
    if not pictures.is_named_as_picture(file.path):
        return left_out(file.path, "no-picture")
    return Rejected(file.path, "too-large", f"has more than {archive.MOST_BYTES:,} bytes, the most that are read")


def _fetch_members(location: str, some: Sequence[Picture]) -> Iterator[bytes]:
    return archive.read(location, [picture.place[-1] for picture in some])
