"""What a run keeps of its readings of lines, by name, and the texts in it."""

import numpy as np

from common.dataset.schema import TEXT, TEXT_LENGTH

OUTPUTS, LOG_PROBABILITIES, STEPS = "outputs", "log_probabilities", "steps"
"""The keys of predictions, beside the schema's text, length, group and width: int32 [N, T, K] and float32 [N, T, K],
the most probable outputs of each step and their log probabilities, and the number of steps, int64 [N]."""
LOSS, ERRORS, LOG_CONFIDENCE = "loss", "errors", "log_confidence"
"""CTC's loss in nats a character, float32 [N]; the edit distance of the best path if model and dataset number
characters alike, int64 [N]; and the mean log probability a character, float32 [N], which `calibrate` divides."""
READINGS = "readings"
"""Texts, str [N], that were decoded in another way than by the best path; absent otherwise."""

Arrays = dict[str, np.ndarray]


def truths(predictions: Arrays, characters: tuple[str, ...]) -> list[str]:
    """The texts of the lines, by the characters of the examples' schema."""
    rows = zip(predictions[TEXT], predictions[TEXT_LENGTH], strict=True)
    return ["".join(characters[number] for number in text[:length]) for text, length in rows]


def read(predictions: Arrays, vocabulary: tuple[str, ...]) -> list[str]:
    """The readings, by best path unless they were decoded otherwise, by the model's vocabulary."""
    if READINGS in predictions:
        return predictions[READINGS].tolist()
    outputs = predictions[OUTPUTS][..., 0]
    before = np.pad(outputs[:, :-1], ((0, 0), (1, 0)), constant_values=len(vocabulary))
    is_inside = np.arange(outputs.shape[1]) < predictions[STEPS][:, None]
    begins = is_inside & (outputs != before) & (outputs != len(vocabulary))
    return ["".join(vocabulary[number] for number in row[begin]) for row, begin in zip(outputs, begins, strict=True)]
