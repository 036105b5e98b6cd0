"""Drift between two datasets: has the data changed under a model that is retrained regularly?"""

from dataclasses import dataclass

from common.dataset.manifest import Manifest


@dataclass(frozen=True)
class Drift:
    """Differences between two train splits, each from 0 (alike) to 1."""

    classes_added: tuple[str, ...]
    classes_removed: tuple[str, ...]
    class_histogram: float
    """Total variation distance: the share of examples, or of characters of lines, that would have to change."""
    pixel_mean: float
    """The difference of mean pixels, over 255."""
    foreground_fraction: float
    """The difference of the shares of foreground pixels."""

    @property
    def largest(self) -> float:
        """The largest figure; 1 if the classes differ."""
        if self.classes_added or self.classes_removed:
            return 1.0
        return max(self.class_histogram, self.pixel_mean, self.foreground_fraction)


def measure(new: Manifest, old: Manifest) -> Drift:
    """The drift from `old` to `new`."""
    new_train, old_train = new.splits["train"], old.splits["train"]
    shares = {
        name: count / sum(old_train.class_histogram)
        for name, count in zip(old.schema.characters, old_train.class_histogram, strict=True)
    }
    in_new = sum(new_train.class_histogram)
    distance = sum(shares[name] for name in old.schema.characters if name not in new.schema.characters)
    for name, count in zip(new.schema.characters, new_train.class_histogram, strict=True):
        distance += abs(count / in_new - shares.get(name, 0.0))
    return Drift(
        classes_added=tuple(name for name in new.class_names if name not in old.class_names),
        classes_removed=tuple(name for name in old.class_names if name not in new.class_names),
        class_histogram=distance / 2,
        pixel_mean=abs(new_train.pixel_mean - old_train.pixel_mean) / 255,
        foreground_fraction=abs(new_train.foreground_fraction - old_train.foreground_fraction),
    )


def describe(drift: Drift) -> str:
    """The drift in one line of text."""
    added, removed = " ".join(drift.classes_added) or "none", " ".join(drift.classes_removed) or "none"
    return (
        f"classes added {added}, removed {removed}; histogram {drift.class_histogram:.3f}, "
        f"mean {drift.pixel_mean:.3f}, ink {drift.foreground_fraction:.3f}"
    )
