"""From source files to a dataset folder: the Beam graph and the function that runs it.

    ListSourceFiles ─ ScatterIntoShards ─┐
                                         ├─ GroupByShard ─ WriteShard ─ FinishDataset
    ListShards ──────────────────────────┘

A gzip stream cannot be split, so one worker unpacks a whole file of images. It does little more than that: it cuts the
stream into blocks and writes, beside the output, one part file for each block and shard. What costs (sorting,
transposing, encoding, checksums) happens in WriteShard, of which as many run in parallel as there are workers. Only
file names cross the shuffle, and FinishDataset sees only the checksums and counts of the shards.

What goes where is decided by hashes of example keys (see `keys`), so the same request gives the same bytes on any
runner, with any number of workers.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, Literal

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from preprocess import dataclass_io, idx, keys, preview, provenance, records, sources, storage, synthetic, tfds_metadata
from preprocess import manifest as manifests
from preprocess.beam_options import make_pipeline
from preprocess.catalogue import KnownDataset, find
from preprocess.config import SYNTHETIC, PreprocessConfig
from preprocess.errors import InputError
from preprocess.manifest import Manifest, Request, Shard, Split
from preprocess.sources import Source, SourceSplit

if TYPE_CHECKING:
    from preprocess.storage import AnyPath

_MIN_SHARDS = 16
_EXAMPLES_PER_SHARD = 50_000
_MIN_EXAMPLES_PER_SHARD = 64  # fewer, and some shard might stay empty
_BLOCK_EXAMPLES = 1 << 16
_CHUNK_EXAMPLES = 1 << 12  # encoded at once; small enough for a processor's cache
_FAILURE_FILE = "failure.json"

_PART_RECORD = np.dtype([("order", "<u8"), ("label", "<u2"), ("pixels", "u1", (records.IMAGE_BYTES,))])

_log = logging.getLogger(__name__)

ShardKey = tuple[str, int]
"""The name of an output split and the index of a shard in it."""
PartFile = tuple[ShardKey, str | None]
"""A shard and the path of a file with some of its examples."""
Problem = beam.pvalue.TaggedOutput[Literal["problems"], str]
"""What is wrong with the input, in words."""


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know; made before the pipeline, from headers and labels alone."""

    source: Source
    request: Request
    examples: dict[str, int]
    """How many examples each output split will hold; a split without any is absent."""
    num_shards: dict[str, int]
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
    pixel_sum: int
    pixel_square_sum: int


def run(config: PreprocessConfig, beam_options: tuple[str, ...] = ()) -> str:
    """Makes the dataset folder that `config` asks for, unless it is there already, and returns its path.

    `beam_options` are Beam's own, as on a command line. Raises `InputError` for bad input; then no dataset is left.
    """
    dataset = find(config.dataset)
    if not 0 <= config.validation_fraction < 1:
        raise InputError(f"--validation-fraction {config.validation_fraction}: must be at least 0 and below 1")
    for flag in ("num_shards", "max_examples_per_split", "local_workers"):
        if (value := getattr(config, flag)) is not None and value < 1:
            raise InputError(f"--{flag.replace('_', '-')} {value}: must be at least 1")
    pipeline = make_pipeline(beam_options, config.local_workers)
    source = _inspect(dataset, config)
    folder = manifests.dataset_folder(config.data_dir, config.dataset)
    plan = _make_plan(config, source, folder)
    if _is_done(plan, config.overwrite):
        _log.info("%s already holds this dataset; nothing to do", folder)
        return str(folder)

    work = storage.to_path(plan.work_folder)
    storage.remove_folder(work)  # left by a run that was killed
    storage.make_folder(work)
    try:
        build(pipeline, plan)
        pipeline.run().wait_until_finish()
        failure = work / _FAILURE_FILE
        if failure.exists():
            raise InputError("; ".join(json.loads(failure.read_bytes())))
    finally:
        storage.remove_folder(work)
    manifest = manifests.read(folder)
    counts = ", ".join(f"{split.num_examples:,} {name}" for name, split in manifest.splits.items())
    _log.info("%s: %s examples of %d classes", config.dataset, counts, len(manifest.class_names))
    _log.info("look at %s", folder / "preview.png")
    return str(folder)


def assign(request: Request, source_id: str, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the examples `start` to `stop` of an official split go.

    Returns which of them, bool [N], are validation examples (never those of `test`), and their order, uint64 [N]:
    sorted by it, the examples of an output split fill its shards one after the other.
    """
    order = keys.hashes(request.seed, "order", source_id, split, start, stop)
    if split == "test":
        return np.zeros(stop - start, bool), order
    draw = keys.hashes(request.seed, "validation", source_id, split, start, stop)
    return keys.selected(draw, request.validation_fraction), order


def build(pipeline: beam.Pipeline, plan: Plan) -> None:
    """Adds the stages that make the dataset of `plan` to a pipeline."""
    scattered = (
        pipeline
        | "ListSourceFiles" >> beam.Create(plan.source.splits)
        | "SpreadOverWorkers" >> beam.Reshuffle()
        | "ScatterIntoShards" >> beam.ParDo(ScatterIntoShards(plan)).with_outputs("problems", main="parts")
    )
    # Every shard is listed, so that one without examples is written too.
    shards = pipeline | "ListShards" >> beam.Create([(key, None) for key in plan.shard_keys])
    summaries = (
        (scattered.parts, shards)
        | "JoinPartsAndShards" >> beam.Flatten()
        | "GroupByShard" >> beam.GroupByKey()
        | "WriteShard" >> beam.ParDo(WriteShard(plan))
    )
    _ = (
        pipeline
        | "Once" >> beam.Create([None])
        | "FinishDataset"
        >> beam.ParDo(FinishDataset(plan), beam.pvalue.AsList(summaries), beam.pvalue.AsList(scattered.problems))
    )


class ScatterIntoShards(beam.DoFn):
    """Reads one official split; writes its examples into part files; yields (shard key, path of a part file).

    A part file is an array of `_PART_RECORD`, sorted by order, with the pixels as they stand in the source. Bad input
    is yielded as a message to the output `problems`: it is a result, not a failure that a runner should try again.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.examples_read = Metrics.counter("preprocess", "examples_read")

    def process(self, split: SourceSplit) -> Iterator[PartFile | Problem]:
        try:
            yield from self._scatter(split)
        except InputError as error:
            yield beam.pvalue.TaggedOutput("problems", str(error))

    def _scatter(self, split: SourceSplit) -> Iterator[PartFile]:
        labels = sources.read_labels(split.labels) - np.uint8(self.plan.source.first_label)
        start = 0
        with sources.open_idx(split.images) as (stream, header):
            for block in _read_blocks(stream, header, split):
                stop = start + len(block)
                yield from self._write_parts(split.name, start, block, labels[start:stop])
                self.examples_read.inc(len(block))
                _log.info("read %s of %s %s examples", f"{stop:,}", f"{split.num_examples:,}", split.name)
                start = stop

    def _write_parts(self, split: str, start: int, images: np.ndarray, labels: np.ndarray) -> Iterator[PartFile]:
        is_validation, order = assign(self.plan.request, self.plan.source.id, split, start, start + len(images))
        for output_split, members in ((split, ~is_validation), ("validation", is_validation)):
            rows = np.flatnonzero(members)
            if not len(rows):
                continue
            rows = rows[np.argsort(order[rows])]
            part = np.empty(len(rows), _PART_RECORD)
            part["order"] = order[rows]
            part["label"] = labels[rows]
            part["pixels"] = images.reshape(-1, records.IMAGE_BYTES)[rows]
            num_shards = self.plan.num_shards[output_split]
            bounds = np.searchsorted(keys.shards(part["order"], num_shards), np.arange(num_shards + 1))
            for index, (low, high) in enumerate(pairwise(bounds)):
                if high > low:
                    path = storage.to_path(self.plan.work_folder) / f"part-{output_split}-{index:05d}-{start:010d}"
                    path.write_bytes(part[low:high].tobytes())
                    yield (output_split, index), str(path)


class WriteShard(beam.DoFn):
    """Merges the part files of one shard, encodes them as TFRecords and yields a `ShardSummary`."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.examples_written = Metrics.counter("preprocess", "examples_written")

    def process(self, shard: tuple[ShardKey, Iterable[str | None]]) -> Iterator[ShardSummary]:
        key, paths = shard
        parts = [storage.to_path(path) for path in paths if path]
        examples = np.frombuffer(b"".join(part.read_bytes() for part in parts), _PART_RECORD)
        order = np.argsort(examples["order"])
        num_classes = len(self.plan.source.class_names)
        path = storage.to_path(self.plan.work_folder) / self.plan.shard_name(key)
        digest, size_bytes, pixel_sum, pixel_square_sum = hashlib.sha256(), 0, 0, 0
        with path.open("wb") as file:
            for start in range(0, len(order), _CHUNK_EXAMPLES):
                chunk = examples[order[start : start + _CHUNK_EXAMPLES]]
                images = chunk["pixels"].reshape(-1, records.IMAGE_SIDE, records.IMAGE_SIDE)
                if self.plan.source.transposed:
                    images = images.transpose(0, 2, 1)
                encoded = records.encode(images, chunk["label"], num_classes)
                file.write(encoded)
                digest.update(encoded)
                size_bytes += len(encoded)
                pixel_sum += int(images.sum(dtype=np.uint64))
                pixel_square_sum += int(np.square(images, dtype=np.uint16).sum(dtype=np.uint64))
        self.examples_written.inc(len(order))
        yield ShardSummary(
            *key,
            Shard(path.name, len(order), size_bytes, digest.hexdigest()),
            tuple(np.bincount(examples["label"], minlength=num_classes).tolist()),
            pixel_sum,
            pixel_square_sum,
        )


class FinishDataset(beam.DoFn):
    """Puts the complete dataset in its place, the manifest last; or, after bad input, only says what was bad."""

    def __init__(self, plan: Plan):
        self.plan = plan

    def process(self, _: None, summaries: list[ShardSummary], problems: list[str]) -> None:
        work, folder = storage.to_path(self.plan.work_folder), storage.to_path(self.plan.folder)
        if problems:
            storage.write_atomically(work / _FAILURE_FILE, json.dumps(sorted(problems)).encode())
            return
        manifest = _make_manifest(self.plan, summaries)
        for name, content in tfds_metadata.files(manifest).items():
            (work / name).write_bytes(content)
        (work / "preview.png").write_bytes(_draw_preview(work, manifest))
        new_shards = [shard.name for split in manifest.splits.values() for shard in split.shards]

        storage.make_folder(folder)
        (folder / manifests.FILE_NAME).unlink(missing_ok=True)  # from here until the end there is no dataset
        for stale in folder.glob("*.tfrecord-*"):
            if stale.name not in new_shards:
                stale.unlink()
        for name in [*new_shards, *tfds_metadata.files(manifest), "preview.png"]:
            storage.move(work / name, folder / name)
        storage.write_atomically(folder / manifests.FILE_NAME, manifests.to_json(manifest))


def _inspect(dataset: KnownDataset, config: PreprocessConfig) -> Source:
    """The checked source files; those of the embedded dataset are drawn first, beside the datasets."""
    is_synthetic = dataset.name.startswith("synthetic/")
    if is_synthetic != (config.source == SYNTHETIC):
        known = f"synthetic/{dataset.name.split('/')[1]}" if config.source == SYNTHETIC else dataset.name
        raise InputError(
            f"--source {config.source} does not fit --dataset {dataset.name}: the drawn characters are "
            f"--dataset {known} --source {SYNTHETIC}, so that real data never meets them in one folder"
        )
    folder = config.source
    if is_synthetic:
        drawn = storage.to_path(config.data_dir) / "sources" / f"{dataset.name.replace('/', '-')}-seed{config.seed}"
        synthetic.write_source(dataset, drawn, config.seed, workers=os.cpu_count() or 1)
        folder = str(drawn)
    return sources.inspect_idx_folder(dataset, folder, config.max_examples_per_split)


def _make_plan(config: PreprocessConfig, source: Source, folder: "AnyPath") -> Plan:
    request = Request(
        dataset=config.dataset,
        files=source.files,
        num_shards=config.num_shards
        or max(_MIN_SHARDS, math.ceil(source.splits[0].num_examples / _EXAMPLES_PER_SHARD)),
        validation_fraction=config.validation_fraction,
        max_examples_per_split=config.max_examples_per_split,
        seed=config.seed,
    )
    examples = {"train": 0, "validation": 0, "test": 0}
    for split in source.splits:
        is_validation, _ = assign(request, source.id, split.name, 0, split.num_examples)
        examples["validation"] += int(is_validation.sum())
        examples[split.name] += int((~is_validation).sum())
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
    return Plan(source, request, examples, num_shards, str(folder), str(work_folder))


def _is_done(plan: Plan, overwrite: bool) -> bool:
    """Whether the dataset folder already holds what was asked for. Raises `InputError` if it holds something else."""
    folder = storage.to_path(plan.folder)
    if overwrite or not (folder / manifests.FILE_NAME).exists():
        return False
    manifest = manifests.read(folder)
    if manifest.request != plan.request:
        asked, found = dataclass_io.to_plain(plan.request), dataclass_io.to_plain(manifest.request)
        changed = ", ".join(name for name in asked if asked[name] != found[name])
        raise InputError(
            f"{folder}: holds a dataset made from another request (other {changed}); "
            "give --overwrite to replace it, or another --data-dir"
        )
    try:
        manifests.check_shards(folder, manifest)
    except InputError as damage:
        _log.info("%s", damage)
        return False
    return True


def _read_blocks(stream: BinaryIO, header: idx.Header, split: SourceSplit) -> Iterator[np.ndarray]:
    """Blocks of the first `split.num_examples` images; where these are all, the end of the file is checked as well."""
    left = split.num_examples
    for block in idx.read_blocks(stream, header, _BLOCK_EXAMPLES, split.images):
        yield block[:left]
        left -= len(block)
        if left <= 0 and split.num_examples < header.shape[0]:
            return


def _make_manifest(plan: Plan, summaries: list[ShardSummary]) -> Manifest:
    splits = {}
    for name, expected in plan.examples.items():
        parts = sorted((summary for summary in summaries if summary.split == name), key=lambda summary: summary.index)
        count = sum(part.shard.num_examples for part in parts)
        if count != expected or len(parts) != plan.num_shards[name]:
            raise RuntimeError(f"{name}: {count} examples in {len(parts)} shards were written, expected {expected}")
        pixels = count * records.IMAGE_BYTES
        mean = sum(part.pixel_sum for part in parts) / pixels
        splits[name] = Split(
            num_examples=count,
            class_histogram=tuple(map(sum, zip(*(part.class_histogram for part in parts), strict=True))),
            pixel_mean=mean,
            pixel_std=math.sqrt(sum(part.pixel_square_sum for part in parts) / pixels - mean**2),
            shards=tuple(part.shard for part in parts),
        )
    return Manifest(
        format_version=manifests.FORMAT_VERSION,
        request=plan.request,
        class_names=plan.source.class_names,
        orientation="upright",
        image_shape=(records.IMAGE_SIDE, records.IMAGE_SIDE, 1),
        splits=splits,
        data_fingerprint=manifests.fingerprint(plan.source.class_names, splits),
        tools=provenance.tool_versions("apache-beam", "numpy"),
        commit=provenance.commit().id,
    )


def _draw_preview(folder: "AnyPath", manifest: Manifest) -> bytes:
    train = manifest.splits["train"]
    blocks = (records.decode((folder / shard.name).read_bytes(), len(manifest.class_names)) for shard in train.shards)
    return preview.contact_sheet(preview.choose(blocks, train.class_histogram), manifest.class_names)
