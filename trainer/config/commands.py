"""The flags of the commands besides `train`, one dataclass each."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional

from common.marks import RARE, Count, Formerly, Fraction, NotNegative, Positive, Rule, Seed
from common.storage import CACHE_DIR
from trainer.evaluation.calibration import PROMISES


@dataclass(frozen=True)
class EvaluateConfig:
    """Compute all figures of a model on a split of a dataset folder, each example exactly once."""

    model: str
    """A run folder, or the SavedModel of a run."""
    data: str
    """The dataset folder; its classes must be the model's."""
    split: Literal["train", "validation", "test"] = "test"
    """The split to evaluate. Choose nothing by figures of the test split."""
    output: str | None = None
    """The JSON file to write, with predictions beside it as .npz; by default the figures are printed as one line."""
    label_issues: Annotated[str | None, Formerly("suspects")] = None
    """A file to write: likely label errors, the examples that the model confidently takes for another class. Give a
    split that the model was not trained on; `python -m preprocess --exclude` takes the file."""
    language_model: str | None = None
    """Read lines also with a language model of characters: `from-training-text`, or a file of other texts, one in each
    line, which must not be those of the test. Validation decides how much it counts; with --output, it is kept beside
    the figures as .lm.npz, for `predict`."""
    tta_views: Annotated[Count, Formerly("views")] = 1
    """Test-time augmentation: average the probabilities of N views of each image, itself and augmented ones."""
    augmentation: Annotated[tuple[str, ...], RARE] = ("rotate(5)", "shift(1)")
    """Augmentation steps of these views; see `python -m trainer train --help`."""
    cache_dir: Annotated[str, RARE] = CACHE_DIR
    """Local copies of datasets that lie in a bucket."""
    cache_limit_gb: Annotated[Positive, RARE] = 50.0
    """The most that datasets may take there."""


@dataclass(frozen=True)
class PredictConfig:
    """Recognise characters or read lines, and write a line of JSON for each: source, what is read, confidence, whether
    it is accepted.

    One machine predicts in batches. With Beam's own options after `--` (or `--` alone) Beam does it on any of its
    runners, for millions of files: the same lines, in the order of the input, in several files.
    """

    model: str
    """A run folder, or the SavedModel of a run."""
    input: tuple[str, ...]
    """Pictures of one character or line each (PNG, JPEG, TIFF, BMP, GIF, WebP, HEIC), folders, zips, tars and Parquet
    files of them, patterns such as 'scans/*.png', a dataset folder, for characters arrays of images (IDX, NumPy,
    MATLAB, CSV), for lines pages with PAGE or ALTO XML."""
    output: str
    """The file to write; with Beam, the beginning of the files' names."""
    max_error: Annotated[float, Rule("0.05, 0.01 or 0.005", lambda value: value in PROMISES)] = 0.01
    """Accept readings so that at most this share of the accepted ones is wrong: 0.05, 0.01 or 0.005. The promise is for
    writing like that of the validation split, and photographs of it. The others keep their reading."""
    language_model: str | None = None
    """Read lines with a language model: the .lm.npz file that `evaluate --language-model` wrote for this model."""
    write_xml: str | None = None
    """A folder for copies of the PAGE and ALTO files of the input, with what was read as the text of their lines."""
    html: str | None = None
    """Also write a page that shows the first thousand pictures with their predictions."""
    split: Annotated[Literal["train", "validation", "test"], RARE] = "test"
    """The split of a dataset folder."""
    strict: bool = False
    """Fail, and write nothing, if an input cannot be read or is left out because it is hidden."""
    transposed: Annotated[bool | None, RARE] = None
    """Whether arrays of images have height and width swapped; by default those in files that are called emnist… do."""


@dataclass(frozen=True)
class ReviewConfig:
    """Write a page on which people look at readings, the least sure first, and correct them by keyboard.

    It is one file, which needs no network. It saves a table, `corrections.csv`, and of lines also pairs of pictures and
    texts. Every tenth reading is drawn at random from all, so that mistakes of which the model is sure can be
    estimated.
    """

    predictions: tuple[str, ...]
    """What `predict` wrote. Pictures are looked for under the names that they have there."""
    output: str
    """The HTML file to write."""
    below: Fraction | None = None
    """Show all readings with a confidence below this; at least 50 random ones besides."""
    most: Count | None = None
    """Show so many readings, by default 500. A page shows at most 5,000."""
    sample: Annotated[float, Rule("above 0 and at most 1", lambda value: 0 < value <= 1)] | None = None
    """Show this share of the readings, all drawn at random."""
    label_issues: bool = False
    """Show likely label errors of a dataset folder that `predict` read: labels that the model contradicts with 90 %
    confidence. Enter keeps the label; the page saves also a list for `python -m preprocess --exclude`."""
    seed: Annotated[Seed, RARE] = 0
    """Decides which are drawn at random."""


@dataclass(frozen=True)
class CheckConfig:
    """Check that the exported models of a run reproduce its test figures, and that the SavedModel takes pictures.

    Each run does this before it counts as done; this repeats it, for a run folder that was copied, say.
    """

    run: Annotated[str, Positional]
    """The run folder."""


@dataclass(frozen=True)
class ExportConfig:
    """Convert the model of a finished run for other runtimes, LiteRT and ONNX Runtime, and measure it there.

    Each file has to predict the whole validation and test splits before anything is written. formats.json beside the
    files has the figures, with those of the SavedModel.
    """

    model: str
    """The run folder."""
    data: str | None = None
    """The dataset folder that the model was trained on; by default the one in the run's config.yaml."""
    formats: tuple[Literal["litert", "litert_int8", "onnx"], ...] = ("litert", "litert_int8", "onnx")
    """model.tflite; model_int8.tflite, in 8-bit integers calibrated on training examples; model.onnx."""
    output_dir: str | None = None
    """The folder to write; by default `formats` in the run folder."""
    cache_dir: Annotated[str, RARE] = CACHE_DIR
    """Local copies of datasets that lie in a bucket."""
    cache_limit_gb: Annotated[Positive, RARE] = 50.0
    """The most that datasets may take there."""


@dataclass(frozen=True)
class ReportConfig:
    """Write the HTML report of a finished run, or a comparison of several."""

    runs: Annotated[tuple[str, ...], Positional]
    """Run folders."""
    output: str | None = None
    """The HTML file; by default report/index.html in the run folder, or comparison.html here for several runs."""
    price_per_hour: NotNegative | None = None
    """The price of an hour of the machines, in any currency, for the cost of an epoch."""
