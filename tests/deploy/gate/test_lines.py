"""The gate on lines of text: the errors of groups are compared, and the groups are divided as a whole."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from common.dataset import schema as schemas
from common.errors import InputError
from deploy.config.settings import GateConfig
from deploy.gate.decision import decide
from deploy.gate.figures import Candidate, Evaluation, check_settings
from trainer.evaluation.scores import Scores

WRITERS, LINES, LENGTH = 28, 10, 50
GROUPS = np.repeat(np.arange(WRITERS), LINES)
N = len(GROUPS)
IS_GATE = GROUPS % 2 == 0
CHARACTERS = tuple(" abc")


def candidate(name: str, errors: np.ndarray, groups: np.ndarray = GROUPS, **changes) -> Candidate:
    """A model with so many wrong characters in each line of 50."""
    scores = Scores(errors, np.full(N, LENGTH), np.full(N, 0.9, np.float32), groups)
    return replace(Candidate(name, name, CHARACTERS, scores, np.zeros(N, bool), 3.0, 1.2), **changes)


def evaluation(challenger: Candidate, champion: Candidate | None = None) -> Evaluation:
    return Evaluation("data", CHARACTERS, np.empty(0, np.int64), IS_GATE, challenger, champion, "writer")


CHAMPION = candidate("version 3", np.full(N, 4))
BETTER = candidate("run", np.where(GROUPS % 4 == 0, 3, 4))  # by one in each line of half of the writers


def test_a_model_with_fewer_errors_in_enough_groups_is_promoted():
    decision = decide(evaluation(BETTER, CHAMPION), GateConfig())
    assert decision.outcome == "promote"
    assert decision.gate.comparison.p_value == 2**-7
    assert decision.reason == (
        "better than version 3: error rate 7.00 % against 8.00 % on 140 lines of 14 writers; it has fewer errors in 70 "
        "lines, version 3 in 0; p = 0.0078, at most 0.05 is allowed"
    )


def test_where_each_line_is_its_own_group_lines_are_counted_alone():
    single = [replace(model, scores=replace(model.scores, groups=np.arange(N))) for model in (BETTER, CHAMPION)]
    decision = decide(replace(evaluation(*single), group_by="line"), GateConfig())
    assert "on 140 lines; it has fewer errors" in decision.reason
    assert decision.gate.comparison.p_value == 2**-70


def test_many_lines_of_few_groups_are_not_enough():
    """In forty lines of two writers it has fewer errors, in none more: by chance once in four times."""
    challenger = candidate("run", np.where(GROUPS < 4, 0, 4))
    decision = decide(evaluation(challenger, CHAMPION), GateConfig())
    assert decision.gate.comparison.only_challenger_right == 20
    assert decision.gate.comparison.p_value == 1 / 4
    assert decision.outcome == "refuse"
    assert decision.reason.startswith("not better than version 3 by more than chance: error rate 6.86 % against 8.00 %")


def test_the_p_value_is_the_share_of_all_ways_to_flip_the_signs_of_groups():
    random = np.random.default_rng(0)
    errors = [random.poisson(4, N), random.poisson(4.3, N)]
    comparison = decide(evaluation(*map(candidate, "ab", errors)), GateConfig()).gate.comparison
    gains = np.bincount(GROUPS[IS_GATE], (errors[1] - errors[0])[IS_GATE])[::2]
    sums = np.array(list(itertools.product((-1, 1), repeat=14))) @ gains
    assert comparison.p_value == pytest.approx((sums >= gains.sum()).mean())
    assert comparison.difference == pytest.approx(gains.sum() / (140 * LENGTH))


def test_chance_promotes_as_seldom_as_the_level_says_though_lines_of_a_writer_are_alike():
    """With lines as groups of their own, more than a quarter would be promoted."""
    random = np.random.default_rng(0)
    outcomes = {"writer": [], "line": []}
    for _ in range(200):
        errors = [random.poisson(random.gamma(2, 2, WRITERS)[GROUPS]) for _ in range(2)]
        for group_by, groups in (("writer", GROUPS), ("line", np.arange(N))):
            pair = [candidate("x", wrong, groups) for wrong in errors]
            outcomes[group_by].append(decide(evaluation(*pair), GateConfig(significance_level=0.1)).outcome)
    shares = {group_by: np.mean(np.array(decided) == "promote") for group_by, decided in outcomes.items()}
    assert 0.05 < shares["writer"] < 0.15
    assert shares["line"] > 0.25


@pytest.mark.parametrize(("num_groups", "outcome"), [(8, "promote"), (7, "refuse")])
def test_with_fewer_than_eight_groups_nothing_is_decided(num_groups, outcome):
    few = np.minimum(GROUPS, 2 * num_groups - 2)
    models = [replace(model, scores=replace(model.scores, groups=few)) for model in (BETTER, CHAMPION)]
    for champion in (models[1], None):
        decision = decide(evaluation(models[0], champion), GateConfig(significance_level=0.2))
        assert decision.outcome == outcome
        assert decision.gate.num_groups == num_groups
    if outcome == "refuse":
        assert decision.reason == (
            "too few to decide on: the 140 lines of the gate's half are of 7 writers, not at least 8; a test split of "
            "24 writers nearly always has that many in each half"
        )


def test_lines_that_a_model_was_trained_on_do_not_decide_nor_do_their_groups_count():
    seen = replace(CHAMPION, has_seen=np.isin(GROUPS, (0, 2)))
    half = decide(evaluation(BETTER, seen), GateConfig()).gate
    assert (half.num_examples, half.left_out, half.num_groups) == (120, 20, 12)


def test_not_worse_is_a_matter_of_groups_drawn_again():
    """Nothing is lost on average, but half of the writers are read better, half worse."""
    mixed = candidate("run", np.where(GROUPS % 4 == 0, 3, 5))
    config = GateConfig(policy="not_worse", margin=0.005)
    decision = decide(evaluation(mixed, CHAMPION), config)
    assert decision.gate.comparison.difference == 0
    assert -0.012 < decision.gate.comparison.lower_bound < -0.005
    assert decision.reason.startswith("perhaps worse than version 3: error rate 8.00 % against 8.00 % on 140 lines")
    equal = candidate("run", np.full(N, 4))
    assert decide(evaluation(equal, CHAMPION), config).outcome == "promote"


def test_characters_that_are_served_do_not_get_lost():
    champion = replace(CHAMPION, class_names=(*CHARACTERS, "é"))
    decision = decide(evaluation(BETTER, champion), GateConfig())
    assert (decision.outcome, decision.reason) == ("refuse", "it lacks the characters é, which version 3 knows")


def test_the_lowest_accuracy_is_that_of_characters():
    decision = decide(evaluation(BETTER), GateConfig(min_accuracy=0.94))
    assert (decision.outcome, decision.reason) == ("refuse", "accuracy is 93.00 %, not at least 94.00 %")
    assert decision.gate.challenger.calibration_error == pytest.approx(0.03)


def test_a_threshold_that_lines_cannot_have_is_refused_by_its_name():
    lines, characters = schemas.lines(CHARACTERS, (), (32, 64), 9, 3), schemas.characters(CHARACTERS)
    with pytest.raises(
        InputError, match=r"^gate.min_recall 0.5: lines have no classes .* set gate.min_accuracy instead"
    ):
        check_settings(GateConfig(min_recall=0.5), lines)
    check_settings(GateConfig(min_recall=0.5), characters)
    check_settings(GateConfig(min_accuracy=0.5, min_coverage=0.5, max_calibration_error=0.1), lines)
