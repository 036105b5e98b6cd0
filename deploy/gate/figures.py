"""What the gate goes by: what two models answer to the same examples, and figures of it. Only functions of numbers."""

from dataclasses import dataclass, replace

import numpy as np

from deploy.config.settings import GateConfig
from trainer.evaluation import metrics, significance
from trainer.evaluation.scores import Scores


@dataclass(frozen=True)
class Candidate:
    """A model and what it answers to the test split's examples."""

    name: str
    """As it is told of: its run folder, or `version 3`."""
    fingerprint: str
    """Of the SavedModel's files."""
    class_names: tuple[str, ...]
    scores: Scores
    """Of its answers to all of them."""
    has_seen: np.ndarray
    """bool [N]: the very pixels were among those that it was made with."""
    latency_ms: float
    model_mb: float


@dataclass(frozen=True)
class Evaluation:
    """All that is decided by."""

    data_fingerprint: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    """int64 [N]: the class of each example; none, [0], where examples have no class."""
    is_gate: np.ndarray
    """bool [N]: which examples decide; the others are for reporting."""
    challenger: Candidate
    champion: Candidate | None


@dataclass(frozen=True)
class ClassFigures:
    recall: float
    num_examples: int


@dataclass(frozen=True)
class Figures:
    """Of a model on some examples."""

    accuracy: float
    calibration_error: float
    per_class: dict[str, ClassFigures]
    """Of those classes that have examples."""


@dataclass(frozen=True)
class Threshold:
    """Something that every model in use has to meet."""

    name: str
    required: str
    measured: str
    is_met: bool


@dataclass(frozen=True)
class Comparison:
    """The challenger against the champion, on the same examples."""

    only_challenger_right: int
    only_champion_right: int
    difference: float
    """The challenger's accuracy minus the champion's."""
    lower_bound: float
    """Of that difference: it is lower with a chance of `significance_level`."""
    p_value: float
    """How probable it is that a model just as good as the champion would come out better by so much."""


@dataclass(frozen=True)
class SubsetFigures:
    """Figures on one half of the test split."""

    num_examples: int
    left_out: int
    """Besides those: examples that one of the two models was made with."""
    challenger: Figures
    champion: Figures | None
    comparison: Comparison | None


def of_subset(evaluation: Evaluation, members: np.ndarray, significance_level: float) -> SubsetFigures | None:
    """The figures on those of `members`, bool [N], that neither model was made with; None if there are none."""
    challenger, champion = evaluation.challenger, evaluation.champion
    has_seen = challenger.has_seen | champion.has_seen if champion else challenger.has_seen
    chosen = members & ~has_seen
    if not chosen.any():
        return None
    labels = evaluation.labels[chosen] if len(evaluation.labels) else evaluation.labels
    num_examples = int(chosen.sum())
    comparison = None
    if champion:
        is_right = [model.scores.of(chosen).errors == 0 for model in (challenger, champion)]
        difference = significance.compare(*is_right)
        comparison = Comparison(
            difference.only_first_right,
            difference.only_second_right,
            difference.accuracy,
            significance.interval(
                difference.only_first_right, difference.only_second_right, num_examples, 1 - 2 * significance_level
            )[0],
            difference.p_value_better,
        )
    return SubsetFigures(
        num_examples=num_examples,
        left_out=int((members & has_seen).sum()),
        challenger=_of_model(challenger, labels, chosen, evaluation.class_names),
        champion=_of_model(champion, labels, chosen, evaluation.class_names) if champion else None,
        comparison=comparison,
    )


def _of_model(model: Candidate, labels: np.ndarray, chosen: np.ndarray, class_names: tuple[str, ...]) -> Figures:
    scores = model.scores.of(chosen)
    per_class = {
        class_names[number]: ClassFigures(scores.of(labels == number).accuracy, int((labels == number).sum()))
        for number in np.unique(labels)
    }
    error = metrics.calibration_error(scores.confidence, 1 - scores.errors / scores.units)
    return Figures(scores.accuracy, float(error), per_class)


def check_floors(evaluation: Evaluation, figures: Figures, config: GateConfig) -> tuple[Threshold, ...]:
    """Those that are set, each with what the challenger has."""
    thresholds = []
    if config.min_accuracy > 0:
        thresholds.append(_at_least("accuracy", config.min_accuracy, figures.accuracy))
    if config.min_recall > 0:
        thresholds.append(_recall_floor(figures, config))
    if config.max_calibration_error < 1:
        error, limit = figures.calibration_error, config.max_calibration_error
        thresholds.append(Threshold("calibration error", f"at most {percent(limit)}", percent(error), error <= limit))
    limits = (
        ("latency", config.max_latency_ms, evaluation.challenger.latency_ms, "ms"),
        ("size", config.max_model_mb, evaluation.challenger.model_mb, "MB"),
    )
    for name, limit, measured, unit in limits:
        if limit is not None:
            thresholds.append(Threshold(name, f"at most {limit:g} {unit}", f"{measured:.2f} {unit}", measured <= limit))
    return tuple(thresholds)


def _recall_floor(figures: Figures, config: GateConfig) -> Threshold:
    least = config.min_examples_per_class
    counted = {name: scores.recall for name, scores in figures.per_class.items() if scores.num_examples >= least}
    if not counted:
        return Threshold("the recall of classes", f"known: none has {least} examples", "unknown", False)
    worst = min(counted, key=counted.get)
    threshold = _at_least(f"the lowest recall, of {worst},", config.min_recall, counted[worst])
    others = sum(recall < config.min_recall for recall in counted.values()) - 1
    if others > 0:
        return replace(threshold, measured=f"{threshold.measured} (and {others} more are too low)")
    return threshold


def _at_least(name: str, limit: float, measured: float) -> Threshold:
    return Threshold(name, f"at least {percent(limit)}", percent(measured), measured >= limit)


def percent(share: float) -> str:
    """As figures are written everywhere here."""
    return f"{100 * share:.2f} %"
