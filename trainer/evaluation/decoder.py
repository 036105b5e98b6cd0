"""Reading lines with a language model of characters: fitted and weighed on validation lines, and kept in one file.

Its readings have a calibration of their own, since a language model changes which readings can be trusted.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import InputError
from common.storage import read, write_atomically
from trainer.evaluation import ctc, language_model, readings, selective
from trainer.evaluation.ctc import Fusion
from trainer.evaluation.language_model import LanguageModel, NGrams
from trainer.evaluation.scores import Scores

if TYPE_CHECKING:
    from common.storage.paths import AnyPath


KEPT_OUTPUTS = 5
"""Of each step; the others have next to no probability."""


@dataclass(frozen=True)
class Outputs:
    """The most probable outputs of each step of N lines, as `ctc` takes them, for a network that knows C characters."""

    classes: np.ndarray
    """int [N, T, K]; C is the blank."""
    log_probabilities: np.ndarray
    """float [N, T, K]."""
    steps: np.ndarray
    """int [N]."""


@dataclass(frozen=True)
class Decoder:
    """A language model, how much it counts, and the calibration of its readings."""

    ngrams: NGrams
    fusion: Fusion
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    """As in `Calibration`."""


@dataclass(frozen=True)
class Decoded:
    """Readings of N lines."""

    texts: list[str]
    log_confidence: np.ndarray
    """float64 [N]: the mean log probability of the characters, by the network alone."""
    readings: list[ctc.Reading]
    """The characters of each, and where they are."""


def fit(texts: Sequence[str], vocabulary: tuple[str, ...], outputs: Outputs, truths: Sequence[str]) -> Decoder:
    """A decoder of a model fitted on `texts`; all else is chosen by validation lines, their outputs and true texts."""
    ngrams = language_model.fit(texts, vocabulary)
    rows = [list(part) for part in (outputs.classes, outputs.log_probabilities, outputs.steps)]
    fusion = ctc.choose_fusion(*rows, truths, LanguageModel(ngrams))
    unfitted = Decoder(ngrams, fusion)
    decoded = decode(unfitted, outputs)
    wrong, units = readings.errors(truths, decoded.texts), readings.units(truths)
    temperature = readings.fit_temperature(decoded.log_confidence, wrong, units)
    scores = Scores(wrong, units, readings.calibrate(decoded.log_confidence, temperature))
    return Decoder(ngrams, fusion, temperature, selective.choose_thresholds(scores))


def decode(decoder: Decoder, outputs: Outputs) -> Decoded:
    """The readings of lines by beam search."""
    model, blank = LanguageModel(decoder.ngrams), len(decoder.ngrams.vocabulary)
    texts, found = [], []
    for classes, log_probabilities, steps in zip(
        outputs.classes, outputs.log_probabilities, outputs.steps, strict=True
    ):
        line = classes, log_probabilities, int(steps), blank
        best = ctc.beam_search(*line, model, decoder.fusion)[0].characters
        # None if the path goes by outputs that were not kept; the best path then stands in for it.
        found.append(ctc.align(best, *line) or ctc.best_path(*line))
        texts.append("".join(model.vocabulary[number] for number in best))
    confidence = np.array([max(reading.log_confidence, -1e9) for reading in found])
    return Decoded(texts, confidence, found)


def save(path: "AnyPath", decoder: Decoder) -> None:
    """Writes an archive that `np.load` reads; the same decoder always gives the same bytes."""
    content = io.BytesIO()
    numbers = np.array([decoder.fusion.weight, decoder.fusion.bonus, decoder.temperature, *decoder.thresholds])
    np.savez_compressed(content, decoder=numbers, **language_model.to_arrays(decoder.ngrams))
    write_atomically(path, content.getvalue())


def load(path: "AnyPath", vocabulary: tuple[str, ...]) -> Decoder:
    """The decoder in a file that `save` wrote.

    Raises `InputError` if it cannot be read, is no such file, or knows other characters than `vocabulary`.
    """
    try:
        with np.load(io.BytesIO(read(path)), allow_pickle=False) as file:
            ngrams = language_model.from_arrays(file)
            weight, bonus, temperature, *thresholds = map(float, file["decoder"])
        LanguageModel(ngrams)
        if not all(map(math.isfinite, (weight, bonus, temperature))) or temperature <= 0:
            raise ValueError("its weights are no numbers")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; `evaluate --language-model` writes one") from None
    except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        message = f"{path}: is no language model that `evaluate --language-model` wrote, or is damaged ({reason})"
        raise InputError(message) from None
    language_model.check_vocabulary(ngrams, vocabulary, path)
    return Decoder(ngrams, Fusion(weight, bonus), temperature, tuple(thresholds))
