"""`curves.png`: loss and accuracy of training and validation, side by side."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter


def draw(epochs: list[dict[str, Any]], path: Path) -> None:
    """Draws the lines of `metrics.jsonl`; training solid, validation (where there is one) dashed."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, style in (("train", "o-"), ("validation", "s--")):
            points = [(epoch["epoch"], epoch[split][name]) for epoch in epochs if split in epoch]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=split)
        axes.set(title=name.capitalize(), xlabel="epoch", ylabel="cross-entropy (nats)" if name == "loss" else None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    figure.savefig(path, dpi=110)
