"""The figures that the gate decides on: two models' scores on the same examples, compared. Pure functions."""

from dataclasses import dataclass, replace

import numpy as np

from common.dataset.schema import LABEL, Schema
from common.errors import InputError
from deploy.config.settings import GateConfig
from trainer.evaluation import metrics, readings, selective, significance
from trainer.evaluation.scores import Scores

PROMISED_ERROR = 0.01
"""The promise, one of `PROMISES`, at which the gate measures coverage."""


@dataclass(frozen=True)
class Candidate:
    """A model, and its scores on the examples of the test split."""

    name: str
    """Its name in messages: its run folder, or `version 3`."""
    fingerprint: str
    """The fingerprint of the SavedModel's files."""
    class_names: tuple[str, ...]
    scores: Scores
    """Scores on all examples of the test split."""
    has_seen: np.ndarray
    """bool [N]: whether an example with the same pixels was in its training or validation split."""
    latency_ms: float
    model_mb: float
    threshold: float | None = None
    """The confidence from which on readings keep the promise of `PROMISED_ERROR`; None if the model promises nothing,
    since it was exported by an earlier version."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that the gate decides on."""

    data_fingerprint: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    """int64 [N]: the class of each example; empty, [0], if examples have no class."""
    is_gate: np.ndarray
    """bool [N]: whether an example is in the gate's half; the other half is for reporting."""
    challenger: Candidate
    champion: Candidate | None
    group_by: str | None = None
    """What a group of lines is, such as `writer`; None for examples without groups."""


@dataclass(frozen=True)
class ClassFigures:
    recall: float
    num_examples: int


@dataclass(frozen=True)
class Figures:
    """Figures of a model on some examples."""

    accuracy: float
    """The share of right units; of lines, 1 minus the character error rate."""
    calibration_error: float
    coverage: float | None
    """The share of examples that the model accepts, promising `PROMISED_ERROR`; None if it promises nothing."""
    per_class: dict[str, ClassFigures]
    """Figures of the classes that have examples."""


@dataclass(frozen=True)
class Threshold:
    """A requirement on a new model, and the value measured."""

    name: str
    required: str
    measured: str
    is_met: bool


@dataclass(frozen=True)
class Comparison:
    """The challenger compared with the champion on the same examples."""

    only_challenger_right: int
    """Examples that only the challenger got right; of lines: that it read with fewer errors."""
    only_champion_right: int
    difference: float
    """The challenger's accuracy minus the champion's."""
    lower_bound: float | None
    """Lower confidence bound of `difference`: it is lower with probability `significance_level`. None if all examples
    are of one group."""
    p_value: float
    """Probability that a model merely as good as the champion would appear better by this much."""


@dataclass(frozen=True)
class SubsetFigures:
    """Figures on one half of the test split."""

    num_examples: int
    left_out: int
    """Further examples of this half, excluded because one of the models was trained on them."""
    challenger: Figures
    champion: Figures | None
    comparison: Comparison | None
    num_groups: int | None = None
    """The groups of these examples; None if they have none."""


def of_subset(evaluation: Evaluation, members: np.ndarray, significance_level: float) -> SubsetFigures | None:
    """The figures on those of `members`, bool [N], that neither model was trained on; None if there are none."""
    challenger, champion = evaluation.challenger, evaluation.champion
    has_seen = challenger.has_seen | champion.has_seen if champion else challenger.has_seen
    chosen = members & ~has_seen
    if not chosen.any():
        return None
    labels = evaluation.labels[chosen] if len(evaluation.labels) else evaluation.labels
    num_examples = int(chosen.sum())
    comparison = None
    if champion:
        scores = [model.scores.of(chosen) for model in (challenger, champion)]
        difference = significance.compare(*scores)
        interval = significance.interval(*scores, 1 - 2 * significance_level)
        comparison = Comparison(
            difference.first_better,
            difference.second_better,
            difference.accuracy,
            interval[0] if interval else None,
            difference.p_value_better,
        )
    groups = challenger.scores.groups
    return SubsetFigures(
        num_examples=num_examples,
        left_out=int((members & has_seen).sum()),
        challenger=_of_model(challenger, labels, chosen, evaluation.class_names),
        champion=_of_model(champion, labels, chosen, evaluation.class_names) if champion else None,
        comparison=comparison,
        num_groups=None if groups is None else len(np.unique(groups[chosen])),
    )


def _of_model(model: Candidate, labels: np.ndarray, chosen: np.ndarray, class_names: tuple[str, ...]) -> Figures:
    scores = model.scores.of(chosen)
    per_class = {
        class_names[number]: ClassFigures(scores.of(labels == number).accuracy, int((labels == number).sum()))
        for number in np.unique(labels)
    }
    right = readings.share_right(scores.errors, scores.units)
    error = metrics.calibration_error(scores.confidence, right, scores.units)
    coverage = None
    if model.threshold is not None:
        coverage = float(selective.is_accepted(scores.confidence, model.threshold).mean())
    return Figures(scores.accuracy, float(error), coverage, per_class)


def check_settings(config: GateConfig, schema: Schema) -> None:
    """Raises `InputError` if a threshold is set that has no meaning for examples of this schema."""
    if config.min_recall > 0 and not schema.has(LABEL):
        raise InputError(
            f"gate.min_recall {config.min_recall:g}: {schema.task} have no classes that could be recalled; remove it, "
            "and set gate.min_accuracy instead"
        )


def check_thresholds(evaluation: Evaluation, figures: Figures, config: GateConfig) -> tuple[Threshold, ...]:
    """The thresholds that are set, each with the challenger's value."""
    thresholds = []
    if config.min_accuracy > 0:
        thresholds.append(_at_least("accuracy", config.min_accuracy, figures.accuracy))
    if config.min_recall > 0:
        thresholds.append(_recall_threshold(figures, config))
    if config.max_calibration_error < 1:
        error, limit = figures.calibration_error, config.max_calibration_error
        thresholds.append(Threshold("calibration error", f"at most {percent(limit)}", percent(error), error <= limit))
    if config.min_coverage is not None:
        thresholds.append(_coverage_threshold(figures, config.min_coverage))
    limits = (
        ("latency", config.max_latency_ms, evaluation.challenger.latency_ms, "ms"),
        ("size", config.max_model_mb, evaluation.challenger.model_mb, "MB"),
    )
    for name, limit, measured, unit in limits:
        if limit is not None:
            thresholds.append(Threshold(name, f"at most {limit:g} {unit}", f"{measured:.2f} {unit}", measured <= limit))
    return tuple(thresholds)


def _recall_threshold(figures: Figures, config: GateConfig) -> Threshold:
    least = config.min_examples_per_class
    counted = {name: scores.recall for name, scores in figures.per_class.items() if scores.num_examples >= least}
    if not counted:
        return Threshold("the recall of classes", f"measurable: no class has {least} examples", "unknown", False)
    worst = min(counted, key=counted.get)
    threshold = _at_least(f"the lowest recall, of {worst},", config.min_recall, counted[worst])
    others = sum(recall < config.min_recall for recall in counted.values()) - 1
    if others > 0:
        return replace(threshold, measured=f"{threshold.measured} (and {others} more are too low)")
    return threshold


def _coverage_threshold(figures: Figures, least: float) -> Threshold:
    name = f"the coverage at {100 * PROMISED_ERROR:g} % error"
    if figures.coverage is None:
        return Threshold(name, "measurable: the model was exported before there were thresholds", "unknown", False)
    return _at_least(name, least, figures.coverage)


def _at_least(name: str, limit: float, measured: float) -> Threshold:
    return Threshold(name, f"at least {percent(limit)}", percent(measured), measured >= limit)


def percent(share: float) -> str:
    """A share as a percentage, in the format of all figures here."""
    return f"{100 * share:.2f} %"
