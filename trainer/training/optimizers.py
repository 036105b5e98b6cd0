"""Keras' optimizers and learning-rate schedules, as the settings name them."""

import keras

from trainer.training.settings import OptimizerConfig, ScheduleConfig

_ONE_CYCLE_WARMUP_FRACTION = 0.3
_ONE_CYCLE_START = 1 / 25


def make_optimizer(config: OptimizerConfig) -> keras.Optimizer:
    """The optimizer, not yet built. The caller sets its learning rate before each step."""
    rate, weight_decay = config.learning_rate, config.weight_decay or None
    match config.name:
        case "adam":
            optimizer = keras.optimizers.Adam(rate, weight_decay=weight_decay)
        case "adamw":
            optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
        case "sgd":
            optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def make_schedule(
    config: ScheduleConfig, highest_learning_rate: float
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate over the training, 0 to 1: a linear warm-up, then a cosine down to 0, or a constant.

    `one_cycle` starts at 1/25 of the highest rate and rises for 30 % of all steps, unless `warmup_fraction` says
    otherwise (Smith, "Super-convergence", 2017).
    """
    is_one_cycle = config.name == "one_cycle"
    fraction = config.warmup_fraction
    if fraction is None:
        fraction = _ONE_CYCLE_WARMUP_FRACTION if is_one_cycle else 0.0
    start = _ONE_CYCLE_START if is_one_cycle else 0.0
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=highest_learning_rate * (start if fraction else 1),
        warmup_target=highest_learning_rate if fraction else None,
        warmup_steps=fraction,
        decay_steps=1 - fraction,
        alpha=1.0 if config.name == "constant" else 0.0,
    )
