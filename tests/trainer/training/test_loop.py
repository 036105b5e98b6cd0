"""The ends of epochs, step blocks and the whole training."""

from dataclasses import replace

import pytest

from tests.support.settings import changed, train_config
from trainer.training.epochs import make_plan

CONFIG = train_config("d", "r", global_batch_size=30)


def spans(plan, start: int = 0, count: int = 1000) -> list[tuple[int, int]]:
    collected = []
    for span in plan.blocks(start):
        collected.append(span)
        if len(collected) == count:
            break
    return collected


def test_epochs_differ_by_a_step_because_batches_run_on():
    plan = make_plan(replace(CONFIG, epochs=4), 100, 1)
    assert plan.total_steps == 13
    assert [plan.end_of_epoch(epoch) for epoch in (1, 2, 3, 4)] == [3, 6, 10, 13]


def test_no_block_runs_across_the_end_of_an_epoch():
    assert spans(make_plan(replace(CONFIG, epochs=4), 100, 2)) == [
        *[(0, 2), (2, 1)],
        *[(3, 2), (5, 1)],
        *[(6, 2), (8, 2)],
        *[(10, 2), (12, 1)],
    ]


@pytest.mark.parametrize("settings", [{"epochs": 4}, {"steps": 40}, {"epochs": 9, "checkpoint_steps": 4}])
def test_resumed_at_any_end_of_a_block_the_blocks_are_the_same(settings):
    plan = make_plan(changed(CONFIG, **settings), 100, 3)
    whole = spans(plan)
    assert sum(count for _, count in whole) == plan.total_steps
    for number, (start, _) in enumerate(whole):
        assert spans(plan, start) == whole[number:]


def test_a_length_in_steps_cuts_the_last_epoch():
    plan = make_plan(replace(CONFIG, steps=8), 100, 10)
    assert [plan.end_of_epoch(epoch) for epoch in (1, 2, 3)] == [3, 6, 8]
    assert spans(plan) == [(0, 3), (3, 3), (6, 2)]


def test_each_multiple_of_the_checkpoint_steps_ends_a_call():
    plan = make_plan(changed(CONFIG, steps=9, checkpoint_steps=4), 1000, 3)
    assert spans(plan) == [(0, 3), (3, 1), (4, 3), (7, 1), (8, 1)]


def test_a_length_in_minutes_has_no_last_step():
    plan = make_plan(replace(CONFIG, max_minutes=0.5), 100, 5)
    assert (plan.total_steps, plan.max_seconds) == (None, 30)
    assert spans(plan, count=3) == [(0, 3), (3, 3), (6, 4)]


def test_a_smoke_test_is_two_steps():
    assert spans(make_plan(replace(CONFIG, epochs=4, smoke=True), 100, 1)) == [(0, 1), (1, 1)]
    assert make_plan(replace(CONFIG, max_minutes=9, smoke=True), 100, 1).max_seconds is None
