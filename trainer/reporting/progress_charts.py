"""The curves and the cost of a training, for the report of any task."""

from dataclasses import dataclass

from trainer.reporting import charts
from trainer.reporting.charts import Series
from trainer.runs.run_folder import Results

_PASSES_OF_A_STEP = 3
"""A step costs about as much as three predictions: forward, and twice that backward."""


def curves(results: Results) -> list[charts.Markup]:
    def of(key: str) -> list[Series]:
        splits = [split for split in ("train", "validation") if split in results.epochs[0]]
        return [Series(split, [line[split][key] for line in results.epochs]) for split in splits]

    rates = Series("learning rate", [line["learning_rate"] for line in results.epochs])
    speeds = Series("examples/s", [line["examples_per_second"] for line in results.timings])
    return [
        charts.lines("loss", "Loss (cross-entropy, nats)", of("loss")),
        charts.lines("accuracy", "Accuracy", of("accuracy"), is_share=True),
        charts.lines("learning-rate", "Learning rate at the end of the epoch", [rates], from_zero=True),
        charts.lines("speed", "Examples per second", [speeds], from_zero=True),
    ]


def overlaid_curves(names: list[str], results: list[Results]) -> list[charts.Markup]:
    """The curves of several runs: of validation if all runs have it, otherwise of training."""
    split = "validation" if all("validation" in result.epochs[0] for result in results) else "train"

    def of(key: str) -> list[Series]:
        return [
            Series(name, [line[split][key] for line in result.epochs])
            for name, result in zip(names, results, strict=True)
        ]

    return [
        charts.lines("loss", f"Loss of {split} (cross-entropy, nats)", of("loss")),
        charts.lines("accuracy", f"Accuracy of {split}", of("accuracy"), is_share=True),
    ]


@dataclass(frozen=True)
class Cost:
    """The cost of the training, without validation and without the work after the training."""

    seconds: float
    seconds_per_epoch: float
    examples_per_second: float
    device_hours_per_epoch: float
    petaflop: float
    """10^15 floating-point operations of the networks' layers."""
    price_per_epoch: float | None


def cost_of(results: Results, price_per_hour: float | None) -> Cost:
    # The line of an interrupted epoch covers only the part after the interruption.
    seconds = sum(line["seconds"] for line in results.timings)
    examples = sum(line["num_examples"] for line in results.timings)
    seen = sum(line["train"]["num_examples"] for line in results.epochs)
    rate = examples / seconds if seconds else 0.0
    seconds_per_epoch = seen / len(results.epochs) / rate if rate else 0.0
    return Cost(
        seconds=seconds,
        seconds_per_epoch=seconds_per_epoch,
        examples_per_second=rate,
        device_hours_per_epoch=seconds_per_epoch / 3600 * results.run_info["num_replicas"],
        petaflop=seen * _PASSES_OF_A_STEP * results.run_info["flops_per_image"] / 1e15,
        price_per_epoch=None if price_per_hour is None else seconds_per_epoch / 3600 * price_per_hour,
    )
