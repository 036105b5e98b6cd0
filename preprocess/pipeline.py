"""From source files to a dataset folder: the Beam graph and the function that runs it.

    ListSources ─ ScatterIntoShards ┬ parts ─────────┬─ GroupByShard ─ WriteShard ─ FinishDataset
                                    ├ test contents ─│─────────────────┘               │
                                    └ rejected pictures, bad input ────────────────────┘
    ListShards ──────────────────────────────────────┘

A gzip stream cannot be split, so one worker unpacks a whole file of images. It does little more than that: it cuts the
stream into blocks and writes, beside the output, one part file for each block and shard. What costs (sorting, encoding,
checksums) happens in WriteShard, of which as many run in parallel as there are workers. Only file names cross the
shuffle, and FinishDataset sees only the checksums and counts of the shards.

What goes where is decided by hashes of example keys (see `hashing`), so the same request gives the same bytes on any
runner, with any number of workers.
"""

import errno
import hashlib
import json
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.pvalue import AsList

from common import config_io, provenance, storage
from common.beam import make_pipeline
from common.dataset import exclude_list, hashing, records
from common.dataset import manifest as manifests
from common.dataset.manifest import Manifest, Request, Shard
from common.errors import InputError
from preprocess import drift, preview, statistics, tfds_metadata
from preprocess.config import PreprocessConfig, check
from preprocess.sources.base import Block, Rejected, Source, SourceSplit
from preprocess.sources.discover import discover
from preprocess.statistics import PixelSums

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_MIN_SHARDS = 16
_EXAMPLES_PER_SHARD = 50_000
_MIN_EXAMPLES_PER_SHARD = 64  # fewer, and some shard might stay empty
_BLOCK_EXAMPLES = 1 << 15  # 25 MB: larger blocks cost more in fresh memory than they save in files
_CHUNK_EXAMPLES = 1 << 12  # encoded at once; small enough for a processor's cache
_REQUEST_FILE = "request.json"
_FAILURE_FILE = "failure.txt"
_REJECTED_FILE = "rejected.jsonl"
_DRIFT_FILE = "drift.json"

_PART_RECORD = np.dtype(
    [("order", "<u8"), ("content", "<u8"), ("label", "<u2"), ("pixels", "u1", (records.IMAGE_BYTES,))]
)

_log = logging.getLogger(__name__)

ShardKey = tuple[str, int]
"""The name of an output split and the index of a shard in it."""
Finding = tuple[str, Any]
"""What a stage found, after its kind. (Tagged outputs would say this in Beam's own way; the Dask runner lacks them.)"""
PART = "part"
"""(shard key, path of a file with some of the shard's examples)"""
TEST_CONTENTS = "test contents"
"""Path of a file with the content hashes of some test examples."""
REJECTED = "rejected"
"""A `Rejected` picture."""
PROBLEM = "problem"
"""What is wrong with the input, in words: a result, not a failure that a runner should try again."""
SUMMARY = "summary"
"""A `ShardSummary`."""


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know; made before the pipeline, from headers and labels alone."""

    class_names: tuple[str, ...]
    request: Request
    examples: dict[str, int]
    """How many examples each output split will hold, none being left out; a split without any is absent."""
    num_shards: dict[str, int]
    dropped_keys: np.ndarray
    """Content keys of training examples that are left out, uint64, sorted."""
    max_rejected: int
    compare: str | None
    max_drift: float | None
    folder: str
    """The dataset folder."""
    work_folder: str
    """Where everything is written until it is complete."""

    @property
    def shard_keys(self) -> list[ShardKey]:
        return [(split, index) for split, count in self.num_shards.items() for index in range(count)]

    def shard_name(self, key: ShardKey) -> str:
        split, index = key
        prefix = self.request.dataset.split("/")[0]
        return f"{prefix}-{split}.tfrecord-{index:05d}-of-{self.num_shards[split]:05d}"


@dataclass(frozen=True)
class ShardSummary:
    """What WriteShard tells of a shard."""

    split: str
    index: int
    shard: Shard
    class_histogram: tuple[int, ...]
    pixels: PixelSums
    leaked: int
    """Examples with the very pixels of a test example; left out of the shard if the request says so."""
    dropped: int
    """Examples left out because their content keys are listed."""


def run(config: PreprocessConfig, beam_options: tuple[str, ...] = ()) -> str:
    """Makes the dataset folder that `config` asks for, unless it is there already, and returns its path.

    `beam_options` are Beam's own, as on a command line. Raises `InputError` for bad input; then no dataset is left.
    """
    check(config)
    if config.compare is not None:
        manifests.read(storage.to_path(config.compare))  # refused before the work rather than after it
    pipeline = make_pipeline(beam_options, config.local_workers)
    source = discover(config)
    folder = manifests.dataset_folder(config.data_dir, config.dataset)
    plan = _make_plan(config, source, folder)
    with storage.lock(folder):
        if _is_done(plan, config.overwrite):
            _log.info("%s already holds this dataset; nothing to do", folder)
            for name, content in _measure_drift(plan, manifests.read(folder)).items():
                storage.write_atomically(folder / name, content)
            return str(folder)
        if not _execute(pipeline, plan, source.splits):
            _log.info("submitted; the dataset is there when %s is", folder / manifests.FILE_NAME)
            return str(folder)
    manifest = manifests.read(folder)
    counts = ", ".join(f"{split.num_examples:,} {name}" for name, split in manifest.splits.items())
    _log.info("%s: %s examples of %d classes", config.dataset, counts, len(manifest.class_names))
    for name, split in manifest.splits.items():
        if split.leaked:
            what = "left out" if config.drop_leaked else "kept; --drop-leaked leaves them out"
            _log.info("%s: %d examples have the very pixels of a test example (%s)", name, split.leaked, what)
    if manifest.request.dropped_keys:
        dropped = sum(split.dropped for split in manifest.splits.values())
        _log.info("%d examples were left out for the %d keys of %s", dropped, len(plan.dropped_keys), config.drop_keys)
    _log.info("look at %s and %s", folder / "preview.png", folder / "statistics.png")
    return str(folder)


def _execute(pipeline: beam.Pipeline, plan: Plan, splits: tuple[SourceSplit, ...]) -> bool:
    """Runs the pipeline; False if it was only submitted, as Beam's `--no_wait_until_finish` asks."""
    work = storage.to_path(plan.work_folder)
    storage.remove(work)  # left by a run that was killed
    # A place that cannot be written is told of here rather than by a worker.
    storage.write_atomically(work / _REQUEST_FILE, json.dumps(config_io.to_plain(plan.request)).encode())
    build(pipeline, plan, splits)
    if pipeline.options.view_as(StandardOptions).no_wait_until_finish:
        pipeline.run()
        return False
    try:
        pipeline.run().wait_until_finish()
        failure = work / _FAILURE_FILE
        if failure.exists():
            raise InputError(failure.read_text(encoding="utf-8"))
    finally:
        storage.remove(work)
    return True


def assign(request: Request, split: SourceSplit, identities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the examples of `identities`, uint64 [N], of a source's split go.

    Returns which of them, bool [N], are validation examples (never those of `test`), and their order, uint64 [N]:
    sorted by it, the examples of an output split fill its shards one after the other.
    """
    order = hashing.hashes(request.seed, "order", split.namespace, identities)
    if split.split == "test":
        return np.zeros(len(identities), bool), order
    draw = hashing.hashes(request.seed, "validation", split.namespace, identities)
    return hashing.selected(draw, request.validation_fraction), order


def build(pipeline: beam.Pipeline, plan: Plan, splits: tuple[SourceSplit, ...]) -> None:
    """Adds the stages that make the dataset of `plan` from the parts of its sources to a pipeline.

    Beam's `Create` spreads its elements over the workers, unless told not to; here each is followed by what does that.
    """
    scattered = (
        pipeline
        | "ListSources" >> beam.Create(list(enumerate(splits)), reshuffle=False)
        | "SpreadOverWorkers" >> beam.Reshuffle()
        | "ScatterIntoShards" >> beam.ParDo(ScatterIntoShards(plan))
    )
    # Every shard is listed, so that one without examples is written too.
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
    """Reads one part of a source and writes its examples into part files: arrays of `_PART_RECORD`, sorted by order.

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
                for number, found in enumerate(split.read(_BLOCK_EXAMPLES)):
                    if isinstance(found, Rejected):
                        yield REJECTED, found
                        continue
                    yield from self._write_parts(split, found, f"{index:05d}-{number:05d}")
                    read += len(found.labels)
                    self.examples_read.inc(len(found.labels))
                    _log.info("read %s %s examples of %s", f"{read:,}", split.split, split.namespace)
        except InputError as error:
            yield PROBLEM, str(error)

    def _write_parts(self, split: SourceSplit, block: Block, name: str) -> Iterator[Finding]:
        work = storage.to_path(self.plan.work_folder)
        is_validation, order = assign(self.plan.request, split, block.identities)
        contents = hashing.contents(block.images)
        if split.split == "test":
            path = work / f"contents-{name}"
            storage.write(path, contents.astype("<u8").tobytes())
            yield TEST_CONTENTS, str(path)
        pixels = block.images.reshape(-1, records.IMAGE_BYTES)
        for output_split, members in ((split.split, ~is_validation), ("validation", is_validation)):
            rows = np.flatnonzero(members)
            if not len(rows):
                continue
            rows = rows[np.argsort(order[rows])]
            part = np.empty(len(rows), _PART_RECORD)
            part["order"], part["content"] = order[rows], contents[rows]
            part["label"], part["pixels"] = block.labels[rows], pixels[rows]
            num_shards = self.plan.num_shards[output_split]
            bounds = np.searchsorted(hashing.shards(part["order"], num_shards), np.arange(num_shards + 1))
            for shard, (low, high) in enumerate(pairwise(bounds)):
                if high > low:
                    path = work / f"part-{output_split}-{shard:05d}-{name}"
                    storage.write(path, part[low:high].tobytes())
                    yield PART, ((output_split, shard), str(path))


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
        examples = _read_arrays(parts, _PART_RECORD)
        num_leaked = num_dropped = 0
        if key[0] == "train":
            is_dropped = np.isin(examples["content"], self.plan.dropped_keys)
            num_dropped = int(is_dropped.sum())
            examples = examples[~is_dropped]
        if key[0] != "test":
            is_leaked = np.isin(examples["content"], _read_arrays(test_contents, np.dtype("<u8")))
            num_leaked = int(is_leaked.sum())
            if self.plan.request.drop_leaked:
                examples = examples[~is_leaked]
        order = np.argsort(examples["order"])
        num_classes = len(self.plan.class_names)
        path = storage.to_path(self.plan.work_folder) / self.plan.shard_name(key)
        digest, size_bytes, pixels = hashlib.sha256(), 0, PixelSums()
        with path.open("wb") as file:
            for start in range(0, len(order), _CHUNK_EXAMPLES):
                chunk = examples[order[start : start + _CHUNK_EXAMPLES]]
                encoded = records.encode(chunk["pixels"], chunk["label"], num_classes)
                file.write(encoded)
                digest.update(encoded)
                size_bytes += len(encoded)
                pixels += statistics.sum_pixels(chunk["pixels"])
        self.examples_written.inc(len(order))
        return ShardSummary(
            *key,
            Shard(path.name, len(order), size_bytes, digest.hexdigest()),
            tuple(np.bincount(examples["label"], minlength=num_classes).tolist()),
            pixels,
            num_leaked,
            num_dropped,
        )


class FinishDataset(beam.DoFn):
    """Puts the complete dataset in its place, the manifest last; or, after bad input, only says what was bad."""

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
        work = storage.to_path(self.plan.work_folder)
        try:
            if problems := sorted({*bad_input, *failed_shards}):
                raise InputError("; ".join(problems))
            with _as_input_error():
                self._finish(work, summaries, sorted(rejected, key=lambda picture: picture.path))
        except InputError as error:
            for part in work.glob("part-*"):  # makes room for the message, should the disk be full
                part.unlink(missing_ok=True)
            storage.write_atomically(work / _FAILURE_FILE, str(error).encode())

    def _finish(self, work: "AnyPath", summaries: list[ShardSummary], rejected: list[Rejected]) -> None:
        """Done again after an interruption at any point, it goes on from there: a runner may try a stage again."""
        folder = storage.to_path(self.plan.folder)
        storage.make_folder(work)
        files: dict[str, bytes] = {}
        if rejected:
            files[_REJECTED_FILE] = "".join(json.dumps(asdict(picture)) + "\n" for picture in rejected).encode()
            if len(rejected) > self.plan.max_rejected:
                listed = folder.parent / _REJECTED_FILE
                storage.write_atomically(listed, files[_REJECTED_FILE])
                raise InputError(
                    f"{len(rejected)} pictures were rejected, --max-rejected allows {self.plan.max_rejected}; "
                    f"see {listed}; the first: {rejected[0].path}: {rejected[0].reason}"
                )
        manifest = _make_manifest(self.plan, summaries, len(rejected))
        files |= _measure_drift(self.plan, manifest)
        files |= tfds_metadata.files(manifest)
        files["preview.png"] = _draw_preview(work, folder, manifest)
        files["statistics.png"] = statistics.draw(manifest)
        files[manifests.FILE_NAME] = manifests.to_json(manifest)
        # All is written before anything is replaced: what comes then are moves, which need no space on the disk.
        for name, content in files.items():
            storage.write(work / name, content)
        shards = [shard.name for split in manifest.splits.values() for shard in split.shards]

        storage.make_folder(folder)
        (folder / manifests.FILE_NAME).unlink(missing_ok=True)  # from here until the end there is no dataset
        lists = (folder.parent / _REJECTED_FILE, folder / _REJECTED_FILE, folder / _DRIFT_FILE)
        for stale in [*folder.glob("*.tfrecord-*"), *lists]:
            if stale.name not in shards:
                stale.unlink(missing_ok=True)
        for name in [*shards, *files]:  # the manifest is the last of them
            storage.move(work / name, folder / name)
        storage.remove(work)  # here, because nobody may be waiting for a job that was only submitted


@contextmanager
def _as_input_error() -> Iterator[None]:
    """Turns a full disk, or a bucket that refuses, into an error that is told in one line, as bad input is."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"no space left for {error.filename or 'the dataset'}; nothing was replaced") from None
        raise storage.explained(error) or error from None


def _read_arrays(paths: list[str], dtype: np.dtype) -> np.ndarray:
    return np.frombuffer(b"".join(storage.read(storage.to_path(path)) for path in paths), dtype)


def _make_plan(config: PreprocessConfig, source: Source, folder: "AnyPath") -> Plan:
    if len(source.class_names) > records.MAX_CLASSES:
        raise InputError(
            f"{len(source.class_names)} classes are too many; at most {records.MAX_CLASSES} can be written"
        )
    identities = [split.identities() for split in source.splits]
    largest = sum(len(some) for split, some in zip(source.splits, identities, strict=True) if split.split == "train")
    dropped_keys = exclude_list.read(config.drop_keys) if config.drop_keys else np.empty(0, np.uint64)
    request = Request(
        dataset=config.dataset,
        files=source.files,
        num_shards=config.num_shards or max(_MIN_SHARDS, math.ceil(largest / _EXAMPLES_PER_SHARD)),
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        max_examples_per_split=config.max_examples_per_split,
        drop_leaked=config.drop_leaked,
        seed=config.seed,
        dropped_keys=hashlib.sha256(dropped_keys.astype("<u8").tobytes()).hexdigest() if len(dropped_keys) else None,
    )
    examples = {"train": 0, "validation": 0, "test": 0}
    for split, some in zip(source.splits, identities, strict=True):
        is_validation, _ = assign(request, split, some)
        examples["validation"] += int(is_validation.sum())
        examples[split.split] += int((~is_validation).sum())
    if not examples["train"]:
        raise InputError(
            f"--validation-fraction {config.validation_fraction} leaves none of "
            f"{examples['validation']} examples for training"
        )
    examples = {split: count for split, count in examples.items() if count}
    num_shards = {
        split: max(
            1,
            min(math.ceil(request.num_shards * count / examples["train"]), count // _MIN_EXAMPLES_PER_SHARD),
        )
        for split, count in examples.items()
    }
    work_folder = folder.parent / f".{folder.name}.incomplete"
    return Plan(
        class_names=source.class_names,
        request=request,
        examples=examples,
        num_shards=num_shards,
        dropped_keys=dropped_keys,
        max_rejected=config.max_rejected,
        compare=config.compare,
        max_drift=config.max_drift,
        folder=str(folder),
        work_folder=str(work_folder),
    )


def _is_done(plan: Plan, overwrite: bool) -> bool:
    """Whether the dataset folder already holds what was asked for.

    Raises `InputError` if it holds something else that may not be replaced.
    """
    folder = storage.to_path(plan.folder)
    if not (folder / manifests.FILE_NAME).exists():
        return False
    try:
        manifest = manifests.read(folder)
        if manifest.request != plan.request:
            asked, found = config_io.to_plain(plan.request), config_io.to_plain(manifest.request)
            changed = ", ".join(name for name in asked if asked[name] != found[name])
            raise InputError(
                f"{folder}: holds a dataset made from another request (other {changed}); "
                "give --overwrite to replace it, or another --data-dir"
            )
    except InputError:
        if overwrite:
            return False
        raise
    try:
        manifests.check_shards(folder, manifest)
    except InputError as damage:
        _log.info("%s", damage)
        return False
    return True


def _measure_drift(plan: Plan, manifest: Manifest) -> dict[str, bytes]:
    """The file that says how the data differs from that of `plan.compare`, if so asked, by its name.

    Raises `InputError` if it differs more than the plan allows.
    """
    if not plan.compare:
        return {}
    found = drift.measure(manifest, manifests.read(storage.to_path(plan.compare)))
    _log.info("compared with %s: %s", plan.compare, drift.describe(found))
    if plan.max_drift is not None and found.largest > plan.max_drift:
        raise InputError(
            f"--max-drift {plan.max_drift}: the data differs by {found.largest:.3f} from {plan.compare}: "
            f"{drift.describe(found)}"
        )
    return {_DRIFT_FILE: (json.dumps(config_io.to_plain(found), indent=2) + "\n").encode()}


def _make_manifest(plan: Plan, summaries: list[ShardSummary], num_rejected: int) -> Manifest:
    splits = {}
    for name in plan.examples:
        parts = sorted((summary for summary in summaries if summary.split == name), key=lambda summary: summary.index)
        shards = tuple(part.shard for part in parts)
        histogram = tuple(map(sum, zip(*(part.class_histogram for part in parts), strict=True)))
        leaked, dropped = sum(part.leaked for part in parts), sum(part.dropped for part in parts)
        pixels = sum((part.pixels for part in parts), PixelSums())
        splits[name] = statistics.describe_split(shards, histogram, pixels, leaked, dropped)
    written = sum(split.num_examples for split in splits.values())
    left_out = num_rejected + sum(split.dropped + plan.request.drop_leaked * split.leaked for split in splits.values())
    if written + left_out != sum(plan.examples.values()) or len(summaries) != len(plan.shard_keys):
        raise RuntimeError(f"{written} examples in {len(summaries)} shards were written, expected {plan.examples}")
    # A split of which every picture was rejected is absent, as one that never had any.
    splits = {name: split for name, split in splits.items() if split.num_examples}
    if "train" not in splits:
        raise InputError(
            "no training example is left: all were rejected, are in the test split too, or are to be dropped"
        )
    return Manifest(
        format_version=manifests.FORMAT_VERSION,
        request=plan.request,
        class_names=plan.class_names,
        orientation="upright",
        image_shape=(records.IMAGE_SIDE, records.IMAGE_SIDE, 1),
        splits=splits,
        num_rejected=num_rejected,
        data_fingerprint=manifests.fingerprint(plan.class_names, splits),
        tools=provenance.tool_versions("apache-beam", "numpy", "pillow", "scipy"),
        commit=provenance.commit().id,
    )


def _draw_preview(work: "AnyPath", folder: "AnyPath", manifest: Manifest) -> bytes:
    train = manifest.splits["train"]
    # A shard that is no longer in the work folder has been moved already.
    paths = (work / shard.name if (work / shard.name).exists() else folder / shard.name for shard in train.shards)
    blocks = (records.decode(storage.read(path), len(manifest.class_names)) for path in paths)
    return preview.contact_sheet(preview.choose(blocks, train.class_histogram), manifest.class_names)
