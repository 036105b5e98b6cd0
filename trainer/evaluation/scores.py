"""How right answers are, whatever the task: what selection, the gate and label issues go by."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """How right the answers to some examples are."""

    errors: np.ndarray
    """int64 [N]: wrong units of each; of a character 0 or 1, of a line its edit distance."""
    units: np.ndarray
    """int64 [N]: what there is to get right; of a character 1, of a line its length."""
    confidence: np.ndarray
    """float [N]: the share of right units that the model expects, calibrated, 0 to 1."""

    @property
    def accuracy(self) -> float:
        """The share of right units."""
        units = int(self.units.sum())
        return (units - int(self.errors.sum())) / units

    def of(self, members: np.ndarray) -> "Scores":
        """Those of some of the examples, bool [N] or their numbers."""
        return Scores(self.errors[members], self.units[members], self.confidence[members])
