"""The plan of a training: where its epochs, blocks and the whole training end, in steps."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.config.settings import TrainConfig


@dataclass(frozen=True)
class Plan:
    """Where epochs and the whole training end, in steps."""

    num_examples: int
    global_batch_size: int
    steps_per_execution: int
    total_steps: int | None
    """None if the training ends by time."""
    max_seconds: float | None
    checkpoint_steps: int | None

    def end_of_epoch(self, number: int) -> int:
        """The last step of an epoch, counted from 1. A batch may span two epochs, so epochs may differ by a step."""
        end = number * self.num_examples // self.global_batch_size
        return end if self.total_steps is None else min(end, self.total_steps)

    def blocks(self, step: int) -> Iterator[tuple[int, int]]:
        """Yields (first step, count) of each block from `step` on; none crosses an epoch's end or a checkpoint."""
        while self.total_steps is None or step < self.total_steps:
            epoch = step * self.global_batch_size // self.num_examples + 1
            ends = [
                step + self.steps_per_execution,
                *(end for end in map(self.end_of_epoch, (epoch, epoch + 1)) if end > step),
            ]
            if self.checkpoint_steps:
                ends.append(step + self.checkpoint_steps - step % self.checkpoint_steps)
            yield step, min(ends) - step
            step = min(ends)


def make_plan(config: TrainConfig, num_examples: int, steps_per_execution: int) -> Plan:
    """The plan for the length that `config` gives; two steps for a smoke test."""
    total_steps = config.steps
    if config.epochs is not None:
        total_steps = config.epochs * num_examples // config.global_batch_size
    max_seconds = None if config.max_minutes is None else 60 * config.max_minutes
    if config.smoke:
        total_steps, max_seconds = 2, None
    batch = config.global_batch_size
    return Plan(num_examples, batch, steps_per_execution, total_steps, max_seconds, config.checkpoint.steps)
