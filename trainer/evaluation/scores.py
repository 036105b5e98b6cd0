"""The scores of answers, independent of the task: for selection, the gate and label issues."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """The scores of the answers to some examples."""

    errors: np.ndarray
    """int64 [N]: wrong units of each answer: 0 or 1 for a character, the edit distance for a line."""
    units: np.ndarray
    """int64 [N]: units of each example: 1 for a character, the length for a line."""
    confidence: np.ndarray
    """float [N]: the share of right units that the model expects, calibrated, 0 to 1."""
    groups: np.ndarray | None = None
    """int64 [N]: the group of each example, such as its writer; None if each example is a group of its own."""

    @property
    def accuracy(self) -> float:
        """The share of right units."""
        units = int(self.units.sum())
        return (units - int(self.errors.sum())) / units

    def of(self, members: np.ndarray) -> "Scores":
        """The scores of some of the examples, given by a mask, bool [N], or by their indices."""
        groups = None if self.groups is None else self.groups[members]
        return Scores(self.errors[members], self.units[members], self.confidence[members], groups)
