"""Which version of a model is served: a folder for each in TensorFlow Serving's layout, and the files that name one.

    <serving dir>/<name>/
      <version>/       a SavedModel; what is known of it lies in its `assets.extra`, which is there for such things
      current.json     the version in use, those that are kept, and what has ever been served: this decides
      models.config    the same version, for TensorFlow Serving, which by itself would serve the highest number

A version is complete, and has been verified, before `current.json` names it, and that is replaced only if it still is
as it was when the new model was compared with the one in use: of two jobs at once one wins, and the other has to
compare again. `models.config` follows it. A folder is removed only once `current.json` lists it no longer.
"""

import hashlib
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
    """What is remembered of a version."""

    fingerprint: str
    """Of its files."""
    run: str
    """The run folder that it came from."""
    data_fingerprint: str
    accuracy: float
    """On the examples that decided."""
    reason: str
    """Why it was promoted."""


@dataclass(frozen=True)
class Event:
    """A change of what is served."""

    at: str
    what: Literal["promoted", "rolled back"]
    version: int
    """What is served from then on."""
    replaced: int | None
    """What was served before."""


@dataclass(frozen=True)
class Current:
    """What `current.json` holds."""

    version: int
    """The version in use."""
    kept: tuple[int, ...]
    """Versions whose folders are there, to be rolled back to."""
    models: dict[int, Model]
    """All that were ever served, by version."""
    history: tuple[Event, ...]


@dataclass(frozen=True)
class Serving:
    """A serving folder as it was read."""

    folder: "AnyPath"
    current: Current | None
    """None where nothing is served yet."""
    seen: Versioned

    @property
    def champion(self) -> "AnyPath | None":
        """The folder of the version in use."""
        return self.folder / str(self.current.version) if self.current else None

    def rolled_back_at(self, fingerprint: str) -> str | None:
        """When the model of that fingerprint was taken back by a rollback, unless it was served again since."""
        for event in reversed(self.current.history if self.current else ()):
            if self.current.models[event.version].fingerprint == fingerprint:
                return None
            if event.what == "rolled back" and self.current.models[event.replaced].fingerprint == fingerprint:
                return event.at
        return None


@dataclass(frozen=True)
class NewVersion:
    """A model that is to be served."""

    source: "AnyPath"
    """Its SavedModel."""
    model: Model
    extra: dict[str, bytes]
    """Files that are laid into the version's `assets.extra`, by name."""
    verify: Callable[["AnyPath"], None]
    """Is given the copy, and raises what is wrong with it."""


@dataclass(frozen=True)
class Lost:
    """Nothing was changed: another model is in use by now than the one that was compared with."""


def read(folder: "AnyPath") -> Serving:
    """What a serving folder serves. Raises `InputError` if `current.json` is damaged."""
    seen = storage.read_versioned(folder / CURRENT)
    if seen.content is None:
        return Serving(folder, None, seen)
    try:
        plain = json.loads(seen.content)
        plain["models"] = {int(version): model for version, model in plain["models"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{folder / CURRENT}: is damaged; the folders beside it are the versions") from None
    return Serving(folder, config_io.from_plain(Current, plain, str(folder / CURRENT)), seen)


def fingerprint(model: "AnyPath") -> str:
    """64 hexadecimal digits that change with any file of a SavedModel. What is in `assets.extra` does not count."""
    files = {name: facts for name, facts in storage.checksums_below(model).items() if not name.startswith(f"{EXTRA}/")}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def promote(serving: Serving, new: NewVersion, keep: int) -> int | Lost:
    """Serves a new version, and keeps as many as told; its number.

    Raises what is wrong with the copy; then, too, nothing is changed.
    """
    orphans = _orphans(serving)  # before there is one of ours; others' can win no more once ours has won
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
    """Copies the model into a folder that no other job has, and verifies it there; the number of the version."""
    version = _reserve_version(serving)
    folder = serving.folder / str(version)
    try:
        _copy(new.source, folder, new.extra)
        if fingerprint(folder) != new.model.fingerprint:
            raise FailedError(f"{folder}: is not what was copied from {new.source}; start again")
        new.verify(folder)
    except Exception:
        _remove(folder)
        if storage.read_versioned(serving.folder / CURRENT) == serving.seen:
            raise
        return Lost()  # another has won, and has removed this folder while it was written
    return version


def _promoted(before: Current | None, version: int, model: Model, keep: int) -> Current:
    """What `current.json` is to hold with `version` in use."""
    replaced = before.version if before else None
    before = before or Current(version, (), {}, ())
    # The newest, and that which is replaced even if it is an older one.
    kept = [version, *sorted(before.kept, key=lambda other: other != replaced)]
    return Current(
        version=version,
        kept=tuple(sorted(kept[:keep], reverse=True)),
        models=before.models | {version: model},
        history=(*before.history, Event(_now(), "promoted", version, replaced)),
    )


def _swap(serving: Serving, after: Current) -> bool:
    """Whether `after` has taken the place of what was read."""
    # If it raises, nobody knows whether it is done, and the folder stays. If the answer was lost, and the next model
    # has been promoted since, it only looks as if it were not done.
    return _replace(serving, after) or _was_promoted(serving.folder, after.version)


def rollback(folder: "AnyPath", to: int | None) -> int:
    """Serves a kept version again, and returns its number: that which the version in use replaced, if none is named.

    Raises `InputError` if there is none, or it is not as it was.
    """
    serving = read(folder)
    current = serving.current
    if current is None:
        raise InputError(f"{folder}: no model is served yet")
    others = ", ".join(str(version) for version in current.kept if version != current.version) or "no others"
    if to is None:
        promotions = {event.version: event for event in current.history if event.what == "promoted"}
        to = promotions[current.version].replaced
        if to is None:
            raise InputError(f"{folder}: version {current.version} replaced none; kept, for --to, are {others}")
    if to == current.version or to not in current.kept:
        problem = "is in use already" if to == current.version else "is not there"
        raise InputError(f"--to {to}: {problem}; kept are {others}")
    if fingerprint(folder / str(to)) != current.models[to].fingerprint:
        raise InputError(f"{folder / str(to)}: is not what it was, and cannot be served; others are {others}")
    event = Event(_now(), "rolled back", to, current.version)
    if not _replace(serving, replace(current, version=to, history=(*current.history, event))):
        raise FailedError(f"{folder}: another version has just been promoted; look at the history, and decide again")
    sync_models_config(folder)
    return to


def sync_models_config(folder: "AnyPath") -> None:
    """Makes `models.config` name the version that `current.json` does, also after a job was killed in between."""
    while True:
        # In this order: whoever has written it last has seen the last version.
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
    return storage.compare_and_swap(serving.folder / CURRENT, content, serving.seen)


def _was_promoted(folder: "AnyPath", version: int) -> bool:
    current = read(folder).current
    return current is not None and version in current.models


def _reserve_version(serving: Serving) -> int:
    """A new version number, of which no other job has the folder."""
    version = max([*_versions(serving.folder), *(serving.current.models if serving.current else ()), 0]) + 1
    while not storage.compare_and_swap(serving.folder / str(version) / _CLAIM, uuid4().bytes, Versioned(None)):
        version += 1
    return version


def _copy(source: "AnyPath", folder: "AnyPath", extra: dict[str, bytes]) -> None:
    """The graph comes last: without it no server takes the folder for a model."""
    names = sorted(storage.checksums_below(source), key=lambda name: (name == _GRAPH, name))
    for name, content in extra.items():
        storage.write_atomically(folder / EXTRA / name, content)
    for name in names:
        storage.write_atomically(folder / name, storage.read(source / name))


def _orphans(serving: Serving) -> set[int]:
    """Folders of versions that a killed job has left, or another one is making."""
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
    """Removes a version's folder. What another job writes there meanwhile, the next promotion removes."""
    with suppress(OSError):
        storage.remove(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
