"""How a model's answers become confidences, and how sure it must be for a reading to be accepted."""

import math
from dataclasses import dataclass

PROMISES = (0.05, 0.01, 0.005)
"""The shares of wrong units that may be promised of accepted readings, from loose to strict."""
NOT_REACHABLE = (math.inf,) * len(PROMISES)
"""Thresholds of a model that can keep none of the promises: no confidence is above them."""


@dataclass(frozen=True)
class Calibration:
    """What is fitted on the validation split. A SavedModel has a function of each field's name, without arguments.

    What is named so is for what is converted from pictures, the others for pixels as a dataset holds them. A
    temperature of 1 changes nothing. Of the thresholds there is one for each of `PROMISES`: readings of at least this
    confidence keep it; inf if no threshold does.
    """

    temperature: float = 1.0
    picture_temperature: float = 1.0
    thresholds: tuple[float, ...] | None = NOT_REACHABLE
    """None if unknown: the model was exported before there were any."""
    picture_thresholds: tuple[float, ...] | None = NOT_REACHABLE
    num_pictures: int = 0
    """The photographs that what is named so was fitted on; with 0, pictures are calibrated like pixels."""

    def threshold_for(self, promise: float) -> float | None:
        """The threshold for one of `PROMISES`; None if unknown."""
        return None if self.thresholds is None else self.thresholds[PROMISES.index(promise)]

    def picture_threshold_for(self, promise: float) -> float | None:
        return None if self.picture_thresholds is None else self.picture_thresholds[PROMISES.index(promise)]
