"""The same predictions as a Beam pipeline, for more files than one machine should read; the only Beam in this room.

A `ModelHandler` of our own, since Beam's for TensorFlow needs a package that is no longer kept.
"""

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler, RunInference

from preprocess.beam_options import make_pipeline
from trainer import saved_model
from trainer.predict import BATCH_SIZE, Item, Part, make_predict, read, to_line


class CharacterModel(ModelHandler[Item, bytes, tf.Module]):
    """Loads a SavedModel once in each worker, and gives lines of JSON for items."""

    def __init__(self, location: str) -> None:
        super().__init__()
        self._location = location

    def load_model(self) -> tf.Module:
        return saved_model.load(self._location)

    def batch_elements_kwargs(self) -> dict[str, int]:
        return {"min_batch_size": BATCH_SIZE // 4, "max_batch_size": BATCH_SIZE}

    def run_inference(
        self, batch: Sequence[Item], model: tf.Module, inference_args: dict | None = None
    ) -> Iterable[bytes]:
        return [to_line(prediction.line).rstrip(b"\n") for prediction in make_predict(model)(list(batch))]


def run(parts: list[Part], model: str, output: str, beam_options: tuple[str, ...]) -> str:
    """Writes `<output>-00000-of-…` and returns the pattern of these files. Raises `InputError` for bad options."""
    saved_model.load(model)  # refused here rather than in a worker
    pipeline = make_pipeline(beam_options, local_workers=1)
    lines = (
        pipeline
        | "Parts" >> beam.Create(parts)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.FlatMap(_items)
        | "Predict" >> RunInference(CharacterModel(model))
    )
    lines | "Write" >> beam.io.WriteToText(output, coder=beam.coders.BytesCoder())
    pipeline.run().wait_until_finish()
    return f"{output}-*"


def _items(part: Part) -> Iterator[Item]:
    for some in read(part):
        yield from some()
