"""The Beam graph and its three stages: read and scatter, merge and write, publish.

    ListSources ─ ScatterIntoShards ┬ parts ─────────┬─ GroupByShard ─ WriteShard ─ FinishDataset
                                    ├ test contents ─│─────────────────┘               │
                                    └ rejected pictures, bad input ────────────────────┘
    ListShards ──────────────────────────────────────┘

A gzip stream cannot be split, so one worker unpacks a whole file of images. It does little else: it cuts the stream
into blocks and writes, beside the output, one part file per block and shard. The expensive work (sorting, encoding,
checksums) happens in WriteShard, which runs in parallel on all workers. Only file names cross the shuffle, and
FinishDataset sees only the checksums and counts of the shards. So memory stays bounded, and Beam serves as a pool of
processes on any runner: it never holds an example.
"""

import errno
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.pvalue import AsList

from common import storage
from common.dataset import hashing, records
from common.dataset.manifest import Shard
from common.dataset.schema import IMAGE, LABEL
from common.errors import InputError
from preprocess import publish
from preprocess.describe import sense, statistics
from preprocess.describe.statistics import Sums
from preprocess.plan import Plan, ShardKey, assign
from preprocess.publish import ShardSummary
from preprocess.sources.base import Block, Rejected, SourceSplit

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_BLOCK_BYTES = (1 << 15) * 784  # 25 MB of pixels; larger blocks lose more by allocating memory than they save in files
_CHUNK_BYTES = (1 << 12) * 784  # encoded at once; fits into a processor's cache
_MIN_EXAMPLES_AT_ONCE = 16
FAILURE_FILE = "failure.txt"
"""The file in the work folder that says what was wrong with the input."""

_log = logging.getLogger(__name__)

Finding = tuple[str, Any]
"""One result of a stage, after its kind. (Beam's way would be tagged outputs, but the Dask runner lacks them.)"""
PART = "part"
"""(shard key, path of a file with some of the shard's examples)"""
TEST_CONTENTS = "test contents"
"""Path of a file with the pixel hashes of some test examples."""
REJECTED = "rejected"
"""A `Rejected` picture."""
PROBLEM = "problem"
"""An error message about the input: a result, because runners would retry a failure."""
SUMMARY = "summary"
"""A `ShardSummary`."""


def build(pipeline: beam.Pipeline, plan: Plan, splits: tuple[SourceSplit, ...]) -> None:
    """Adds to `pipeline` the stages that make the dataset of `plan` from the parts of its sources.

    `reshuffle=False`: after both calls of `Create`, a later step spreads the elements over the workers.
    """
    scattered = (
        pipeline
        | "ListSources" >> beam.Create(list(enumerate(splits)), reshuffle=False)
        | "SpreadOverWorkers" >> beam.Reshuffle()
        | "ScatterIntoShards" >> beam.ParDo(ScatterIntoShards(plan))
    )
    # All shards are listed, so that those without examples are written too.
    shards = pipeline | "ListShards" >> beam.Create([(key, None) for key in plan.shard_keys], reshuffle=False)
    written = (
        (scattered | "PickParts" >> _pick(PART), shards)
        | "JoinPartsAndShards" >> beam.Flatten()
        | "GroupByShard" >> beam.GroupByKey()
        | "WriteShard" >> beam.ParDo(WriteShard(plan), AsList(scattered | "PickTestContents" >> _pick(TEST_CONTENTS)))
    )
    _ = (
        pipeline
        | "Once" >> beam.Create([None])
        | "FinishDataset"
        >> beam.ParDo(
            FinishDataset(plan),
            AsList(written | "PickSummaries" >> _pick(SUMMARY)),
            AsList(scattered | "PickRejected" >> _pick(REJECTED)),
            AsList(scattered | "PickBadInput" >> _pick(PROBLEM)),
            AsList(written | "PickFailedShards" >> _pick(PROBLEM)),
        )
    )


def _pick(kind: str) -> beam.PTransform:
    return beam.FlatMap(lambda finding: [finding[1]] if finding[0] == kind else [])


class ScatterIntoShards(beam.DoFn):
    """Reads one part of a source and writes its examples into part files: arrays of records, sorted by order.

    Yields the findings PART, TEST_CONTENTS, REJECTED and PROBLEM.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.examples_read = Metrics.counter("preprocess", "examples_read")

    def process(self, element: tuple[int, SourceSplit]) -> Iterator[Finding]:
        index, split = element
        read = 0
        try:
            with _as_input_error():
                at_once = self.plan.schema.examples_in(_BLOCK_BYTES, _MIN_EXAMPLES_AT_ONCE)
                for number, item in enumerate(split.read(at_once)):
                    if isinstance(item, Rejected):
                        yield REJECTED, item
                        continue
                    if not read and split.split == "train":
                        sense.check_scale(item.examples[IMAGE], split.namespace)
                    yield from self._write_parts(split, item, f"{index:05d}-{number:05d}")
                    read += len(item.example_ids)
                    self.examples_read.inc(len(item.example_ids))
                    _log.info("read %s %s examples of %s", f"{read:,}", split.split, split.namespace)
        except InputError as error:
            yield PROBLEM, str(error)

    def _write_parts(self, split: SourceSplit, block: Block, name: str) -> Iterator[Finding]:
        work = self.plan.work_folder
        is_validation, order = assign(self.plan.request, split, block.example_ids)
        contents, notes = hashing.content_hashes(block.examples, self.plan.schema), self._notes(split, block)
        if split.split == "test":
            path = work / f"contents-{name}"
            storage.write(path, contents.astype("<u8").tobytes())
            yield TEST_CONTENTS, str(path)
        for output_split, members in ((split.split, ~is_validation), ("validation", is_validation)):
            rows = np.flatnonzero(members)
            if not len(rows):
                continue
            rows = rows[np.argsort(order[rows])]
            part = np.empty(len(rows), self.plan.part_record)
            part["order"], part["content"] = order[rows], contents[rows]
            for feature, values in block.examples.items():
                part[feature] = values[rows]
            num_shards = self.plan.num_shards[output_split]
            bounds = np.searchsorted(hashing.shards(part["order"], num_shards), np.arange(num_shards + 1))
            for shard, (low, high) in enumerate(pairwise(bounds)):
                if high > low:
                    path = work / f"part-{output_split}-{shard:05d}-{name}"
                    storage.write(path, part[low:high].tobytes())
                    if notes:
                        storage.write(_notes_of(path), b"".join(notes[row] + b"\n" for row in rows[low:high]))
                    yield PART, ((output_split, shard), str(path))

    def _notes(self, split: SourceSplit, block: Block) -> Sequence[bytes]:
        """The origins of the examples. Those that have none get one if others of the dataset have."""
        if block.notes or self.plan.request.conversion is None:
            return block.notes
        return [json.dumps({"source": f"{split.namespace}#{index}"}).encode() for index in block.example_ids]


class WriteShard(beam.DoFn):
    """Merges the part files of one shard, encodes them as TFRecords, and yields the finding SUMMARY or PROBLEM."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.examples_written = Metrics.counter("preprocess", "examples_written")

    def process(self, shard: tuple[ShardKey, Iterable[str | None]], test_contents: list[str]) -> Iterator[Finding]:
        key, paths = shard
        try:
            with _as_input_error():
                yield SUMMARY, self._write(key, [path for path in paths if path], test_contents)
        except InputError as error:
            yield PROBLEM, str(error)

    def _write(self, key: ShardKey, parts: list[str], test_contents: list[str]) -> ShardSummary:
        examples = _read_arrays(parts, self.plan.part_record)
        num_leaked = num_excluded = 0
        is_kept = np.ones(len(examples), bool)
        if key[0] == "train":
            is_kept = ~np.isin(examples["content"], self.plan.excluded_hashes)
            num_excluded = int((~is_kept).sum())
        if key[0] != "test":
            is_leaked = is_kept & np.isin(examples["content"], _read_arrays(test_contents, np.dtype("<u8")))
            num_leaked = int(is_leaked.sum())
            if self.plan.request.drop_leaked:
                is_kept &= ~is_leaked
        order = np.argsort(examples["order"])
        order = order[is_kept[order]]
        schema = self.plan.schema
        at_once = schema.examples_in(_CHUNK_BYTES, _MIN_EXAMPLES_AT_ONCE)
        path = self.plan.work_folder / self.plan.shard_name(key)
        digest, size_bytes, sums = hashlib.sha256(), 0, Sums()
        with path.open("wb") as file:
            for start in range(0, len(order), at_once):
                rows = examples[order[start : start + at_once]]
                chunk = {feature.name: rows[feature.name] for feature in schema.features}
                encoded = records.encode(chunk, schema)
                file.write(encoded)
                digest.update(encoded)
                size_bytes += len(encoded)
                sums += statistics.sum_up(chunk, schema)
        if not schema.has_width:
            contents = np.empty(len(order), sense.CONTENT)
            contents["content"], contents["label"] = examples["content"][order], examples[LABEL][order]
            storage.write(self.plan.work_folder / self.plan.contents_name(key), contents.tobytes())
        if notes := [line for part in parts for line in _read_notes(part)]:
            storage.write(self.plan.work_folder / self.plan.notes_name(key), b"".join(notes[row] for row in order))
        self.examples_written.inc(len(order))
        return ShardSummary(
            *key,
            Shard(path.name, len(order), size_bytes, digest.hexdigest()),
            sums,
            num_leaked,
            num_excluded,
        )


def _notes_of(part: "AnyPath") -> "AnyPath":
    """The file with the notes of a part file's examples, in the same order."""
    return part.with_name(f"notes-{part.name}")


def _read_notes(part: str) -> list[bytes]:
    path = _notes_of(storage.to_path(part))
    return storage.read(path).splitlines(keepends=True) if path.exists() else []


def _read_arrays(paths: list[str], dtype: np.dtype) -> np.ndarray:
    return np.frombuffer(b"".join(storage.read(storage.to_path(path)) for path in paths), dtype)


class FinishDataset(beam.DoFn):
    """Publishes the complete dataset, the manifest last; after bad input, only records what was wrong."""

    def __init__(self, plan: Plan):
        self.plan = plan

    def process(
        self,
        _: None,
        summaries: list[ShardSummary],
        rejected: list[Rejected],
        bad_input: list[str],
        failed_shards: list[str],
    ) -> None:
        work = self.plan.work_folder
        try:
            if problems := sorted({*bad_input, *failed_shards}):
                raise InputError("; ".join(problems))
            with _as_input_error():
                publish.publish(self.plan, summaries, sorted(rejected, key=lambda picture: picture.path))
        except InputError as error:
            for part in work.glob("part-*"):  # frees space for the message if the disk is full
                part.unlink(missing_ok=True)
            storage.write_atomically(work / FAILURE_FILE, str(error).encode(errors="backslashreplace"))


@contextmanager
def _as_input_error() -> Iterator[None]:
    """Turns a full disk or a bucket's refusal into an error that is reported in one line, like bad input."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{error.filename or 'the dataset'}: no disk space left; nothing was replaced") from None
        raise storage.to_user_error(error) or error from None
