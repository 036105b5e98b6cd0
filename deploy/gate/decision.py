"""The gate's decision: whether the new model, the challenger, replaces the one in use, the champion. Pure functions.

Both models are evaluated on the same examples: those of the test split that `holdout` assigns to the gate, except any
that either was trained on. The challenger has to meet every threshold. It also has to be better by more than chance
(McNemar's exact test, one-sided: Dietterich, "Approximate statistical tests for comparing supervised classification
learning algorithms", 1998) or, under policy `not_worse`, not worse by a margin (the paired interval's lower end).

Lines of one writer, or page, are alike. So it is the groups that are compared: by the same test with the errors of a
group in the place of those of an example, and by an interval from groups drawn again. Both need several groups.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from deploy.config.settings import GateConfig
from deploy.gate import figures
from deploy.gate.figures import Evaluation, SubsetFigures, Threshold, percent

Outcome = Literal["promote", "refuse"]

LEAST_GROUPS = 8
"""With fewer, even a model that is better in each group would be so by chance once in 128 times or more often."""
_GROUPS_OF_A_TEST_SPLIT = 24
"""Half of so many are at least `LEAST_GROUPS` in 97 of 100 cases."""


class Cause(Enum):
    """The fact that decides, and its outcome. Of several that hold, the first counts."""

    ROLLED_BACK = "this very model was rolled back", "refuse"
    NO_EXAMPLES = "no examples are left to decide on", "refuse"
    TOO_FEW_GROUPS = "the examples to decide on are of too few groups", "refuse"
    CLASSES_LOST = "it lacks classes that the champion knows", "refuse"
    THRESHOLDS_MISSED = "it does not meet every threshold", "refuse"
    NO_CHAMPION = "no model is in use yet", "promote"
    BETTER = "policy better: its accuracy is higher, by more than chance", "promote"
    BETTER_BY_CHANCE = "policy better: its accuracy is higher, but that may be chance", "refuse"
    NOT_BETTER = "policy better: its accuracy is not higher", "refuse"
    NOT_WORSE = "policy not_worse: its accuracy is not lower by the margin or more", "promote"
    PERHAPS_WORSE = "policy not_worse: its accuracy may be lower by the margin or more", "refuse"

    @property
    def outcome(self) -> Outcome:
        return self.value[1]


@dataclass(frozen=True)
class Evidence:
    """The facts that a verdict is based on."""

    config: GateConfig
    champion: str | None
    """The champion's name; None if no model is in use yet."""
    gate: SubsetFigures | None
    """Figures on the gate's half; None if no examples are left to decide on."""
    group_by: str | None = None
    """What a group of lines is, such as `writer`; None for examples without groups."""
    thresholds: tuple[Threshold, ...] = ()
    lost_classes: tuple[str, ...] = ()
    """Classes that only the champion knows."""
    new_classes: tuple[str, ...] = ()
    """Classes that only the challenger knows."""
    rolled_back_at: str | None = None
    """When this very model was rolled back by hand, if it was."""

    @property
    def missed(self) -> tuple[Threshold, ...]:
        return tuple(threshold for threshold in self.thresholds if not threshold.is_met)


@dataclass(frozen=True)
class Verdict:
    """What was decided, and on which evidence."""

    cause: Cause
    evidence: Evidence


@dataclass(frozen=True)
class Decision:
    """The gate's decision, with everything that led to it, as `gate.json` records it."""

    outcome: Outcome
    reason: str
    """The reason in words."""
    challenger: str
    champion: str | None
    challenger_fingerprint: str
    champion_fingerprint: str | None
    data_fingerprint: str
    config: GateConfig
    thresholds: tuple[Threshold, ...]
    latency_ms: float
    model_mb: float
    gate: SubsetFigures | None
    """Figures on the gate's half; None if no examples were left to decide on."""
    reporting: SubsetFigures | None
    """Figures on the other half, which plays no part in the decision."""


def decide(evaluation: Evaluation, config: GateConfig, rolled_back_at: str | None = None) -> Decision:
    """Decides whether to serve the challenger. `rolled_back_at`: when this very model was rolled back, if it was."""
    challenger, champion = evaluation.challenger, evaluation.champion
    evidence = _to_evidence(evaluation, config, rolled_back_at)
    verdict = judge(evidence)
    return Decision(
        outcome=verdict.cause.outcome,
        reason=explain(verdict),
        challenger=challenger.name,
        champion=champion.name if champion else None,
        challenger_fingerprint=challenger.fingerprint,
        champion_fingerprint=champion.fingerprint if champion else None,
        data_fingerprint=evaluation.data_fingerprint,
        config=config,
        thresholds=evidence.thresholds,
        latency_ms=challenger.latency_ms,
        model_mb=challenger.model_mb,
        gate=evidence.gate,
        reporting=figures.of_subset(evaluation, ~evaluation.is_gate, config.significance_level),
    )


def _to_evidence(evaluation: Evaluation, config: GateConfig, rolled_back_at: str | None) -> Evidence:
    challenger, champion = evaluation.challenger, evaluation.champion
    gate = figures.of_subset(evaluation, evaluation.is_gate, config.significance_level)
    known, champions = challenger.class_names, champion.class_names if champion else ()
    return Evidence(
        config=config,
        champion=champion.name if champion else None,
        gate=gate,
        group_by=evaluation.group_by,
        thresholds=figures.check_thresholds(evaluation, gate.challenger, config) if gate else (),
        lost_classes=tuple(name for name in champions if name not in known),
        new_classes=tuple(name for name in known if name not in champions),
        rolled_back_at=rolled_back_at,
    )


def judge(evidence: Evidence) -> Verdict:
    """The verdict: the first cause that holds."""
    return Verdict(_find_cause(evidence), evidence)


def _find_cause(evidence: Evidence) -> Cause:
    if evidence.rolled_back_at:
        return Cause.ROLLED_BACK
    if evidence.gate is None:
        return Cause.NO_EXAMPLES
    if evidence.gate.num_groups is not None and evidence.gate.num_groups < LEAST_GROUPS:
        return Cause.TOO_FEW_GROUPS
    if evidence.lost_classes:
        return Cause.CLASSES_LOST
    if evidence.missed:
        return Cause.THRESHOLDS_MISSED
    if evidence.champion is None:
        return Cause.NO_CHAMPION
    comparison, config = evidence.gate.comparison, evidence.config
    if config.policy == "not_worse":
        return Cause.NOT_WORSE if comparison.lower_bound > -config.margin else Cause.PERHAPS_WORSE
    if comparison.p_value <= config.significance_level:
        return Cause.BETTER
    return Cause.BETTER_BY_CHANCE if comparison.difference > 0 else Cause.NOT_BETTER


def explain(verdict: Verdict) -> str:
    """The reason of a verdict in words, with the figures."""
    evidence, champion = verdict.evidence, verdict.evidence.champion
    match verdict.cause:
        case Cause.ROLLED_BACK:
            return f"this very model was rolled back at {evidence.rolled_back_at}"
        case Cause.NO_EXAMPLES:
            return "no examples are left to decide on: each was used to train one of the models"
        case Cause.TOO_FEW_GROUPS:
            return (
                f"too few to decide on: the {evidence.gate.num_examples:,} lines of the gate's half are of "
                f"{_count(evidence.gate.num_groups, evidence.group_by)}, not at least {LEAST_GROUPS}; a test split of "
                f"{_GROUPS_OF_A_TEST_SPLIT} {evidence.group_by}s nearly always has that many in each half"
            )
        case Cause.CLASSES_LOST:
            return f"it lacks the {_classes(evidence)} {' '.join(evidence.lost_classes)}, which {champion} knows"
        case Cause.THRESHOLDS_MISSED:
            return "; ".join(
                f"{threshold.name} is {threshold.measured}, not {threshold.required}" for threshold in evidence.missed
            )
        case Cause.NO_CHAMPION:
            met = ", ".join(f"{threshold.name} {threshold.measured}" for threshold in evidence.thresholds)
            return f"no model is in use yet; {f'every threshold is met: {met}' if met else 'no threshold is set'}"
        case Cause.BETTER:
            return f"better than {champion}: {_compared(evidence)}; {_chance(evidence)}"
        case Cause.BETTER_BY_CHANCE:
            return f"not better than {champion} by more than chance: {_compared(evidence)}; {_chance(evidence)}"
        case Cause.NOT_BETTER:
            return f"not better than {champion}: {_compared(evidence)}; {_chance(evidence)}"
        case Cause.NOT_WORSE:
            return f"not worse than {champion}: {_compared(evidence)}; {_margin(evidence)}"
        case Cause.PERHAPS_WORSE:
            return f"perhaps worse than {champion}: {_compared(evidence)}; {_margin(evidence)}"


def _compared(evidence: Evidence) -> str:
    text = _compared_groups(evidence) if evidence.group_by else _compared_examples(evidence)
    if evidence.new_classes:
        new = f"{_classes(evidence)} {' '.join(evidence.new_classes)}"
        text += f"; {evidence.champion} does not know the {new}, and is wrong there"
    return text


def _compared_examples(evidence: Evidence) -> str:
    gate, comparison = evidence.gate, evidence.gate.comparison
    return (
        f"{percent(gate.challenger.accuracy)} against {percent(gate.champion.accuracy)} of {gate.num_examples:,} "
        f"examples; it alone is right in {comparison.only_challenger_right:,}, {evidence.champion} alone in "
        f"{comparison.only_champion_right:,}"
    )


def _compared_groups(evidence: Evidence) -> str:
    gate, comparison = evidence.gate, evidence.gate.comparison
    of_groups = "" if evidence.group_by == "line" else f" of {_count(gate.num_groups, evidence.group_by)}"
    return (
        f"error rate {percent(1 - gate.challenger.accuracy)} against {percent(1 - gate.champion.accuracy)} on "
        f"{gate.num_examples:,} lines{of_groups}; it has fewer errors in {comparison.only_challenger_right:,} lines, "
        f"{evidence.champion} in {comparison.only_champion_right:,}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _classes(evidence: Evidence) -> str:
    return "characters" if evidence.group_by else "classes"


def _chance(evidence: Evidence) -> str:
    return f"p = {evidence.gate.comparison.p_value:.2g}, at most {evidence.config.significance_level:g} is allowed"


def _margin(evidence: Evidence) -> str:
    config, bound = evidence.config, _points(evidence.gate.comparison.lower_bound)
    margin = f"-{_points(config.margin).lstrip('+')} would be refused"
    return f"the difference is, with {1 - config.significance_level:.0%} confidence, at least {bound}; {margin}"


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f} points"
