"""The flags of the commands besides `train`, one dataclass each."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional

from common.marks import Formerly
from common.storage import CACHE_DIR


@dataclass(frozen=True)
class EvaluateConfig:
    """Compute all figures of a model on a split of a dataset folder, each example exactly once."""

    model: str
    """A run folder, or a SavedModel that a run left."""
    data: str
    """The dataset folder; its classes must be the model's."""
    split: Literal["train", "validation", "test"] = "test"
    """Which of its splits. Nothing should be chosen by figures of the test split."""
    output: str | None = None
    """The JSON file to write, with predictions beside it as .npz; without it, the figures are printed as one line."""
    label_issues: Annotated[str | None, Formerly("suspects")] = None
    """A file to write: which examples are confidently taken for another class than their label's. Sensible for a split
    that the model was not trained on; preprocess takes the list as --exclude."""
    tta_views: Annotated[int, Formerly("views")] = 1
    """Average the probabilities of so many tta_views of each image: itself, and others that are augmented."""
    augmentation: tuple[str, ...] = ("rotate(5)", "shift(1)")
    """Steps that make the other tta_views; see `python -m trainer train --help`."""
    cache_dir: str = CACHE_DIR
    """Where a dataset in a bucket is kept on this machine."""
    cache_limit_gb: float = 50.0
    """Of datasets in it."""


@dataclass(frozen=True)
class PredictConfig:
    """Recognise characters, and write a line of JSON for each: source, character, probability, the three most probable.

    One machine does it in batches. With Beam's own options after `--` (or `--` alone) Beam does, on any of its runners,
    for millions of files; the same lines, in the order of the input, then are in several files.
    """

    model: str
    """A run folder, or a SavedModel that a run left."""
    input: tuple[str, ...]
    """PNG and JPEG pictures of one character each, folders of them, patterns such as 'scans/*.png', IDX files of
    images, or a dataset folder."""
    output: str
    """The file to write; with Beam, the beginning of the files' names."""
    html: str | None = None
    """Besides, a page of the first thousand pictures with their predictions."""
    split: Literal["train", "validation", "test"] = "test"
    """Of a dataset folder."""
    transposed: bool | None = None
    """Whether IDX files have height and width swapped; left out: those whose names begin with emnist- do."""


@dataclass(frozen=True)
class CheckConfig:
    """Load what a run exported, and see that it gives the run's own test figures and takes pictures.

    Each run does this before it counts as done; this repeats it, for a run folder that was copied, say.
    """

    run: Annotated[str, Positional]
    """A run folder."""


@dataclass(frozen=True)
class ExportConfig:
    """Write the model of a finished run for other runtimes, LiteRT and ONNX Runtime, and measure it there.

    Each file recognises the whole of the validation and test splits before anything is written; the figures are in
    formats.json beside the files, with the SavedModel's own.
    """

    model: str
    """The run folder."""
    data: str | None = None
    """The dataset folder that it was trained on; left out: where the run's config.yaml says that it lies."""
    formats: tuple[Literal["litert", "litert_int8", "onnx"], ...] = ("litert", "litert_int8", "onnx")
    """model.tflite; model_int8.tflite, of 8-bit integers that are calibrated on training examples; model.onnx."""
    output_dir: str | None = None
    """The folder to write; left out: formats in the run folder."""
    cache_dir: str = CACHE_DIR
    """Where a dataset in a bucket is kept on this machine."""
    cache_limit_gb: float = 50.0
    """Of datasets in it."""


@dataclass(frozen=True)
class ReportConfig:
    """Make the page that shows a finished run, or one that compares several."""

    runs: Annotated[tuple[str, ...], Positional]
    """Run folders."""
    output: str | None = None
    """The HTML file; left out: report/index.html in the run folder, and comparison.html here for several."""
    price_per_hour: float | None = None
    """What an hour of the machines costs, in any currency: for the cost of an epoch."""
