"""The settings of optimizer, schedule, loss and checkpoints."""

from dataclasses import dataclass
from typing import Annotated, Literal

from common.marks import OPERATIONAL, RARE, Count, NotNegative, Positive, Share, flat


@dataclass(frozen=True)
class OptimizerConfig:
    """How a step changes the weights."""

    name: Annotated[Literal["adam", "adamw", "sgd"], *flat("optimizer")] = "adam"
    """Keras' optimizer; `sgd` has Nesterov momentum 0.9."""
    learning_rate: Positive = 1e-3
    """The highest learning rate of the schedule."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay, a share of the learning rate; biases and normalisation are spared."""
    clip_norm: Annotated[Positive | None, RARE] = None
    """Clip gradients to this norm: of the sum over all devices, over all weights."""
    ema_decay: Annotated[Share, RARE] = 0.0
    """Above 0, evaluate and export the exponential moving average of the weights, with this decay: 0.999, say."""


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes."""

    name: Annotated[Literal["constant", "cosine", "one_cycle"], *flat("schedule")] = "constant"
    """constant; cosine: down to 0; one_cycle: up from a 25th, then as cosine."""
    warmup_fraction: Annotated[Share | None, RARE] = None
    """The share of the training in which the learning rate rises; by default 0, and 0.3 for one_cycle."""


@dataclass(frozen=True)
class LossConfig:
    """What training minimises. The loss in metrics is without these."""

    label_smoothing: Annotated[Share, RARE] = 0.0
    """The share of each label that is spread over all classes, 0 to 1."""
    class_weights: Annotated[Literal["none", "balanced"], RARE] = "none"
    """balanced: all classes count the same in the loss, however many examples they have."""


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written; one is written at the end in any case."""

    minutes: Annotated[Positive, *flat("checkpoint_minutes"), OPERATIONAL, RARE] = 1.0
    """Minutes between checkpoints."""
    steps: Annotated[Count | None, *flat("checkpoint_steps"), OPERATIONAL, RARE] = None
    """Also checkpoint every N steps."""
