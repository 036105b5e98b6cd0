"""Published test accuracies, to put beside one's own.

For a single model, in percent. Many of them were chosen by the test split itself, which ours never are.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """What others report on one dataset."""

    best: float
    best_source: str
    article: float | None = None
    """That of the article whose recipes `article_dense` and `article_cnn` are."""


BY_DATASET = {
    "emnist/byclass": Published(88.43, "WaveMixLite, arXiv:2205.14375", article=87.2),
    "emnist/bymerge": Published(91.80, "WaveMixLite, at second hand"),
    "emnist/balanced": Published(91.06, "WaveMix"),
    "emnist/letters": Published(95.96, "WaveMixLite"),
    "emnist/digits": Published(99.82, "the best of a single model"),
    "mnist/original": Published(99.83, "the best of a single model", article=97.3),
}
