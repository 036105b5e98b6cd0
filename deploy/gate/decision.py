"""The gate: whether a new model, the challenger, replaces the one in use, the champion. Only functions of numbers.

Both answer the same examples: those of the test split that `trainer.holdout` gives to the gate, without any that one of
the two was trained on. The challenger has to meet every floor, and to be better by more than chance (McNemar's exact
test, one-sided: Dietterich, "Approximate statistical tests for comparing supervised classification learning
algorithms", 1998) or, if so asked, not worse by a margin (the paired interval's lower end).
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from deploy.config.settings import GateConfig
from trainer import metrics, significance


@dataclass(frozen=True)
class Contestant:
    """A model and what it answers to the test split's examples."""

    name: str
    """As it is told of: its run folder, or `version 3`."""
    fingerprint: str
    """Of the SavedModel's files."""
    class_names: tuple[str, ...]
    predicted: np.ndarray
    """int64 [N]: the number, in the data's classes, of the class that it takes each for; -1 for another."""
    confidence: np.ndarray
    """float32 [N]: how probable, calibrated, it takes that to be, 0 to 1."""
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
    """int64 [N]."""
    is_gate: np.ndarray
    """bool [N]: which examples decide; the others are for reporting."""
    challenger: Contestant
    champion: Contestant | None


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
class Floor:
    """Something that every model in use has to meet."""

    what: str
    wanted: str
    found: str
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
class Half:
    """Figures on one half of the test split."""

    num_examples: int
    left_out: int
    """Besides those: examples that one of the two models was made with."""
    challenger: Figures
    champion: Figures | None
    comparison: Comparison | None


@dataclass(frozen=True)
class Decision:
    """What the gate says, and all that led to it."""

    outcome: Literal["promote", "refuse"]
    reason: str
    """In words."""
    challenger: str
    champion: str | None
    challenger_fingerprint: str
    champion_fingerprint: str | None
    data_fingerprint: str
    config: GateConfig
    floors: tuple[Floor, ...]
    latency_ms: float
    model_mb: float
    gate: Half | None
    """None where no example was left to decide by."""
    reporting: Half | None
    """Of the other half, which decided nothing."""


def decide(evaluation: Evaluation, config: GateConfig, taken_back: str | None = None) -> Decision:
    """Whether the challenger is to be served. `taken_back`: when this very model was taken back by hand, if it was."""
    challenger, champion = evaluation.challenger, evaluation.champion
    gate = _half(evaluation, evaluation.is_gate, config)
    floors = _floors(evaluation, gate.challenger, config) if gate else ()
    outcome, reason = _conclude(evaluation, config, gate, floors, taken_back)
    return Decision(
        outcome=outcome,
        reason=reason,
        challenger=challenger.name,
        champion=champion.name if champion else None,
        challenger_fingerprint=challenger.fingerprint,
        champion_fingerprint=champion.fingerprint if champion else None,
        data_fingerprint=evaluation.data_fingerprint,
        config=config,
        floors=floors,
        latency_ms=challenger.latency_ms,
        model_mb=challenger.model_mb,
        gate=gate,
        reporting=_half(evaluation, ~evaluation.is_gate, config),
    )


def _conclude(
    evaluation: Evaluation,
    config: GateConfig,
    gate: Half | None,
    floors: tuple[Floor, ...],
    taken_back: str | None,
) -> tuple[Literal["promote", "refuse"], str]:
    challenger, champion = evaluation.challenger, evaluation.champion
    if taken_back:
        return "refuse", f"this very model was taken back by a rollback at {taken_back}"
    if gate is None:
        return "refuse", "no example is left to decide by: one of the models was trained on all of them"
    if champion and (lost := [name for name in champion.class_names if name not in challenger.class_names]):
        return "refuse", f"it does not know the classes {' '.join(lost)}, which {champion.name} does"
    if missed := [floor for floor in floors if not floor.is_met]:
        return "refuse", "; ".join(f"{floor.what} is {floor.found}, not {floor.wanted}" for floor in missed)
    met = ", ".join(f"{floor.what} {floor.found}" for floor in floors)
    if champion is None:
        return "promote", f"no model is in use yet; {f'every floor is met: {met}' if met else 'no floor is set'}"
    found = gate.comparison
    what = (
        f"{_percent(gate.challenger.accuracy)} against {_percent(gate.champion.accuracy)} of {gate.num_examples:,} "
        f"examples; it alone is right in {found.only_challenger_right:,}, {champion.name} alone in "
        f"{found.only_champion_right:,}"
    )
    if new := [name for name in challenger.class_names if name not in champion.class_names]:
        what += f"; {champion.name} does not know the classes {' '.join(new)}, and is wrong there"
    if config.policy == "better":
        is_better = found.p_value <= config.significance_level
        chance = f"p = {found.p_value:.2g}, at most {config.significance_level:g} is allowed"
        told = f"{'' if is_better else 'not '}better than {champion.name}"
        told += " by more than chance" if not is_better and found.difference > 0 else ""
        return "promote" if is_better else "refuse", f"{told}: {what}; {chance}"
    is_borne = found.lower_bound > -config.margin
    told = "not worse than" if is_borne else "perhaps worse than"
    bound = f"with a chance of {1 - config.significance_level:.0%} by {_points(found.lower_bound)} or more"
    margin = f"-{_points(config.margin).lstrip('+')} is not borne"
    return "promote" if is_borne else "refuse", f"{told} {champion.name}: {what}; {bound}; {margin}"


def _half(evaluation: Evaluation, members: np.ndarray, config: GateConfig) -> Half | None:
    challenger, champion = evaluation.challenger, evaluation.champion
    has_seen = challenger.has_seen | champion.has_seen if champion else challenger.has_seen
    chosen = members & ~has_seen
    if not chosen.any():
        return None
    labels = evaluation.labels[chosen]
    comparison = None
    if champion:
        challenger_is_right = challenger.predicted[chosen] == labels
        found = significance.compare(challenger_is_right, champion.predicted[chosen] == labels)
        comparison = Comparison(
            found.only_first_right,
            found.only_second_right,
            found.accuracy,
            significance.interval(
                found.only_first_right, found.only_second_right, len(labels), 1 - 2 * config.significance_level
            )[0],
            found.p_value_better,
        )
    return Half(
        num_examples=len(labels),
        left_out=int((members & has_seen).sum()),
        challenger=_figures(challenger, labels, chosen, evaluation.class_names),
        champion=_figures(champion, labels, chosen, evaluation.class_names) if champion else None,
        comparison=comparison,
    )


def _figures(model: Contestant, labels: np.ndarray, chosen: np.ndarray, class_names: tuple[str, ...]) -> Figures:
    is_right = model.predicted[chosen] == labels
    per_class = {
        class_names[number]: ClassFigures(float(is_right[labels == number].mean()), int((labels == number).sum()))
        for number in np.unique(labels)
    }
    error = metrics.calibration_error(model.confidence[chosen], is_right)
    return Figures(float(is_right.mean()), float(error), per_class)


def _floors(evaluation: Evaluation, figures: Figures, config: GateConfig) -> tuple[Floor, ...]:
    """Those that are set, each with what the challenger has."""
    floors = []
    if config.min_accuracy > 0:
        floors.append(_at_least("accuracy", config.min_accuracy, figures.accuracy))
    if config.min_recall > 0:
        floors.append(_recall_floor(figures, config))
    if config.max_calibration_error < 1:
        error, limit = figures.calibration_error, config.max_calibration_error
        floors.append(Floor("calibration error", f"at most {_percent(limit)}", _percent(error), error <= limit))
    limits = (
        ("latency", config.max_latency_ms, evaluation.challenger.latency_ms, "ms"),
        ("size", config.max_model_mb, evaluation.challenger.model_mb, "MB"),
    )
    for what, limit, found, unit in limits:
        if limit is not None:
            floors.append(Floor(what, f"at most {limit:g} {unit}", f"{found:.2f} {unit}", found <= limit))
    return tuple(floors)


def _recall_floor(figures: Figures, config: GateConfig) -> Floor:
    least = config.min_examples_per_class
    counted = {name: found.recall for name, found in figures.per_class.items() if found.num_examples >= least}
    if not counted:
        return Floor("the recall of classes", f"known: none has {least} examples", "unknown", False)
    worst = min(counted, key=counted.get)
    floor = _at_least(f"the lowest recall, of {worst},", config.min_recall, counted[worst])
    others = sum(recall < config.min_recall for recall in counted.values()) - 1
    return replace(floor, found=f"{floor.found} (and {others} more are too low)") if others > 0 else floor


def _at_least(what: str, limit: float, found: float) -> Floor:
    return Floor(what, f"at least {_percent(limit)}", _percent(found), found >= limit)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f} points"
