"""Predicts the characters in pictures, IDX files and dataset folders: a line of JSON for each."""

import logging
from contextlib import nullcontext
from itertools import chain, islice

from tqdm import tqdm

from common.errors import InputError
from common.storage import to_path, writing
from trainer.config.commands import PredictConfig
from trainer.prediction import inputs
from trainer.prediction.json_lines import BATCH_SIZE, Prediction, make_predict, tell, to_line
from trainer.reporting import pages
from trainer.serving import loading

_ON_THE_PAGE = 1000

_log = logging.getLogger(__name__)


def run(config: PredictConfig, beam_options: tuple[str, ...] | None = None) -> str:
    """Predicts the whole input and returns the path of the output file.

    With `beam_options` (which may be empty) Beam predicts, on the runner that they name. It writes the same lines to
    several files whose names begin with `output`; their pattern is returned. Raises `InputError` for bad input.
    """
    if beam_options is not None and config.html:
        raise InputError("--html: is not available with Beam; leave out the options after --")
    model = loading.load(config.model)
    parts = inputs.find(config, loading.image_size(model))
    if beam_options is not None:
        try:
            from trainer.prediction import beam_pipeline
        except ImportError:
            raise InputError("the options after --: need Beam; install this package's extra preprocess") from None
        return beam_pipeline.run(parts, config.model, config.output, beam_options)
    predict = make_predict(model)
    items = chain.from_iterable(part.read() for part in parts)
    shown: list[Prediction] = []
    count, bad, complaint = 0, 0, ""
    with (
        writing(to_path(config.output)) as file,
        writing(to_path(config.html)) if config.html else nullcontext() as page,
        tqdm(unit=" characters", desc="predicting", leave=False, disable=None, unit_scale=True) as bar,
    ):
        while batch := list(islice(items, BATCH_SIZE)):
            for prediction in predict(batch):
                file.write(to_line(prediction.line) + b"\n")
                if prediction.image is None:
                    bad, complaint = bad + 1, complaint or f"{prediction.line['source']} {prediction.line['error']}"
                if config.html and len(shown) < _ON_THE_PAGE:
                    shown.append(prediction)
            count += len(batch)
            bar.update(len(batch))
        if bad == count:
            raise InputError(f"--input: no character could be read; {complaint or 'all files are empty'}")
        if page:
            page.write(_page(shown, count, bad, loading.image_size(model)).encode())
    if config.html:
        _log.info("page          %s", config.html)
    tell(count - bad, bad)
    return config.output


def _page(predictions: list[Prediction], count: int, bad: int, image_size: tuple[int, int]) -> str:
    shown = [
        (prediction.line, None if prediction.image is None else pages.picture(prediction.image))
        for prediction in predictions
    ]
    labelled = [line for line, picture in shown if picture and "label" in line]
    return pages.render(
        "predictions.html.j2",
        title=f"{count:,} characters predicted",
        shown=shown,
        count=count,
        bad=bad,
        height=image_size[0],
        width=image_size[1],
        right=sum(line["character"] == line["label"] for line in labelled) if labelled else None,
        num_labelled=len(labelled),
    )
