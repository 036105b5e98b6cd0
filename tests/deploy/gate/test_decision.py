"""The gate's decision: the conditions on which a model replaces another."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from common import config_io
from deploy.config.settings import GateConfig
from deploy.gate.decision import Cause, Evidence, decide, explain, judge
from deploy.gate.figures import Candidate, Evaluation, Threshold, of_subset
from trainer.evaluation.scores import Scores

CLASSES = ("0", "1", "2", "3")
N = 2000
LABELS = np.arange(N) % 4
IS_GATE = np.arange(N) // 4 % 2 == 0


def candidate(name: str, wrong: np.ndarray, **changes) -> Candidate:
    """A model that is wrong in the examples numbered `wrong`, and sure of nothing else."""
    predicted = LABELS.copy()
    predicted[wrong] = (predicted[wrong] + 1) % 4
    nothing = np.zeros(N, bool)
    return replace(Candidate(name, name, CLASSES, scores_of(predicted), nothing, 3.0, 1.2), **changes)


def scores_of(predicted: np.ndarray, labels: np.ndarray | None = None) -> Scores:
    wrong = (predicted != (LABELS if labels is None else labels)).astype(int)
    return Scores(wrong, np.ones(N, int), np.full(N, 0.9, np.float32))


def evaluation(challenger: Candidate, champion: Candidate | None = None) -> Evaluation:
    return Evaluation("data", CLASSES, LABELS, IS_GATE, challenger, champion)


GATE, OTHERS = np.flatnonzero(IS_GATE), np.flatnonzero(~IS_GATE)
CHAMPION = candidate("version 3", GATE[:100])  # 90 % of the 1,000 that decide


def test_a_model_that_is_better_by_more_than_chance_is_promoted():
    decision = decide(evaluation(candidate("run", GATE[:60]), CHAMPION), GateConfig())
    assert decision.outcome == "promote"
    assert decision.gate.comparison.p_value == binomtest(40, 40, alternative="greater").pvalue
    assert decision.reason == (
        "better than version 3: 94.00 % against 90.00 % of 1,000 examples; it alone is right in 40, version 3 alone "
        "in 0; p = 9.1e-13, at most 0.05 is allowed"
    )


def test_a_model_that_is_better_by_chance_is_refused():
    challenger = candidate("run", np.concatenate([GATE[:70], GATE[100:128]]))  # 30 won, 28 lost
    decision = decide(evaluation(challenger, CHAMPION), GateConfig())
    assert decision.outcome == "refuse"
    assert decision.reason.startswith("not better than version 3 by more than chance: 90.20 % against 90.00 %")
    assert decision.gate.comparison.p_value == pytest.approx(binomtest(30, 58, alternative="greater").pvalue)


def test_a_model_that_is_worse_is_refused():
    decision = decide(evaluation(candidate("run", GATE[:120]), CHAMPION), GateConfig())
    assert decision.outcome == "refuse"
    assert decision.reason.startswith("not better than version 3: 88.00 % against 90.00 %")


@pytest.mark.parametrize(("won", "is_promoted"), [(38, True), (37, False)])
def test_the_level_is_that_of_one_side(won, is_promoted):
    """28 lost: with 38 won the one-sided p is 0.13, the two-sided 0.27."""
    challenger = candidate("run", np.concatenate([GATE[won:100], GATE[100:128]]))
    level = binomtest(38, 66, alternative="greater").pvalue + 1e-6
    decision = decide(evaluation(challenger, CHAMPION), GateConfig(significance_level=level))
    assert (decision.outcome == "promote") == is_promoted


def test_chance_promotes_as_seldom_as_the_level_says():
    random = np.random.default_rng(0)
    decisions = []
    for _ in range(400):
        challenger, champion = (candidate("x", np.flatnonzero(random.random(N) < 0.1)) for _ in range(2))
        decisions.append(decide(evaluation(challenger, champion), GateConfig(significance_level=0.1)).outcome)
    assert 0.04 < np.mean(np.array(decisions) == "promote") <= 0.12


def test_the_half_for_reporting_decides_nothing():
    better_there = candidate("run", GATE[:100])
    worse_there = candidate("run", np.concatenate([GATE[:100], OTHERS]))
    decisions = [decide(evaluation(model, CHAMPION), GateConfig()) for model in (better_there, worse_there)]
    assert decisions[0].reason == decisions[1].reason
    assert [decision.reporting.challenger.accuracy for decision in decisions] == [1, 0]
    assert decisions[0].reporting.num_examples == 1000


def test_examples_that_a_model_was_trained_on_do_not_decide():
    has_seen = np.isin(np.arange(N), GATE[100:])
    challenger = candidate("run", GATE[:100])  # right only in what the champion was trained on, as the champion
    champion = replace(candidate("version 3", GATE[:50]), has_seen=has_seen)
    half = decide(evaluation(challenger, champion), GateConfig()).gate
    assert (half.num_examples, half.left_out) == (100, 900)
    assert (half.challenger.accuracy, half.champion.accuracy) == (0, 0.5)
    seen_by_challenger = replace(challenger, has_seen=np.isin(np.arange(N), GATE[50:]))
    assert decide(evaluation(seen_by_challenger, champion), GateConfig()).gate.num_examples == 50


def test_where_all_examples_were_trained_on_nothing_can_be_decided():
    challenger = replace(candidate("run", GATE[:1]), has_seen=np.ones(N, bool))
    decision = decide(evaluation(challenger), GateConfig())
    assert (decision.outcome, decision.gate) == ("refuse", None)
    assert "no examples are left to decide on" in decision.reason


def test_without_a_model_in_use_the_thresholds_decide_alone():
    challenger = candidate("run", GATE[:100])
    good = decide(evaluation(challenger), GateConfig(min_accuracy=0.9))
    assert (good.outcome, good.reason) == (
        "promote",
        "no model is in use yet; every threshold is met: accuracy 90.00 %",
    )
    bad = decide(evaluation(challenger), GateConfig(min_accuracy=0.91))
    assert (bad.outcome, bad.reason) == ("refuse", "accuracy is 90.00 %, not at least 91.00 %")


@pytest.mark.parametrize(
    ("threshold", "reason"),
    [
        ({"min_accuracy": 0.99}, "accuracy is 98.00 %, not at least 99.00 %"),
        ({"min_recall": 0.95}, "the lowest recall, of 2, is 92.00 %, not at least 95.00 %"),
        ({"max_calibration_error": 0.05}, "calibration error is 8.00 %, not at most 5.00 %"),
        ({"min_coverage": 0.9}, "the coverage at 1 % error is 50.00 %, not at least 90.00 %"),
        ({"max_latency_ms": 2.5}, "latency is 3.00 ms, not at most 2.5 ms"),
        ({"max_model_mb": 1}, "size is 1.20 MB, not at most 1 MB"),
        ({"min_recall": 0.5, "min_examples_per_class": 251}, "the recall of classes is unknown"),
    ],
)
def test_every_threshold_has_to_be_met_however_much_better_the_model_is(threshold, reason):
    twos = GATE[LABELS[GATE] == 2]
    challenger = candidate("run", twos[:20], threshold=0.95)  # of 250
    sure = np.where(LABELS < 2, np.float32(0.97), np.float32(0.83))  # 0.9 on average
    challenger = replace(challenger, scores=replace(challenger.scores, confidence=sure))
    decision = decide(evaluation(challenger, CHAMPION), GateConfig(**threshold))
    assert decision.outcome == "refuse"
    assert decision.reason.startswith(reason)
    assert [threshold.is_met for threshold in decision.thresholds] == [False]


def test_a_model_that_promises_nothing_covers_nothing_that_is_known():
    earlier = evaluation(candidate("run", GATE[:10]))
    assert decide(earlier, GateConfig()).outcome == "promote"
    decision = decide(earlier, GateConfig(min_coverage=0.1))
    assert (decision.outcome, decision.gate.challenger.coverage) == ("refuse", None)
    assert decision.reason.startswith("the coverage at 1 % error is unknown, not measurable: the model was exported")
    hopeless = evaluation(candidate("run", GATE[:10], threshold=np.inf))
    assert decide(hopeless, GateConfig(min_coverage=0.1)).reason.startswith("the coverage at 1 % error is 0.00 %")
    assert decide(hopeless, GateConfig(min_coverage=0.0)).outcome == "promote"


def test_of_many_classes_that_are_too_low_the_lowest_is_told():
    threes, ones = (GATE[LABELS[GATE] == number] for number in (3, 1))
    challenger = candidate("run", np.concatenate([threes[:50], ones[:25]]))
    (threshold,) = decide(evaluation(challenger), GateConfig(min_recall=0.95)).thresholds
    assert (threshold.name, threshold.measured) == ("the lowest recall, of 3,", "80.00 % (and 1 more are too low)")


def test_the_recall_of_a_rare_class_does_not_decide():
    rare = np.where(np.isin(np.arange(N), GATE[LABELS[GATE] == 3][19:]), 2, LABELS)  # 19 of class 3 are left
    predicted = np.where(rare == 3, 0, rare)
    challenger = replace(candidate("run", GATE[:0]), scores=scores_of(predicted, rare))
    with_rare_class = replace(evaluation(challenger), labels=rare)
    assert decide(with_rare_class, GateConfig(min_recall=0.9)).outcome == "promote"
    assert decide(with_rare_class, GateConfig(min_recall=0.9, min_examples_per_class=19)).outcome == "refuse"


def test_if_so_asked_a_model_that_is_not_worse_is_promoted():
    equal = candidate("run", np.concatenate([GATE[3:100], GATE[100:103]]))
    config = GateConfig(policy="not_worse", margin=0.01)
    assert decide(evaluation(equal, CHAMPION), GateConfig()).outcome == "refuse"
    decision = decide(evaluation(equal, CHAMPION), config)
    assert decision.outcome == "promote"
    assert decision.gate.comparison.lower_bound > -0.01
    assert decision.reason.startswith("not worse than version 3: 90.00 % against 90.00 %")


def test_a_model_that_may_be_worse_by_the_margin_is_refused():
    worse = candidate("run", np.concatenate([GATE[:100], GATE[100:108]]))
    decision = decide(evaluation(worse, CHAMPION), GateConfig(policy="not_worse", margin=0.01))
    assert decision.outcome == "refuse"
    assert decision.reason.startswith("perhaps worse than version 3")


def test_models_that_know_other_classes_are_compared_by_their_names():
    """The champion does not know class 3, and so is wrong there."""
    predicted = np.where(LABELS == 3, -1, LABELS)
    champion = replace(candidate("version 3", GATE[:0]), scores=scores_of(predicted), class_names=("2", "1", "0"))
    decision = decide(evaluation(candidate("run", GATE[:10]), champion), GateConfig())
    assert decision.outcome == "promote"
    assert decision.gate.champion.accuracy == 0.75
    assert "version 3 does not know the classes 3, and is wrong there" in decision.reason


def test_a_class_that_is_served_does_not_get_lost():
    champion = replace(CHAMPION, class_names=(*CLASSES, "A", "B"))
    decision = decide(evaluation(candidate("run", GATE[:0]), champion), GateConfig())
    assert decision.outcome == "refuse"
    assert decision.reason == "it lacks the classes A B, which version 3 knows"


def test_a_model_that_was_taken_back_is_not_promoted_again():
    decision = decide(evaluation(candidate("run", GATE[:0]), CHAMPION), GateConfig(), "2026-11-24T18:00:00+00:00")
    assert decision.outcome == "refuse"
    assert "rolled back at 2026-11-24" in decision.reason


MISSED = Threshold("accuracy", "at least 99.00 %", "94.00 %", is_met=False)
NOT_WORSE = GateConfig(policy="not_worse", margin=0.01)


def evidence(wrong: int = 60, config: GateConfig | None = None, **changes) -> Evidence:
    """Of a challenger that is wrong in `wrong` of the 1,000 that decide, where the champion is in 100."""
    config = config or GateConfig()
    half = of_subset(evaluation(candidate("run", GATE[:wrong]), CHAMPION), IS_GATE, config.significance_level)
    return replace(Evidence(config, "version 3", half), **changes)


@pytest.mark.parametrize(
    ("facts", "cause", "outcome"),
    [
        (evidence(rolled_back_at="then", gate=None), Cause.ROLLED_BACK, "refuse"),
        (evidence(gate=None, lost_classes=("A",)), Cause.NO_EXAMPLES, "refuse"),
        (evidence(lost_classes=("A",), thresholds=(MISSED,)), Cause.CLASSES_LOST, "refuse"),
        (evidence(thresholds=(MISSED,), champion=None), Cause.THRESHOLDS_MISSED, "refuse"),
        (evidence(champion=None), Cause.NO_CHAMPION, "promote"),
        (evidence(wrong=60), Cause.BETTER, "promote"),
        (evidence(wrong=99), Cause.BETTER_BY_CHANCE, "refuse"),
        (evidence(wrong=100), Cause.NOT_BETTER, "refuse"),
        (evidence(wrong=100, config=NOT_WORSE), Cause.NOT_WORSE, "promote"),
        (evidence(wrong=120, config=NOT_WORSE), Cause.PERHAPS_WORSE, "refuse"),
    ],
)
def test_the_first_cause_that_holds_decides(facts, cause, outcome):
    verdict = judge(facts)
    assert (verdict.cause, verdict.cause.outcome) == (cause, outcome)
    assert explain(verdict), "every cause has its words"


def test_a_decision_is_written_with_all_its_figures():
    decision = decide(evaluation(candidate("run", GATE[:60]), CHAMPION), GateConfig(min_accuracy=0.5))
    plain = json.loads(json.dumps(config_io.to_plain(decision)))
    assert plain["gate"]["challenger"]["per_class"]["1"] == {"recall": 0.94, "num_examples": 250}
    assert plain["gate"]["comparison"]["only_challenger_right"] == 40
    assert plain["config"]["significance_level"] == 0.05
    assert plain["thresholds"][0] == {
        "name": "accuracy",
        "required": "at least 50.00 %",
        "measured": "94.00 %",
        "is_met": True,
    }
