"""The training loop: steps, epochs, checkpoints, and when to stop."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from common.errors import FailedError, InputError, StoppedError
from common.signals import StopRequest
from trainer.data.feeds import StepBlock
from trainer.evaluation.metrics import Metrics
from trainer.runs import run_folder
from trainer.training import checkpoints, optimizers
from trainer.training.checkpoints import Progress, Weights
from trainer.training.epochs import Plan
from trainer.training.hooks import Hook
from trainer.training.monitor import Pace, Profile
from trainer.training.setup import Setup
from trainer.training.training_step import Outcome, TrainState, TrainSteps

_log = logging.getLogger(__name__)


class Training:
    """A training that can be saved and resumed between any two blocks of steps."""

    def __init__(
        self, setup: Setup, plan: Plan, train_state: TrainState, progress: Progress, hooks: Sequence[Hook] = ()
    ) -> None:
        """Only the chief has `hooks`; the other workers write nothing."""
        self.progress, self.schedule = (
            progress,
            optimizers.make_schedule(setup.config.schedule, setup.config.optimizer.learning_rate),
        )
        self._config, self._run_dir, self._task = setup.config, setup.run_dir, setup.task
        self._plan, self._train_state, self._hooks = plan, train_state, hooks
        self._best: dict[str, np.ndarray] = {}
        self._saved_at = time.monotonic()

    def run(
        self,
        train_steps: TrainSteps,
        make_blocks: Callable[[Iterator[tuple[int, int]]], Iterator[StepBlock]],
        validate: Callable[[], Metrics] | None,
        stop: StopRequest,
    ) -> None:
        """Trains to the end. `validate` evaluates `weights_to_evaluate` on the validation split, if there is one.

        If a stop is requested, saves a checkpoint and raises `StoppedError` or `KeyboardInterrupt`. Raises
        `FailedError` if the loss becomes NaN or infinite.
        """
        progress, plan = self.progress, self._plan
        if progress.is_finished:
            return
        blocks = make_blocks(plan.blocks(progress.step))
        start = time.monotonic() - progress.seconds
        pace = Pace(self._config, plan, progress, self._task.accuracy_in_words)
        with Profile(self._run_dir if self._config.execution.profile and self._hooks else None) as profile:
            while not progress.is_finished:
                if self._is_epoch_over():
                    pace.end_of_epoch()
                    self._finish_epoch(validate, pace)
                    pace.start_of_epoch()
                    continue
                asked_at = time.monotonic()
                block = next(blocks)
                pace.waited(time.monotonic() - asked_at)
                schedule_progress = self._schedule_progress()
                outcome = train_steps(block, schedule_progress, stop.is_made, time.monotonic() - start)
                self._account(block, outcome, schedule_progress)
                pace.took(block.count)
                profile.took(block.count)
                # With several workers, a vote lets all of them stop at the same step.
                if outcome.stop_votes or self._is_checkpoint_due():
                    self.save()
                if outcome.stop_votes:
                    if not stop.is_made:  # another worker was asked to stop
                        stop.make()
                    stop.raise_if_made()
        self.save()

    def weights_to_evaluate(self) -> list[np.ndarray]:
        """The current weights, or their average if one is kept, in the order of the network's `weights`."""
        return [weight.numpy() for weight in self._train_state.average or self._train_state.network.weights]

    def selected_weights(self) -> list[np.ndarray]:
        """The weights that the configuration selects (`select`), at the end of the training."""
        return list(self._best.values()) or self.weights_to_evaluate()

    def save(self) -> None:
        """Calls `on_save` of all hooks. Raises `FailedError` if a weight is NaN or infinite."""
        self._saved_at = time.monotonic()
        weights = {
            group: {name: variable.numpy() for name, variable in variables.items()}
            for group, variables in self._variables().items()
        }
        if not all(np.isfinite(values).all() for values in weights["network"].values()):
            self._fail("a weight", "NaN or infinite", self.progress.step, self._learning_rate())
        for hook in self._hooks:
            hook.on_save(self.progress, weights | ({"best": self._best} if self._best else {}))

    def restore(self, weights: Weights) -> None:
        """Restores all variables. Raises `InputError`, naming a variable, if they do not fit this network."""
        groups = self._variables()
        for group, variables in groups.items():
            for (name, variable), value in zip(
                variables.items(), self._matching(group, variables, weights), strict=True
            ):
                if value is None or value.shape != tuple(variable.shape):
                    self._refuse(f"{group} {name}")
                variable.assign(value)
        if "best" in weights:
            self._best = dict(zip(groups["network"], weights["best"].values(), strict=True))

    def _matching(self, group: str, variables: dict[str, Any], weights: Weights) -> list[np.ndarray | None]:
        """The saved value of each variable, by name; by order in old checkpoints, which have no names."""
        saved = weights.get(group, {})
        if len(saved) != len(variables):
            self._refuse(group)
        if all(name.isdigit() for name in saved):
            return list(saved.values())
        return [saved.get(name) for name in variables]

    def _refuse(self, part: str) -> NoReturn:
        raise InputError(
            f"{self._config.run_dir}: its checkpoints do not fit the network ({part}); give another --run-dir"
        )

    def _variables(self) -> dict[str, dict[str, Any]]:
        """All variables by group and name, without the optimizer's own name, because Keras numbers optimizers."""
        network, optimizer = self._train_state.network.weights, self._train_state.optimizer.variables
        names = [variable.path for variable in network]
        groups = {"network": dict(zip(names, network, strict=True))}
        groups["optimizer"] = {variable.path.partition("/")[2] or variable.path: variable for variable in optimizer}
        if self._train_state.average:
            groups["average"] = dict(zip(names, self._train_state.average, strict=True))
        if len(groups["network"]) < len(network) or len(groups["optimizer"]) < len(optimizer):
            raise ValueError("two weights of the network, or two of the optimizer's variables, have the same name")
        return groups

    def _schedule_progress(self) -> np.ndarray:
        """The position of each step of the next block on the schedule, 0 to 1: float32 [steps per execution]."""
        steps = np.arange(self._plan.steps_per_execution)
        if self._plan.max_seconds is not None:
            return np.full(len(steps), min(1.0, self.progress.seconds / self._plan.max_seconds), np.float32)
        return ((self.progress.step + steps) / self._plan.total_steps).astype(np.float32)

    def _learning_rate(self) -> float:
        return float(self._train_state.optimizer.learning_rate.numpy())

    def _account(self, block: StepBlock, outcome: Outcome, schedule_progress: np.ndarray) -> None:
        progress = self.progress
        if not np.isfinite(outcome.losses).all():
            place = int(np.flatnonzero(~np.isfinite(outcome.losses))[0])
            learning_rate = float(self.schedule(schedule_progress[place]))
            self._fail("the loss", str(outcome.losses[place]), block.first_step + place + 1, learning_rate)
        for loss in outcome.losses:  # one by one: the sum must not depend on how steps were divided into blocks
            progress.loss_sum += float(loss)
        progress.errors += outcome.errors
        progress.units += outcome.units
        progress.num_examples += block.count * self._plan.global_batch_size
        progress.step = block.first_step + block.count
        progress.seconds = outcome.chief_seconds
        for hook in self._hooks:
            hook.on_steps(block.first_step, outcome.losses / self._plan.global_batch_size, self._learning_rate())

    def _fail(self, quantity: str, value: str, step: int, learning_rate: float) -> None:
        good = checkpoints.all_in(self._run_dir / run_folder.CHECKPOINTS)[-1:]
        raise FailedError(
            f"{quantity} became {value} at step {step} in epoch {len(self.progress.epochs) + 1}, with a learning rate "
            f"of {learning_rate:g}; last good checkpoint: {good[0] if good else 'none'}; "
            "a lower --learning-rate, or --clip-norm 1, in a new --run-dir may help"
        )

    def _is_checkpoint_due(self) -> bool:
        every = self._plan.checkpoint_steps
        is_long_ago = time.monotonic() - self._saved_at > 60 * self._config.checkpoint.minutes
        return is_long_ago or bool(every and self.progress.step % every == 0)

    def _is_time_over(self) -> bool:
        return self._plan.max_seconds is not None and self.progress.seconds >= self._plan.max_seconds

    def _is_epoch_over(self) -> bool:
        is_at_end = self.progress.step == self._plan.end_of_epoch(len(self.progress.epochs) + 1)
        return is_at_end or (self._is_time_over() and self.progress.num_examples > 0)

    def _finish_epoch(self, validate: Callable[[], Metrics] | None, pace: Pace) -> None:
        progress, config = self.progress, self._config
        count = progress.num_examples
        train = Metrics(count, progress.accuracy, progress.loss_sum / count)
        line = {
            "epoch": len(progress.epochs) + 1,
            "step": progress.step,
            "learning_rate": self._learning_rate(),
            "train": dataclasses.asdict(train),
        }
        if validate:
            try:
                validation = validate()
            except (StoppedError, KeyboardInterrupt):
                self.save()  # a resumed run then starts with this epoch's validation
                raise
            line["validation"] = dataclasses.asdict(validation)
            if validation.accuracy > progress.best_accuracy or not progress.best_epoch:
                progress.best_accuracy, progress.best_epoch = validation.accuracy, line["epoch"]
                self._keep_best()
        progress.epochs.append(line)
        progress.loss_sum, progress.errors, progress.units, progress.num_examples = 0.0, 0, 0, 0
        patience = config.early_stopping_epochs
        has_begun = progress.best_accuracy > self._task.plateau
        is_stuck = bool(patience) and has_begun and line["epoch"] - progress.best_epoch >= patience
        progress.is_finished = progress.step == self._plan.total_steps or self._is_time_over() or is_stuck
        timing = pace.of_epoch(line["epoch"])
        for hook in self._hooks:
            hook.on_epoch(line, timing)
        rate = f"{timing['examples_per_second']:,.0f} examples/s"
        _log.info("epoch %s  %s  %s", pace.number_of(line["epoch"]), self._describe(line), rate)
        if is_stuck:
            _log.info("stopped early: validation accuracy was highest in epoch %d", progress.best_epoch)

    def _describe(self, line: dict[str, Any]) -> str:
        return "  ".join(
            f"{split} loss {line[split]['loss']:.4f} {self._task.accuracy_in_words(line[split]['accuracy'])}"
            for split in ("train", "validation")
            if split in line
        )

    def _keep_best(self) -> None:
        if self._config.select == "best":
            names = (variable.path for variable in self._train_state.network.weights)
            self._best = dict(zip(names, self.weights_to_evaluate(), strict=True))
