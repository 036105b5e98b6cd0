"""The training loop: steps, epochs, checkpoints, and when to stop."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from common.errors import FailedError, InputError, StoppedError
from common.signals import StopRequest
from trainer.config import TrainConfig
from trainer.data.input_pipeline import Call
from trainer.evaluation.metrics import Metrics
from trainer.runs import run_folder
from trainer.training import checkpoints
from trainer.training.checkpoints import State, Weights
from trainer.training.tensorboard import Events
from trainer.training.training_step import Outcome, TakeSteps, Trained

_SECONDS_BETWEEN_LINES = 60
_PROFILED_STEPS = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Where epochs and the whole training end, in steps."""

    num_examples: int
    global_batch_size: int
    steps_per_call: int
    total_steps: int | None
    """None if the clock decides."""
    max_seconds: float | None
    checkpoint_steps: int | None

    def end_of_epoch(self, number: int) -> int:
        """The last step of an epoch, counted from 1. Batches run on across it, so epochs may differ by a step."""
        end = number * self.num_examples // self.global_batch_size
        return end if self.total_steps is None else min(end, self.total_steps)

    def calls(self, step: int) -> Iterator[tuple[int, int]]:
        """First step and number of steps of each call from `step` on: none runs across an end or a checkpoint."""
        while self.total_steps is None or step < self.total_steps:
            epoch = step * self.global_batch_size // self.num_examples + 1
            ends = [
                step + self.steps_per_call,
                *(end for end in map(self.end_of_epoch, (epoch, epoch + 1)) if end > step),
            ]
            if self.checkpoint_steps:
                ends.append(step + self.checkpoint_steps - step % self.checkpoint_steps)
            yield step, min(ends) - step
            step = min(ends)


def make_plan(config: TrainConfig, num_examples: int, steps_per_call: int) -> Plan:
    """The plan for the length that `config` gives; two steps for a smoke test."""
    total_steps = config.steps
    if config.epochs is not None:
        total_steps = config.epochs * num_examples // config.global_batch_size
    max_seconds = None if config.max_minutes is None else 60 * config.max_minutes
    if config.smoke:
        total_steps, max_seconds = 2, None
    batch = config.global_batch_size
    return Plan(num_examples, batch, steps_per_call, total_steps, max_seconds, config.checkpoint_steps)


class Training:
    """A training that can be saved, and gone on with, between any two calls."""

    def __init__(
        self,
        config: TrainConfig,
        plan: Plan,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        trained: Trained,
        state: State,
        run_dir: Path | None = None,
        events: Events | None = None,
        after_saving: Callable[[], None] | None = None,
    ) -> None:
        """`run_dir` and `events` are None on a worker that leaves nothing behind. `schedule` covers 0 to 1."""
        self.state, self.schedule = state, schedule
        self._config, self._plan, self._trained = config, plan, trained
        self._run_dir, self._events, self._after_saving = run_dir, events, after_saving
        self._best: list[np.ndarray] = []
        self._saved_at = time.monotonic()

    def run(
        self,
        take_steps: TakeSteps,
        make_calls: Callable[[Iterator[tuple[int, int]]], Iterator[Call]],
        validate: Callable[[], Metrics] | None,
        stop: StopRequest,
    ) -> None:
        """Trains to the end. `validate` gives the figures of `weights_to_evaluate` on the validation split, if any.

        Raises what `stop` asks for, after saving a checkpoint, and `FailedError` if the loss is no number any more.
        """
        state, plan = self.state, self._plan
        if state.is_finished:
            return
        calls = make_calls(plan.calls(state.step))
        start = time.monotonic() - state.seconds
        pace = _Pace(self._config, plan, state)
        with _Profile(self._run_dir if self._config.profile else None) as profile:
            while not state.is_finished:
                if self._is_epoch_over():
                    pace.end_of_epoch()
                    self._finish_epoch(validate, pace)
                    pace.start_of_epoch()
                    continue
                asked_at = time.monotonic()
                call = next(calls)
                pace.waited(time.monotonic() - asked_at)
                positions = self._positions()
                outcome = take_steps(call, positions, stop.is_made, time.monotonic() - start)
                self._account(call, outcome, positions)
                pace.took(call.count)
                profile.took(call.count)
                # With several workers, a vote lets all of them stop at the same step.
                if outcome.stop_votes or self._is_checkpoint_due():
                    self.save()
                if outcome.stop_votes:
                    if not stop.is_made:  # another worker was asked to
                        stop.make()
                    stop.raise_if_made()
        self.save()

    def weights_to_evaluate(self) -> list[np.ndarray]:
        """As they are now, in the order of the network's `weights`; averaged, if an average is kept."""
        return [weight.numpy() for weight in self._trained.average or self._trained.network.weights]

    def selected_weights(self) -> list[np.ndarray]:
        """Those that the configuration selects, once the training is at its end."""
        return self._best or self.weights_to_evaluate()

    def save(self) -> None:
        """Writes a checkpoint, where anything is left behind. Raises `FailedError` if a weight is no number."""
        self._saved_at = time.monotonic()
        weights = {name: [variable.numpy() for variable in group] for name, group in self._variables().items()}
        if not all(np.isfinite(values).all() for values in weights["network"]):
            self._fail("a weight", "no number", self.state.step, self._learning_rate())
        if self._run_dir:
            folder = self._run_dir / run_folder.CHECKPOINTS
            checkpoints.save(folder, self.state, weights | ({"best": self._best} if self._best else {}))
        if self._after_saving:
            self._after_saving()

    def restore(self, weights: Weights) -> None:
        """Sets all variables to what was saved. Raises `InputError` if they are not this network's."""
        groups = self._variables()
        self._best = weights.get("best", [])
        saved = {name: [value.shape for value in weights.get(name, [])] for name in groups}
        if saved != {name: [tuple(variable.shape) for variable in group] for name, group in groups.items()}:
            raise InputError(f"{self._config.run_dir}: its checkpoints do not fit the network; give another --run-dir")
        for name, group in groups.items():
            for variable, value in zip(group, weights[name], strict=True):
                variable.assign(value)

    def _variables(self) -> dict[str, list[Any]]:
        groups = {"network": self._trained.network.weights, "optimizer": self._trained.optimizer.variables}
        return groups | ({"average": self._trained.average} if self._trained.average else {})

    def _positions(self) -> np.ndarray:
        """Where each step of the next call is on the schedule, 0 to 1: float32 [steps per call]."""
        steps = np.arange(self._plan.steps_per_call)
        if self._plan.max_seconds is not None:
            return np.full(len(steps), min(1.0, self.state.seconds / self._plan.max_seconds), np.float32)
        return ((self.state.step + steps) / self._plan.total_steps).astype(np.float32)

    def _learning_rate(self) -> float:
        return float(self._trained.optimizer.learning_rate.numpy())

    def _account(self, call: Call, outcome: Outcome, positions: np.ndarray) -> None:
        state = self.state
        if not np.isfinite(outcome.losses).all():
            place = int(np.flatnonzero(~np.isfinite(outcome.losses))[0])
            learning_rate = float(self.schedule(positions[place]))
            self._fail("the loss", str(outcome.losses[place]), call.first_step + place + 1, learning_rate)
        for loss in outcome.losses:  # one by one: the sum must not depend on how steps were divided into calls
            state.loss_sum += float(loss)
        state.num_correct += outcome.num_correct
        state.num_examples += call.count * self._plan.global_batch_size
        state.step = call.first_step + call.count
        state.seconds = outcome.chief_seconds
        if self._events:
            losses = outcome.losses / self._plan.global_batch_size
            self._events.steps(call.first_step, losses, self._learning_rate())

    def _fail(self, what: str, value: str, step: int, learning_rate: float) -> None:
        folder = self._run_dir / run_folder.CHECKPOINTS if self._run_dir else None
        good = checkpoints.all_in(folder)[-1:] if folder else []
        raise FailedError(
            f"{what} became {value} at step {step} in epoch {len(self.state.epochs) + 1}, with a learning rate of "
            f"{learning_rate:g}; last good checkpoint: {good[0] if good else 'none'}; "
            "a lower --learning-rate, or --clip-norm 1, in a new --run-dir may help"
        )

    def _is_checkpoint_due(self) -> bool:
        every = self._plan.checkpoint_steps
        is_long_ago = time.monotonic() - self._saved_at > 60 * self._config.checkpoint_minutes
        return is_long_ago or bool(every and self.state.step % every == 0)

    def _is_time_over(self) -> bool:
        return self._plan.max_seconds is not None and self.state.seconds >= self._plan.max_seconds

    def _is_epoch_over(self) -> bool:
        is_at_end = self.state.step == self._plan.end_of_epoch(len(self.state.epochs) + 1)
        return is_at_end or (self._is_time_over() and self.state.num_examples > 0)

    def _finish_epoch(self, validate: Callable[[], Metrics] | None, pace: "_Pace") -> None:
        state, config = self.state, self._config
        count = state.num_examples
        train = Metrics(count, state.num_correct / count, state.loss_sum / count)
        line = {
            "epoch": len(state.epochs) + 1,
            "step": state.step,
            "learning_rate": self._learning_rate(),
            "train": dataclasses.asdict(train),
        }
        if validate:
            try:
                validation = validate()
            except (StoppedError, KeyboardInterrupt):
                self.save()  # at the end of the epoch, with its validation still to be done
                raise
            line["validation"] = dataclasses.asdict(validation)
            if validation.accuracy > state.best_accuracy:
                state.best_accuracy, state.best_epoch = validation.accuracy, line["epoch"]
                self._best = self.weights_to_evaluate() if config.select == "best" else []
        state.epochs.append(line)
        state.loss_sum, state.num_correct, state.num_examples = 0.0, 0, 0
        patience = config.early_stopping_epochs
        is_stuck = bool(patience) and line["epoch"] - state.best_epoch >= patience
        state.is_finished = state.step == self._plan.total_steps or self._is_time_over() or is_stuck
        timing = pace.of_epoch(line["epoch"])
        if self._run_dir:
            run_folder.append_json_line(self._run_dir / run_folder.METRICS_BY_EPOCH, line)
            run_folder.append_json_line(self._run_dir / run_folder.TIMINGS_BY_EPOCH, timing)
        if self._events:
            self._events.epoch(line, timing)
        rate = f"{timing['examples_per_second']:,.0f} examples/s"
        _log.info("epoch %s  %s  %s", pace.number_of(line["epoch"]), _describe(line), rate)
        if is_stuck:
            _log.info("stopped early: validation accuracy was highest in epoch %d", state.best_epoch)


class _Pace:
    """How fast it goes: a bar on a terminal, a line each minute in a log, and the figures of `timings.jsonl`."""

    def __init__(self, config: TrainConfig, plan: Plan, state: State) -> None:
        self._plan, self._state = plan, state
        self._num_epochs = config.epochs
        self.start_of_epoch()

    def number_of(self, epoch: int) -> str:
        return f"{epoch}/{self._num_epochs}" if self._num_epochs else str(epoch)

    def start_of_epoch(self) -> None:
        self._began = self._told_at = time.monotonic()
        self._steps, self._waited, self._seconds = 0, 0.0, 0.0
        state, batch = self._state, self._plan.global_batch_size
        self._epoch = len(state.epochs) + 1
        start = state.step - state.num_examples // batch
        self._bar = tqdm(
            total=(self._plan.end_of_epoch(self._epoch) - start) * batch,
            initial=state.num_examples,
            unit=" examples",
            unit_scale=True,
            leave=False,
            disable=state.is_finished or None,  # None: where there is no terminal
            desc=f"epoch {self.number_of(self._epoch)}",
            dynamic_ncols=True,
        )

    def waited(self, seconds: float) -> None:
        """Adds to the time in which there was no data."""
        self._waited += seconds

    def took(self, steps: int) -> None:
        state = self._state
        self._steps += steps
        loss, accuracy = state.loss_sum / state.num_examples, state.num_correct / state.num_examples
        self._bar.update(steps * self._plan.global_batch_size)
        self._bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}", refresh=False)
        if self._bar.disable and time.monotonic() - self._told_at > _SECONDS_BETWEEN_LINES:
            self._told_at = time.monotonic()
            where = f"{state.num_examples / self._bar.total:.0%} of epoch {self.number_of(self._epoch)}"
            _log.info("%s  step %d  train loss %.4f accuracy %.2f %%", where, state.step, loss, 100 * accuracy)

    def end_of_epoch(self) -> None:
        self._bar.close()
        self._seconds = time.monotonic() - self._began

    def of_epoch(self, epoch: int) -> dict[str, Any]:
        """The line of `timings.jsonl`, of what this process has done of the epoch."""
        examples = self._steps * self._plan.global_batch_size
        return {
            "epoch": epoch,
            "num_examples": examples,
            "seconds": self._seconds,
            "examples_per_second": examples / self._seconds if examples else 0.0,
            "waiting_for_data": self._waited / self._seconds if examples else 0.0,
        }


class _Profile:
    """Leaves a TensorFlow profile of some steps in `run_dir`, if that is given."""

    def __init__(self, run_dir: Path | None) -> None:
        self._run_dir, self._steps, self._is_on = run_dir, 0, False

    def __enter__(self) -> "_Profile":
        return self

    def took(self, steps: int) -> None:
        if self._run_dir and self._steps == 0:
            tf.profiler.experimental.start(str(self._run_dir / run_folder.LOGS))
            self._is_on = True
        self._steps += steps
        if self._steps > _PROFILED_STEPS:
            self._end()

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._is_on:
            tf.profiler.experimental.stop()
            self._is_on = False
            _log.info("profile       %s", self._run_dir / run_folder.LOGS)


def _describe(line: dict[str, Any]) -> str:
    return "  ".join(
        f"{split} loss {line[split]['loss']:.4f} accuracy {100 * line[split]['accuracy']:.2f} %"
        for split in ("train", "validation")
        if split in line
    )
