"""The serving folder: versions in TensorFlow Serving's layout, and the files that name the version in use.

    <serving dir>/<name>/
      <version>/       a SavedModel; its metadata is in `assets.extra`, TensorFlow's folder for extra files
      current.json     the version in use, the versions kept, and all that were ever served: the source of truth
      models.config    the version in use, for TensorFlow Serving, which by default serves the highest number

A version is complete and verified before `current.json` names it. `current.json` is replaced only if it has not changed
since the new model was compared with the one in use: of two concurrent jobs one wins, and the other has to compare
again. `models.config` is updated afterwards. A version's folder is removed only once `current.json` no longer lists it.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from common import config_io, storage
from common.errors import FailedError, InputError
from common.storage import Versioned

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

CURRENT = "current.json"
MODELS_CONFIG = "models.config"
EXTRA = "assets.extra"

_CLAIM = f"{EXTRA}/claim"
_GRAPH = "saved_model.pb"


@dataclass(frozen=True)
class Model:
    """The record of a version in `current.json`."""

    fingerprint: str
    """The fingerprint of the SavedModel's files."""
    run: str
    """The run folder that it came from."""
    data_fingerprint: str
    accuracy: float
    """Accuracy on the gate's examples, 0 to 1."""
    reason: str
    """Why it was promoted."""


@dataclass(frozen=True)
class Event:
    """A change of the version in use."""

    at: str
    what: Literal["promoted", "rolled back"]
    version: int
    """The version in use from then on."""
    replaced: int | None
    """The version in use before, if any."""


@dataclass(frozen=True)
class Current:
    """The content of `current.json`."""

    version: int
    """The version in use."""
    kept: tuple[int, ...]
    """Versions whose folders are kept for a rollback, including the one in use."""
    models: dict[int, Model]
    """All models that were ever served, by version."""
    history: tuple[Event, ...]


@dataclass(frozen=True)
class Serving:
    """The state of a serving folder, as read."""

    folder: "AnyPath"
    current: Current | None
    """None if nothing is served yet."""
    seen: Versioned
    """`current.json` as it was read, for compare-and-swap."""

    @property
    def champion(self) -> "AnyPath | None":
        """The folder of the version in use."""
        return self.folder / str(self.current.version) if self.current else None

    def rolled_back_at(self, fingerprint: str) -> str | None:
        """When the model with this fingerprint was rolled back; None if it was not, or was served again since."""
        for event in reversed(self.current.history if self.current else ()):
            if self.current.models[event.version].fingerprint == fingerprint:
                return None
            if event.what == "rolled back" and self.current.models[event.replaced].fingerprint == fingerprint:
                return event.at
        return None


@dataclass(frozen=True)
class NewVersion:
    """A model to promote."""

    source: "AnyPath"
    """The folder of its SavedModel."""
    model: Model
    extra: dict[str, bytes]
    """Files to add to the version's `assets.extra`, by name."""
    verify: Callable[["AnyPath"], None]
    """Called with the copy's folder; raises an error if the copy is wrong."""


@dataclass(frozen=True)
class Lost:
    """Nothing was changed: the model that was compared with is no longer in use."""


def read(folder: "AnyPath") -> Serving:
    """Reads a serving folder. Raises `InputError` if `current.json` is damaged."""
    seen = storage.read_versioned(folder / CURRENT)
    if seen.content is None:
        return Serving(folder, None, seen)
    try:
        plain = json.loads(seen.content)
        plain["models"] = {int(version): model for version, model in plain["models"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(
            f"{folder / CURRENT}: is damaged; restore it (the folders beside it are the versions)"
        ) from None
    return Serving(folder, config_io.from_plain(Current, plain, str(folder / CURRENT)), seen)


def fingerprint(model: "AnyPath") -> str:
    """Returns 64 hexadecimal digits that depend on every file of a SavedModel except those in `assets.extra`."""
    return storage.fingerprint_below(model, EXTRA)


def promote(serving: Serving, new: NewVersion, keep: int) -> int | Lost:
    """Serves a new version, keeps `keep` versions, and returns the new one's number, or `Lost`.

    Raises an error, and changes nothing, if the copy is wrong.
    """
    orphans = _orphans(serving)  # listed before ours exists; once ours has won, none of these can win
    version = _prepare(serving, new)
    if isinstance(version, Lost):
        return version
    after = _promoted(serving.current, version, new.model, keep)
    if not _swap(serving, after):
        _remove(serving.folder / str(version))
        return Lost()
    sync_models_config(serving.folder)
    for gone in (orphans | _kept(serving)) - {*after.kept}:
        _remove(serving.folder / str(gone))
    return version


def _prepare(serving: Serving, new: NewVersion) -> int | Lost:
    """Copies the model into a version folder of its own and verifies it there; returns the version's number."""
    version = _reserve_version(serving)
    folder = serving.folder / str(version)
    try:
        _copy(new.source, folder, new.extra)
        if fingerprint(folder) != new.model.fingerprint:
            raise FailedError(f"{folder}: differs from {new.source}, which it was copied from; start again")
        new.verify(folder)
    except Exception:
        _remove(folder)
        if storage.read_versioned(serving.folder / CURRENT) == serving.seen:
            raise
        return Lost()  # another job won, and removed this folder while it was written
    return version


def _promoted(before: Current | None, version: int, model: Model, keep: int) -> Current:
    """The new content of `current.json`, with `version` in use."""
    replaced = before.version if before else None
    before = before or Current(version, (), {}, ())
    # The newest, and the replaced one even if it is older.
    kept = [version, *sorted(before.kept, key=lambda other: other != replaced)]
    return Current(
        version=version,
        kept=tuple(sorted(kept[:keep], reverse=True)),
        models=before.models | {version: model},
        history=(*before.history, Event(_now(), "promoted", version, replaced)),
    )


def _swap(serving: Serving, after: Current) -> bool:
    """Replaces `current.json` by `after` if it has not changed since it was read; returns whether it did."""
    # If the swap raises, its outcome is unknown, and the folder stays. If its answer was lost and the next model has
    # been promoted since, the swap seems to have failed although it succeeded; hence the second look.
    return _replace(serving, after) or _was_promoted(serving.folder, after.version)


def rollback(folder: "AnyPath", to: int | None) -> int:
    """Serves a kept version again, by default the one that the version in use replaced; returns its number.

    Raises `InputError` if there is no such version, or its files have changed.
    """
    serving = read(folder)
    current = serving.current
    if current is None:
        raise InputError(f"{folder}: no model is served yet")
    others = ", ".join(str(version) for version in current.kept if version != current.version) or "none"
    if to is None:
        promotions = {event.version: event for event in current.history if event.what == "promoted"}
        to = promotions[current.version].replaced
        if to is None:
            raise InputError(f"{folder}: version {current.version} replaced none; give --to; kept versions: {others}")
    if to == current.version or to not in current.kept:
        reason = "is already in use" if to == current.version else "is not kept"
        raise InputError(f"--to {to}: {reason}; kept versions: {others}")
    if fingerprint(folder / str(to)) != current.models[to].fingerprint:
        raise InputError(f"{folder / str(to)}: its files have changed since its promotion; kept versions: {others}")
    event = Event(_now(), "rolled back", to, current.version)
    if not _replace(serving, replace(current, version=to, history=(*current.history, event))):
        raise FailedError(f"{folder}: another version has just been promoted; look at the history, then try again")
    sync_models_config(folder)
    return to


def sync_models_config(folder: "AnyPath") -> None:
    """Makes `models.config` name the version in use. Repairs it, too, if a job was killed before it did so."""
    while True:
        # In this order: the last writer has then read the newest `current.json`.
        seen = storage.read_versioned(folder / MODELS_CONFIG)
        current = read(folder).current
        if current is None:
            return
        content = _models_config(folder, current.version)
        if seen.content == content or storage.compare_and_swap(folder / MODELS_CONFIG, content, seen):
            return


def _models_config(folder: "AnyPath", version: int) -> bytes:
    base_path = folder if str(folder).startswith("gs://") else folder.absolute()
    return f"""model_config_list {{
  config {{
    name: {json.dumps(folder.name)}
    base_path: {json.dumps(str(base_path), ensure_ascii=False)}
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: {version} }} }}
  }}
}}
""".encode()


def _replace(serving: Serving, after: Current) -> bool:
    content = (json.dumps(config_io.to_plain(after), indent=2, ensure_ascii=False) + "\n").encode()
    return storage.compare_and_swap(serving.folder / CURRENT, content, serving.seen) is not None


def _was_promoted(folder: "AnyPath", version: int) -> bool:
    current = read(folder).current
    return current is not None and version in current.models


def _reserve_version(serving: Serving) -> int:
    """Returns a new version number, and reserves its folder against other jobs."""
    version = max([*_versions(serving.folder), *(serving.current.models if serving.current else ()), 0]) + 1
    while not storage.compare_and_swap(serving.folder / str(version) / _CLAIM, uuid4().bytes, Versioned(None)):
        version += 1
    return version


def _copy(source: "AnyPath", folder: "AnyPath", extra: dict[str, bytes]) -> None:
    """Copies a SavedModel, the graph last: without the graph no server takes the folder for a model."""
    names = sorted(storage.checksums_below(source), key=lambda name: (name == _GRAPH, name))
    for name, content in extra.items():
        storage.write_atomically(folder / EXTRA / name, content)
    for name in names:
        storage.write_atomically(folder / name, storage.read(source / name))


def _orphans(serving: Serving) -> set[int]:
    """Version folders that a killed job left, or another job is writing."""
    return _versions(serving.folder) - _kept(serving)


def _kept(serving: Serving) -> set[int]:
    return {*serving.current.kept} if serving.current else set()


def _versions(folder: "AnyPath") -> set[int]:
    if isinstance(folder, Path):
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
    else:
        names = [name.partition("/")[0] for name in storage.objects_below(folder)]
    return {int(name) for name in names if name.isdecimal()}


def _remove(folder: "AnyPath") -> None:
    """Removes a version's folder. Files that another job writes there meanwhile go with the next promotion."""
    with suppress(OSError):
        storage.remove(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
