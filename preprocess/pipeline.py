"""The preprocessing job: plans the dataset, runs the Beam graph, and reports the result.

Hashes of example keys decide where each example goes (see `hashing`), so the same request gives the same bytes on any
runner, with any number of workers.
"""

import json
import logging
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

from common import config_io, storage
from common.beam import make_pipeline
from common.dataset import manifest as manifests
from common.errors import InputError
from preprocess import publish, stages
from preprocess.config import PreprocessConfig, check
from preprocess.plan import Plan, make_plan
from preprocess.sources.base import SourceSplit
from preprocess.sources.discover import discover

_REQUEST_FILE = "request.json"

_log = logging.getLogger(__name__)


def run(config: PreprocessConfig, beam_options: tuple[str, ...] = ()) -> str:
    """Makes the dataset folder that `config` requests, unless it exists, and returns its path.

    `beam_options` are Beam's own command-line options. Raises `InputError` for bad input, and then leaves no dataset.
    """
    check(config)
    if config.compare is not None:
        manifests.read(storage.to_path(config.compare))  # fails before the work rather than after it
    pipeline = make_pipeline(beam_options, config.local_workers)
    source = discover(config)
    folder = manifests.dataset_folder(config.data_dir, config.dataset)
    plan = make_plan(config, source, folder)
    with storage.lock(folder):
        if _is_done(plan, config.overwrite):
            _log.info("%s already holds this dataset; nothing to do", folder)
            for name, content in publish.measure_drift(plan, manifests.read(folder)).items():
                storage.write_atomically(folder / name, content)
            return str(folder)
        _warn(config, plan.warnings)
        if not _execute(pipeline, plan, source.splits):
            _log.info("submitted; the dataset is complete once %s exists", folder / manifests.FILE_NAME)
            return str(folder)
    manifest = manifests.read(folder)
    units = "characters" if manifest.request.lines else "classes"
    counts = ", ".join(f"{split.num_examples:,} {name}" for name, split in manifest.splits.items())
    _log.info("%s: %s examples of %d %s", config.dataset, counts, len(manifest.class_names), units)
    for name, count in manifest.counts.items():
        _log.info("%s: %s", name, f"{count:,}")
    if plan.left_out:
        _log.info("%s names what was left out", folder / publish.LEFT_OUT_FILE)
    _warn(config, [warning for warning in manifest.warnings if warning not in plan.warnings])
    for name, split in manifest.splits.items():
        if split.leaked:
            treatment = "left out" if config.drop_leaked else "kept; --drop-leaked leaves them out"
            _log.info("%s: %d examples have the same pixels as a test example (%s)", name, split.leaked, treatment)
    if manifest.request.excluded_hashes:
        excluded = sum(split.excluded for split in manifest.splits.values())
        _log.info(
            "%d examples were left out by the %d pixel hashes of %s",
            excluded,
            len(plan.excluded_hashes),
            config.exclude,
        )
    _log.info("for a visual check, see %s and %s", folder / "preview.png", folder / "statistics.png")
    return str(folder)


def _warn(config: PreprocessConfig, warnings: Sequence[str]) -> None:
    for warning in warnings:
        _log.warning("%s: %s", config.dataset, warning)


def _execute(pipeline: beam.Pipeline, plan: Plan, splits: tuple[SourceSplit, ...]) -> bool:
    """Runs the pipeline; returns False if it was only submitted, with Beam's `--no_wait_until_finish`."""
    work = plan.work_folder
    storage.remove(work)  # left by a run that was killed
    # If the folder is not writable, this fails here rather than in a worker.
    storage.write_atomically(work / _REQUEST_FILE, json.dumps(config_io.to_plain(plan.request)).encode())
    stages.build(pipeline, plan, splits)
    if pipeline.options.view_as(StandardOptions).no_wait_until_finish:
        pipeline.run()
        return False
    try:
        pipeline.run().wait_until_finish()
        failure = work / stages.FAILURE_FILE
        if failure.exists():
            raise InputError(failure.read_text(encoding="utf-8"))
    finally:
        storage.remove(work)
    return True


def _is_done(plan: Plan, overwrite: bool) -> bool:
    """Whether the dataset folder already holds the requested dataset.

    Raises `InputError` if it holds another one and `overwrite` is false, or if too many of its pictures were rejected.
    """
    folder = plan.folder
    if not (folder / manifests.FILE_NAME).exists():
        return False
    try:
        manifest = manifests.read(folder)
        if manifest.request != plan.request:
            asked, stored = config_io.to_plain(plan.request), config_io.to_plain(manifest.request)
            changed = ", ".join(name for name in asked if asked[name] != stored[name])
            raise InputError(
                f"{folder}: holds a dataset made from another request (different {changed}); "
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
    if manifest.num_rejected > plan.max_rejected:
        raise InputError(
            f"{folder}: {manifest.num_rejected} pictures were rejected when it was made, --max-rejected allows "
            f"{plan.max_rejected}; see rejected.jsonl there"
        )
    return True
