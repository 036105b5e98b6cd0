"""Prediction as a Beam pipeline, for more files than one machine should read; the trainer's only use of Beam.

    ListParts ─ ReadCharacters ─ Predict ─┬─ GroupByPart ─ WritePart
    ListFiles ────────────────────────────┘

Each part of the input becomes a file of lines, written atomically, so a lost worker loses nothing. In the order of
their names, the files hold what one machine would have written. The `ModelHandler` is custom, because Beam's own for
TensorFlow needs a package that is no longer maintained.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.runners.runner import PipelineResult

from common.beam import make_pipeline
from common.errors import InputError
from common.storage import to_path, writing
from trainer import tasks
from trainer.evaluation.decoder import Decoder
from trainer.prediction import json_lines
from trainer.prediction.json_lines import BATCH_SIZE
from trainer.prediction.parts import Part
from trainer.serving import loading

_NAMESPACE = "predict"

Placed = tuple[int, tuple[int, Any]]
"""An item with its position: (number of the part, (place in the part, item))."""


class Reader(ModelHandler[Placed, Placed, tf.Module]):
    """Loads a SavedModel once per worker, and turns items into lines of JSON."""

    def __init__(self, location: str, fingerprint: str, max_error: float, decoder: Decoder | None = None) -> None:
        super().__init__()
        self._location, self._fingerprint, self.max_error = location, fingerprint, max_error
        self._decoder = decoder

    def load_model(self) -> tf.Module:
        return loading.load(self._location)

    def batch_elements_kwargs(self) -> dict[str, int]:
        return {"min_batch_size": BATCH_SIZE // 4, "max_batch_size": BATCH_SIZE}

    def run_inference(
        self, batch: Sequence[Placed], model: tf.Module, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Placed]:
        predict = tasks.of_model(model).make_predict(model, self._fingerprint, self.max_error, self._decoder)
        for (part, (place, _)), prediction in zip(batch, predict([item for _, (_, item) in batch]), strict=True):
            for outcome in json_lines.outcomes(prediction.line):
                Metrics.counter(_NAMESPACE, outcome).inc()
            yield part, (place, json_lines.to_line(prediction.line))


def run(parts: list[Part], model: Reader, output: str, beam_options: tuple[str, ...]) -> str:
    """Writes a file `<output>-00000-of-…` for each part, and returns the files' pattern.

    Raises `InputError` for bad options, or if nothing can be read; the lines then say why.
    """
    pipeline = make_pipeline(beam_options, local_workers=1)
    lines = (
        pipeline
        | "ListParts" >> beam.Create(list(enumerate(parts)))
        | "SpreadOverWorkers" >> beam.Reshuffle()
        | "ReadCharacters" >> beam.FlatMap(_read)
        | "Predict" >> RunInference(model)
    )
    # Every part is listed, so that an empty part gets its file too.
    files = pipeline | "ListFiles" >> beam.Create([(number, None) for number in range(len(parts))])
    _ = (
        (lines, files)
        | "JoinLinesAndFiles" >> beam.Flatten()
        | "GroupByPart" >> beam.GroupByKey()
        | "WritePart" >> beam.Map(_write, output, len(parts))
    )
    result = pipeline.run()
    if not pipeline.options.view_as(StandardOptions).no_wait_until_finish:
        result.wait_until_finish()
        counts = _counts(result)
        json_lines.tell(counts, model.max_error)
        if not counts.get(json_lines.PREDICTED):
            raise InputError(f"--input: nothing could be read; the lines in {output}-* say why")
    return f"{output}-*"


def _read(numbered: tuple[int, Part]) -> Iterator[Placed]:
    number, part = numbered
    for place, item in enumerate(part.read()):
        yield number, (place, item)


def _write(grouped: tuple[int, Iterable[tuple[int, bytes] | None]], output: str, num_parts: int) -> None:
    number, lines = grouped
    with writing(to_path(f"{output}-{number:05d}-of-{num_parts:05d}")) as file:
        for _, line in sorted(filter(None, lines)):
            file.write(line + b"\n")


def _counts(result: PipelineResult) -> Counter[str]:
    counts = Counter[str]()
    for counter in result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))["counters"]:
        counts[counter.key.metric.name] += counter.result
    return counts
