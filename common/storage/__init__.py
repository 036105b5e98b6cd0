"""Where files lie: a local folder or a `gs://` bucket, behind one kind of path object.

Everything that takes a path from a user turns it into a path object by `to_path`.
"""

from common.storage.checksums import crc32c, sha256_of
from common.storage.locks import Seen, is_locked, lock, look, this_process, write_over
from common.storage.paths import (
    BUCKET_NAME,
    CACHE_DIR,
    check_bucket,
    checksums_below,
    download,
    explained,
    local_copy,
    make_folder,
    move,
    objects_below,
    read,
    remove,
    to_path,
    write,
    write_atomically,
    writing,
)

__all__ = [
    "BUCKET_NAME",
    "CACHE_DIR",
    "Seen",
    "check_bucket",
    "checksums_below",
    "crc32c",
    "download",
    "explained",
    "is_locked",
    "local_copy",
    "lock",
    "look",
    "make_folder",
    "move",
    "objects_below",
    "read",
    "remove",
    "sha256_of",
    "this_process",
    "to_path",
    "write",
    "write_atomically",
    "write_over",
    "writing",
]
