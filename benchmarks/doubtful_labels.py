"""How much of the error is due to illegible or wrong labels, and whether leaving those examples out helps.

    python benchmarks/doubtful_labels.py --real-data FOLDER [--recipe fast] [--folds 5] [--seeds 0 1 2] [--picture FILE]

FOLDER holds `emnist-byclass/` (ByClass' five files). Its training examples are divided into folds by their pixels. For
each fold a model is trained on the other folds, so every example is predicted by a model that never saw it. Examples
that this model confidently takes for another class are likely label errors: they are listed, shown in the picture, and
left out of further trainings. Test examples that all models get wrong in the same way would stay wrong with more such
training: the others are the ceiling.
"""

import argparse
import json
import statistics
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import commands
import machine
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from common.dataset import exclude_list
from common.dataset import manifest as manifests
from common.dataset.schema import IMAGE, LABEL
from trainer.data.examples import open_split
from trainer.evaluation import holdout, label_issues
from trainer.reporting import model_card
from trainer.tasks import characters

_SHOWN_ROWS, _SHOWN_COLUMNS = 4, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real-data", type=Path, required=True)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--picture", type=Path, default=Path("doubtful_labels.png"))
    arguments = parser.parse_args()
    print(f"{machine.describe()}; {arguments.recipe}\n")
    with tempfile.TemporaryDirectory() as place:
        preprocess = partial(commands.preprocess, "emnist/byclass", str(arguments.real_data / "emnist-byclass"))
        whole = Path(preprocess(f"{place}/whole"))
        manifest = manifests.read(whole)
        names = manifest.class_names
        examples = open_split(whole, manifest, "train")
        batch = examples.take(np.arange(examples.num_examples))
        images, labels = batch[IMAGE], batch[LABEL]
        pixel_hashes = holdout.pixel_hashes(examples)
        fold_of = pixel_hashes % np.uint64(arguments.folds)

        answers = np.empty((len(labels), len(names)), np.float32)
        tested = []
        for fold in range(arguments.folds):
            left_out = Path(place, f"fold-{fold}.txt")
            left_out.write_text(exclude_list.format_lines(pixel_hashes[fold_of == fold]))
            data = preprocess(f"{place}/{fold}", "--exclude", str(left_out))
            run = commands.train(data, f"{place}/run-{fold}", arguments.recipe, fold)
            output = Path(place, f"{fold}.json")
            evaluate = ("trainer", "evaluate", "--model", run, "--data", str(whole), "--split", "train")
            commands.python("-m", *evaluate, "--output", str(output))
            with np.load(output.with_suffix(".npz")) as fold_predictions:
                answers[fold_of == fold] = fold_predictions["probabilities"][fold_of == fold]
            tested.append(_predictions(run))
        _describe_test(tested, names)
        predictions = {"labels": labels, "probabilities": answers}
        numbers = label_issues.find(characters.score(predictions, names, manifest.schema))
        doubted, taken_for = labels[numbers], answers[numbers].argmax(axis=1)
        print(
            f"\ntraining examples: {np.mean(answers.argmax(axis=1) == labels):.2%} right by a model without them; "
            f"{len(numbers):,} ({len(numbers) / len(labels):.2%}) taken for another with "
            f"{label_issues.MIN_CONFIDENCE:.0%}:"
        )
        print(_kinds(doubted, taken_for, names))
        _draw(images[numbers], doubted, taken_for, names, arguments.picture)

        listed = Path(place, "doubtful.tsv")
        listed.write_text(exclude_list.format_lines(pixel_hashes[numbers]))
        clean = preprocess(f"{place}/clean", "--exclude", str(listed))
        print("\n| trained on | seeds | test accuracy |\n| --- | --- | --- |")
        for trained_on, data in (("all", str(whole)), ("all but these", clean)):
            accuracies = [
                _accuracy(commands.train(data, f"{data}-{seed}", arguments.recipe, seed)) for seed in arguments.seeds
            ]
            spread = f" ± {statistics.stdev(accuracies):.2%}" if len(accuracies) > 1 else ""
            print(f"| {trained_on} | {len(accuracies)} | {statistics.mean(accuracies):.2%}{spread} |", flush=True)
    print(arguments.picture)


def _describe_test(tested: list[tuple[np.ndarray, np.ndarray]], names: tuple[str, ...]) -> None:
    labels = tested[0][0]
    guesses = np.stack([probabilities.argmax(axis=1) for _, probabilities in tested])
    right = guesses == labels
    together = np.mean([probabilities for _, probabilities in tested], axis=0).argmax(axis=1)
    same_mistake = (guesses == guesses[0]).all(axis=0) & ~right[0]
    print(
        f"test: {len(labels):,} examples; right: {np.mean(right):.2%} by one of the {len(tested)} models on average, "
        f"{np.mean(together == labels):.2%} by their mean, {np.mean(right.any(axis=0)):.2%} by any of them"
    )
    print(
        f"all of them make the same mistake in {np.mean(same_mistake):.2%}; but for these, "
        f"{1 - np.mean(same_mistake):.2%} would be right. They are:"
    )
    print(_kinds(labels[same_mistake], guesses[0][same_mistake], names))


def _kinds(labels: np.ndarray, answers: np.ndarray, names: tuple[str, ...]) -> str:
    """The commonest confusions, in words."""
    alike = model_card.look_alikes(_matrix(labels, answers, names), names)
    others = Counter(pair for pair in zip(labels, answers, strict=True) if not _are_alike(*pair, names))
    commonest = ", ".join(f"{names[label]} as {names[answer]}" for (label, answer), _ in others.most_common(6))
    shares = [*(f"{kind.name} {kind.share:.0%}" for kind in alike), f"others {others.total() / len(labels):.0%}"]
    return f"  {'; '.join(shares)} (the commonest of these: {commonest})"


def _are_alike(label: int, answer: int, names: tuple[str, ...]) -> bool:
    matrix = _matrix(np.array([label]), np.array([answer]), names)
    return any(kind.mistakes for kind in model_card.look_alikes(matrix, names))


def _matrix(labels: np.ndarray, answers: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return confusion_matrix(labels, answers, labels=np.arange(len(names)))


def _draw(images: np.ndarray, labels: np.ndarray, answers: np.ndarray, names: tuple[str, ...], path: Path) -> None:
    """Draws the first examples whose two classes are neither look-alikes nor the same letter in another case."""
    shown = [place for place in range(len(labels)) if not _are_alike(labels[place], answers[place], names)]
    figure = Figure(figsize=(_SHOWN_COLUMNS * 0.8, _SHOWN_ROWS * 1.05), layout="constrained")
    panels = figure.subplots(_SHOWN_ROWS, _SHOWN_COLUMNS).flatten()
    for axes in panels:
        axes.set_axis_off()
    for axes, place in zip(panels, shown, strict=False):
        axes.imshow(images[place], cmap="gray_r")
        axes.set_title(f"{names[labels[place]]}, like {names[answers[place]]}", fontsize=8)
    figure.savefig(path, dpi=110)


def _predictions(run: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(Path(run, "predictions.npz")) as predictions:
        return predictions["labels"], predictions["probabilities"]


def _accuracy(run: str) -> float:
    return json.loads(Path(run, "metrics.json").read_text())["test"]["accuracy"]


if __name__ == "__main__":
    main()
