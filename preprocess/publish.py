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
_LISTS = (_REJECTED_FILE, LEFT_OUT_FILE, sense.DISPUTED_FILE, _DRIFT_FILE)
"""The files that not every dataset has."""
_READY_FILE = "ready.json"
"""The file, in the work folder, with the names of all files that are to be moved, the manifest's last."""

_MOST_NAMED = 10_000  # disputed examples

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
    if _is_published(plan, summaries):
        storage.remove(work)
        return
    if not (work / _READY_FILE).exists():
        _complete(plan, summaries, rejected)
    names = json.loads(storage.read(work / _READY_FILE))

    storage.make_folder(folder)
    (folder / manifests.FILE_NAME).unlink(missing_ok=True)  # from here to the end, the folder holds no dataset
    lists = (folder.parent / _REJECTED_FILE, *(folder / name for name in _LISTS))
    for stale in [*folder.glob("*.tfrecord-*"), *folder.glob("examples-*.jsonl.gz"), *lists]:
        if stale.name not in names or stale.parent != folder:
            stale.unlink(missing_ok=True)
    for name in names:  # the manifest is the last
        storage.move(work / name, folder / name)
    storage.remove(work)  # here, because no process waits for a job that was only submitted


def _is_published(plan: Plan, summaries: list[ShardSummary]) -> bool:
    """Whether an earlier call has moved everything, the manifest last, and was interrupted while it tidied up."""
    if not (plan.folder / manifests.FILE_NAME).exists():
        return False
    if any((plan.work_folder / summary.shard.name).exists() for summary in summaries):
        return False  # the manifest is that of the dataset before
    described = manifests.read(plan.folder).splits.values()
    shards = {shard for split in described for shard in split.shards if shard.num_examples}
    return shards == {summary.shard for summary in summaries if summary.shard.num_examples}


def _complete(plan: Plan, summaries: list[ShardSummary], rejected: list[Rejected]) -> None:
    """Writes all files of the dataset into the work folder, and last the list of their names.

    So everything is written before anything is replaced: the moves that follow need no disk space.
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
    manifest, disputed = _make_manifest(plan, summaries, len(rejected), num_unread)
    files |= measure_drift(plan, manifest)
    files |= tfds_metadata.files(manifest)
    files |= _origins(plan, manifest)
    if disputed:
        files[sense.DISPUTED_FILE] = _name_disputed(plan, manifest, disputed)
    files["preview.png"] = _draw_preview(work, manifest)
    files["statistics.png"] = statistics.draw(manifest)
    files[manifests.FILE_NAME] = manifests.to_json(manifest)
    for name, content in files.items():
        storage.write(work / name, content)
    shards = [shard.name for split in manifest.splits.values() for shard in split.shards]
    storage.write_atomically(work / _READY_FILE, json.dumps([*shards, *files]).encode())


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


def _make_manifest(
    plan: Plan, summaries: list[ShardSummary], num_rejected: int, num_unread: int
) -> tuple[Manifest, list[sense.Disputed]]:
    """The manifest, and disputed images; of all that were rejected, `num_unread` had been planned as examples."""
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
    found.raise_errors(plan.request.dataset)
    left_out = Counter(f"left out, {one.problem}" for one in plan.left_out)
    manifest = Manifest(
        format_version=manifests.FORMAT_VERSION,
        request=plan.request,
        schema=plan.schema,
        orientation="upright",
        splits=splits,
        num_rejected=num_rejected,
        counts=plan.counts | left_out,
        warnings=(*plan.source_warnings, *found.warnings),
        data_fingerprint=manifests.fingerprint(plan.schema, splits),
        tools=provenance.tool_versions("apache-beam", "numpy", "pillow", "scipy"),
        commit=provenance.commit().id,
    )
    return manifest, found.disputed


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
        if plan.request.conversion is not None:
            files[f"examples-{name}.jsonl.gz"] = gzip.compress(b"".join(_notes(plan, name, split)), mtime=0)
    return files


def _notes(plan: Plan, name: str, split: Split) -> list[bytes]:
    """The origin of each example of a split, as a line of JSON, in their order; empty if they have no notes."""
    paths = [plan.work_folder / plan.notes_name((name, number)) for number in range(len(split.shards))]
    return [line for path in paths if path.exists() for line in storage.read(path).splitlines(keepends=True)]


def _name_disputed(plan: Plan, manifest: Manifest, disputed: list[sense.Disputed]) -> bytes:
    """A line of JSON for each of the first disputed images' examples: where it is, its class, and its origin if known.

    Equal `pixels` are those of an exclude list.
    """
    notes = {name: _notes(plan, name, split) for name, split in manifest.splits.items()}
    lines = []
    for one in disputed[:_MOST_NAMED]:
        name = manifest.schema.vocabulary[one.label]
        facts = {"pixels": f"{one.pixels:016x}", "split": one.split, "index": one.index, "class": name}
        origin = json.loads(notes[one.split][one.index]) if notes[one.split] else {}
        lines.append(json.dumps(facts | origin, ensure_ascii=False) + "\n")
    return "".join(lines).encode(errors="backslashreplace")  # a file's name may have bytes that are not UTF-8


def _draw_preview(work: "AnyPath", manifest: Manifest) -> bytes:
    train = manifest.splits["train"]
    blocks = (records.decode(storage.read(work / shard.name), manifest.schema) for shard in train.shards)
    if manifest.schema.has_width:
        return line_preview.contact_sheet(blocks, manifest.schema)
    return preview.contact_sheet(preview.choose(blocks, train.class_histogram), manifest.schema)
