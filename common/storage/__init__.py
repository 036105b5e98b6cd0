"""File storage: local folders and `gs://` buckets behind one kind of path object.

Code that takes a path from a user converts it with `to_path`.
"""

from common.storage.checksums import crc32c, sha256_of
from common.storage.locks import Versioned, compare_and_swap, is_locked, lock, read_versioned, this_process
from common.storage.paths import (
    BUCKET_NAME,
    CACHE_DIR,
    check_bucket,
    checksums_below,
    download,
    fingerprint_below,
    local_copy,
    make_folder,
    move,
    objects_below,
    read,
    remove,
    to_path,
    to_user_error,
    write,
    write_atomically,
    writing,
)
from common.storage.tree import is_hidden, visible_files, walk

__all__ = [
    "BUCKET_NAME",
    "CACHE_DIR",
    "Versioned",
    "check_bucket",
    "checksums_below",
    "compare_and_swap",
    "crc32c",
    "download",
    "fingerprint_below",
    "is_hidden",
    "is_locked",
    "local_copy",
    "lock",
    "make_folder",
    "move",
    "objects_below",
    "read",
    "read_versioned",
    "remove",
    "sha256_of",
    "this_process",
    "to_path",
    "to_user_error",
    "visible_files",
    "walk",
    "write",
    "write_atomically",
    "writing",
]
