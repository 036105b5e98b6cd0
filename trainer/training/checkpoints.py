"""Checkpoints: the whole state of a training in one file, written atomically.

TensorFlow's own checkpoints are several files, and omit parts of a Keras 3 model's state. A checkpoint here is a NumPy
`.npz` followed by the SHA-256 of its bytes, which `numpy.load` ignores. Reading one runs no code.
Format: https://numpy.org/doc/stable/reference/generated/numpy.savez.html
"""

import hashlib
import io
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from common import config_io
from common.marks import Formerly
from common.storage import write_atomically

_KEPT = 2
_STATE = "state"
_DIGEST_BYTES = hashlib.sha256().digest_size

_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """The state of a training besides its weights; all of it is in the checkpoint."""

    data_fingerprint: str
    shuffle_window: Annotated[int, Formerly("window")]
    """The window given to `make_order`; kept, because the order must not change on a machine with other memory."""
    step: int = 0
    """Steps taken."""
    loss_sum: float = 0.0
    """The sum of losses in the current epoch so far."""
    errors: int = 0
    """Wrong units in the current epoch so far, out of `units`."""
    units: int = 0
    num_examples: int = 0
    """Examples in the current epoch so far."""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """The finished epochs, as in `metrics.jsonl`."""
    best_epoch: int = 0
    """The epoch of the highest validation accuracy, or 0."""
    best_accuracy: float = -1.0
    seconds: float = 0.0
    """Training time over all starts."""
    is_finished: bool = False
    """Whether nothing is left to train."""

    @property
    def accuracy(self) -> float:
        """The accuracy in the current epoch so far."""
        return (self.units - self.errors) / self.units


Weights = dict[str, dict[str, np.ndarray]]
"""The variables' values by group (`network`, `optimizer` and, if kept, `average` and `best`) and name.

Old checkpoints have numbers in place of names, in the order of the network's weights.
"""


Checkpoint = tuple[Progress, Weights]


def save(folder: Path, progress: Progress, weights: Weights) -> Path:
    """Writes a checkpoint, and then removes all but the last two."""
    parts = {f"{group}/{name}": value for group, values in weights.items() for name, value in values.items()}
    content = io.BytesIO()
    np.savez(content, **parts, **{_STATE: np.frombuffer(json.dumps(config_io.to_plain(progress)).encode(), np.uint8)})
    path = folder / f"step-{progress.step:09d}.npz"
    write_atomically(path, content.getvalue() + hashlib.sha256(content.getvalue()).digest())
    for outdated in all_in(folder)[:-_KEPT]:
        outdated.unlink()
    return path


def all_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*.npz"))


def restore_latest(folder: Path) -> Checkpoint | None:
    """The content of the latest intact checkpoint, or None. A damaged one is skipped with a warning."""
    for path in reversed(all_in(folder)):
        content = path.read_bytes()
        archive, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if hashlib.sha256(archive).digest() == digest:
            return _read(io.BytesIO(archive), str(path))
        _log.warning("%s: is damaged; going back to an earlier one", path)
    return None


def _read(archive: io.BytesIO, where: str) -> Checkpoint:
    weights: Weights = {}
    with np.load(archive, allow_pickle=False) as parts:
        plain = json.loads(parts[_STATE].tobytes())
        if (num_correct := plain.pop("num_correct", None)) is not None:  # from before there were other tasks
            plain |= {"errors": plain["num_examples"] - num_correct, "units": plain["num_examples"]}
        progress = config_io.from_plain(Progress, plain, where)
        for part in parts.files:  # in the order in which they were saved
            group, _, name = part.partition("/")
            if name:
                weights.setdefault(group, {})[name] = parts[part]
    return progress, weights
