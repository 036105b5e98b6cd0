"""A language model's perplexity by order, and the speed of decoding lines and of computing their figures.

    python benchmarks/reading_lines.py TABLE [--lines 200]

TABLE is a `lines.tsv` with columns text, writer and split. Only its training lines are used: every sixth writer is held
out, and the model is fitted on the others. The outputs to decode are made up, 250 steps for each line, once of a
network that is sure of most characters and once of one that is sure of few; so no error rate means anything but beside
another of the same row.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np

from trainer.evaluation import ctc, decoder, language_model, readings
from trainer.evaluation.ctc import Fusion
from trainer.evaluation.decoder import Decoder
from trainer.evaluation.language_model import LanguageModel

_STEPS, _KEPT = 250, 5
_FUSION = Fusion(0.5, 0.5)
_FIGURED = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--lines", type=int, default=200, help="lines to decode")
    arguments = parser.parse_args()
    with arguments.table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["split"] == "train"]
    held_out = set(sorted({row["writer"] for row in rows})[::6])
    fitted = [row["text"] for row in rows if row["writer"] not in held_out]
    others = [row["text"] for row in rows if row["writer"] in held_out]
    vocabulary = tuple(sorted(set("".join(fitted))))
    print(machine.describe())
    print(f"{len(fitted):,} lines fitted, {len(others):,} of {len(held_out)} other writers\n")
    _print_perplexities(fitted, others, vocabulary)
    known = [text for text in others if set(text) <= set(vocabulary)][: arguments.lines]
    for sure_of in (0.9, 0.5):
        _print_decoding(known, LanguageModel(language_model.fit(fitted, vocabulary)), sure_of)
    _print_figures(rows)


def _print_perplexities(fitted: list[str], others: list[str], vocabulary: tuple[str, ...]) -> None:
    print("order  perplexity    n-grams    MB  fit s")
    for order in range(1, language_model.HIGHEST_ORDER + 1):
        seconds, ngrams = _timed(lambda order=order: language_model.fit(fitted, vocabulary, order))
        perplexity = language_model.perplexity(LanguageModel(ngrams), others)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.npz")
            decoder.save(path, Decoder(ngrams, Fusion()))
            megabytes = path.stat().st_size / 1e6
        print(f"{order:5}{perplexity:12.3f}{len(ngrams.parents):11,}{megabytes:6.2f}{seconds:7.2f}")


def _print_decoding(texts: list[str], model: LanguageModel, sure_of: float) -> None:
    random = np.random.default_rng(0)
    outputs = [_make_up(text, model.vocabulary, sure_of, random) for text in texts]
    followed = np.mean([(values > np.log(ctc.LEAST_PROBABILITY)).sum(axis=1).mean() for _, values in outputs])
    print(f"\nsure of {sure_of:.0%} of the characters: {followed:.1f} outputs followed a step")
    arguments = [(*line, _STEPS, len(model.vocabulary)) for line in outputs]
    decoders: dict[str, Callable] = {
        "best path": lambda *line: ctc.best_path(*line).characters,
        "beam search": lambda *line: ctc.beam_search(*line)[0].characters,
        "with model": lambda *line: ctc.beam_search(*line, model, _FUSION)[0].characters,
    }
    for name, decode in decoders.items():
        seconds, numbers = _timed(lambda decode=decode: [decode(*line) for line in arguments])
        read = ["".join(model.vocabulary[number] for number in line) for line in numbers]
        rate = readings.errors(texts, read).sum() / readings.units(texts).sum()
        print(f"{name:12}{1e3 * seconds / len(texts):8.2f} ms a line, {rate:7.2%} of characters wrong")


def _make_up(text: str, vocabulary: tuple[str, ...], sure_of: float, random: np.random.Generator) -> tuple:
    """Outputs as a run keeps them: a character at two steps, hardly told from another where it is not sure."""
    blank = len(vocabulary)
    logits = random.normal(0, 0.5, (_STEPS, blank + 1))
    logits[:, blank] += 10
    for character, step in zip(text, np.linspace(1, _STEPS - 3, len(text)).astype(int), strict=True):
        strength = random.normal(13, 1.5, 2)
        if random.random() >= sure_of:
            logits[step : step + 2, random.integers(blank)] += random.normal(13, 1.5, 2)
        logits[step : step + 2, vocabulary.index(character)] += strength
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
    classes = np.argsort(-log_probabilities, axis=1, kind="stable")[:, :_KEPT]
    return classes.astype(np.int32), np.take_along_axis(log_probabilities, classes, axis=1).astype(np.float32)


def _print_figures(rows: list[dict[str, str]]) -> None:
    random = np.random.default_rng(0)
    chosen = [rows[number % len(rows)] for number in range(_FIGURED)]
    truths = [row["text"] for row in chosen]
    read = ["".join(one for one in text if random.random() > 0.05) for text in truths]
    names, groups = np.unique([row["writer"] for row in chosen], return_inverse=True)
    confidence = random.random(len(truths))
    seconds, _ = _timed(lambda: readings.errors(truths, read))
    print(f"\nerrors of {_FIGURED:,} lines: {seconds:.3f} s")
    seconds, _ = _timed(lambda: readings.compute_all(truths, read, confidence, groups, names.tolist()))
    print(f"all figures of {_FIGURED:,} lines of {len(names)} writers: {seconds:.1f} s")


def _timed(work: Callable) -> tuple[float, object]:
    """CPU seconds, and what it returned."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
