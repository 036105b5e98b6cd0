"""Publishes finished shards as a dataset folder: adds manifest, pictures and metadata, and moves all into place."""

import gzip
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from common import config_io, provenance, storage
from common.dataset import manifest as manifests
from common.dataset import records
from common.dataset.manifest import Manifest, Shard, Split
from common.errors import InputError
from preprocess.describe import drift, line_preview, preview, sense, statistics, tfds_metadata
from preprocess.describe.statistics import Sums
from preprocess.plan import Plan
from preprocess.sources.base import Rejected, in_words

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_REJECTED_FILE = "rejected.jsonl"
LEFT_OUT_FILE = "left-out.jsonl"
_DRIFT_FILE = "drift.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardSummary:
    """The shard that WriteShard wrote, and its statistics."""

    split: str
    index: int
    shard: Shard
    sums: Sums
    leaked: int
    """Examples with exactly the pixels of a test example; left out if the request has `drop_leaked`."""
    excluded: int
    """Examples left out because their pixel hashes are on the exclude list."""


def publish(plan: Plan, summaries: list[ShardSummary], rejected: list[Rejected]) -> None:
    """Completes the dataset of finished shards and moves it into place, the manifest last.

    A second call resumes after an interruption at any point, because a runner may retry a stage.
    """
    folder, work = plan.folder, plan.work_folder
    storage.make_folder(work)
    files: dict[str, bytes] = {}
    num_unread, rejected = len(rejected), [*plan.rejected, *rejected]
    if rejected:
        files[_REJECTED_FILE] = _as_lines(rejected)
        if len(rejected) > plan.max_rejected:
            listed = folder.parent / _REJECTED_FILE
            storage.write_atomically(listed, files[_REJECTED_FILE])
            what = "lines" if plan.request.lines else "pictures"
            raise InputError(
                f"{len(rejected)} {what} were rejected, --max-rejected allows {plan.max_rejected}; "
                f"see {listed}; {in_words(rejected)}"
            )
    if plan.left_out:
        files[LEFT_OUT_FILE] = _as_lines(plan.left_out)
    manifest = _make_manifest(plan, summaries, len(rejected), num_unread)
    files |= measure_drift(plan, manifest)
    files |= tfds_metadata.files(manifest)
    files |= _origins(plan, manifest)
    files["preview.png"] = _draw_preview(work, folder, manifest)
    files["statistics.png"] = statistics.draw(manifest)
    files[manifests.FILE_NAME] = manifests.to_json(manifest)
    # Everything is written before anything is replaced: the moves that follow need no disk space.
    for name, content in files.items():
        storage.write(work / name, content)
    shards = [shard.name for split in manifest.splits.values() for shard in split.shards]

    storage.make_folder(folder)
    (folder / manifests.FILE_NAME).unlink(missing_ok=True)  # from here to the end, the folder holds no dataset
    lists = (folder.parent / _REJECTED_FILE, *(folder / name for name in (_REJECTED_FILE, LEFT_OUT_FILE, _DRIFT_FILE)))
    for stale in [*folder.glob("*.tfrecord-*"), *folder.glob("examples-*.jsonl.gz"), *lists]:
        if stale.name not in shards:
            stale.unlink(missing_ok=True)
    for name in [*shards, *files]:  # the manifest is the last
        storage.move(work / name, folder / name)
    storage.remove(work)  # here, because no process waits for a job that was only submitted


def measure_drift(plan: Plan, manifest: Manifest) -> dict[str, bytes]:
    """The drift report against the dataset `plan.compare`, by file name; empty if `compare` is None.

    Raises `InputError` if the drift exceeds `plan.max_drift`.
    """
    if not plan.compare:
        return {}
    measured_drift = drift.measure(manifest, manifests.read(storage.to_path(plan.compare)))
    _log.info("drift from %s: %s", plan.compare, drift.describe(measured_drift))
    if plan.max_drift is not None and measured_drift.largest > plan.max_drift:
        raise InputError(
            f"--max-drift {plan.max_drift}: the data differs by {measured_drift.largest:.3f} from {plan.compare}: "
            f"{drift.describe(measured_drift)}"
        )
    return {_DRIFT_FILE: (json.dumps(config_io.to_plain(measured_drift), indent=2) + "\n").encode()}


def _make_manifest(plan: Plan, summaries: list[ShardSummary], num_rejected: int, num_unread: int) -> Manifest:
    """The manifest; of all that were rejected, `num_unread` had been planned as examples."""
    splits = {}
    for name in plan.examples:
        parts = sorted((summary for summary in summaries if summary.split == name), key=lambda summary: summary.index)
        shards = tuple(part.shard for part in parts)
        leaked, excluded = sum(part.leaked for part in parts), sum(part.excluded for part in parts)
        splits[name] = statistics.describe_split(shards, sum((part.sums for part in parts), Sums()), leaked, excluded)
    written = sum(split.num_examples for split in splits.values())
    left_out = num_unread + sum(split.excluded + plan.request.drop_leaked * split.leaked for split in splits.values())
    if written + left_out != sum(plan.examples.values()) or len(summaries) != len(plan.shard_keys):
        raise RuntimeError(f"{written} examples in {len(summaries)} shards were written, expected {plan.examples}")
    # A split whose pictures were all rejected is absent, like one that never had any.
    splits = {name: split for name, split in splits.items() if split.num_examples}
    if "train" not in splits:
        raise InputError("no training example is left: all were rejected, are also in the test split, or are excluded")
    found = sense.check(splits, plan.schema, _contents(plan, splits))
    if found.errors:
        raise InputError(f"{plan.request.dataset}: {'; '.join(found.errors)}")
    left_out = Counter(f"left out, {one.problem}" for one in plan.left_out)
    return Manifest(
        format_version=manifests.FORMAT_VERSION,
        request=plan.request,
        schema=plan.schema,
        orientation="upright",
        splits=splits,
        num_rejected=num_rejected,
        counts=plan.counts | left_out,
        warnings=tuple(found.warnings),
        data_fingerprint=manifests.fingerprint(plan.schema, splits),
        tools=provenance.tool_versions("apache-beam", "numpy", "pillow", "scipy"),
        commit=provenance.commit().id,
    )


def _contents(plan: Plan, splits: dict[str, Split]) -> dict[str, np.ndarray]:
    """The pixel hashes and labels of the examples of each split, in their order; none of lines."""
    if plan.schema.has_width:
        return {}
    return {
        name: np.concatenate(
            [
                np.frombuffer(storage.read(plan.work_folder / plan.contents_name((name, index))), sense.CONTENT)
                for index in range(len(split.shards))
            ]
        )
        for name, split in splits.items()
    }


def _as_lines(listed: Sequence[Rejected]) -> bytes:
    return "".join(json.dumps(asdict(one)) + "\n" for one in listed).encode()


def _origins(plan: Plan, manifest: Manifest) -> dict[str, bytes]:
    """`examples-<split>.jsonl.gz` of each split whose examples have notes: a line of JSON each, in their order."""
    files = {}
    for name, split in manifest.splits.items():
        paths = [plan.work_folder / plan.notes_name((name, number)) for number in range(len(split.shards))]
        if plan.request.conversion is not None:
            notes = b"".join(storage.read(path) for path in paths if path.exists())
            files[f"examples-{name}.jsonl.gz"] = gzip.compress(notes, mtime=0)
    return files


def _draw_preview(work: "AnyPath", folder: "AnyPath", manifest: Manifest) -> bytes:
    train = manifest.splits["train"]
    # A shard that is not in the work folder has already been moved.
    paths = (work / shard.name if (work / shard.name).exists() else folder / shard.name for shard in train.shards)
    blocks = (records.decode(storage.read(path), manifest.schema) for path in paths)
    if manifest.schema.has_width:
        return line_preview.contact_sheet(blocks, manifest.schema)
    return preview.contact_sheet(preview.choose(blocks, train.class_histogram), manifest.schema)
