"""How well confidence tells pictures of characters from six kinds of pictures that are none.

    python benchmarks/non_characters.py --run runs/byclass --data data/emnist/byclass/1.0.0 --real-data FOLDER

FOLDER holds `lines/`, real handwriting; cut-outs are made of these and of scikit-learn's photographs. Characters are
test examples on a sheet. What tells them apart is fitted anew, as training does it; none of the six kinds takes part in
that, so each is left out. All pictures are converted as a served model does it, and one with a problem has no
confidence at all in the last column. Of the signs some are read as characters with good reason; the table has a row
without these.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import machine
import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from common.dataset import manifest as manifests  # noqa: E402
from common.dataset.schema import IMAGE  # noqa: E402
from common.normalize import picture  # noqa: E402
from tests.support import non_characters  # noqa: E402
from tests.support.non_characters import Material  # noqa: E402
from trainer.data.examples import open_split  # noqa: E402
from trainer.evaluation import novelty  # noqa: E402
from trainer.evaluation.calibration import Calibration  # noqa: E402
from trainer.serving import saved_model  # noqa: E402
from trainer.tasks import characters  # noqa: E402

_ENLARGED = 10
_LINES = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run folder")
    parser.add_argument("--data", type=Path, required=True, help="the dataset folder that it was trained on")
    parser.add_argument("--real-data", type=Path, required=True)
    parser.add_argument("--characters", type=int, default=1000)
    parser.add_argument("--of-each-kind", type=int, default=200)
    arguments = parser.parse_args()

    import keras

    manifest = manifests.read(arguments.data)
    schema = manifest.schema
    train, validation, test = (open_split(arguments.data, manifest, name) for name in ("train", "validation", "test"))
    network = keras.models.load_model(arguments.run / "model.keras")
    fitted = characters.fit_novelty(network, train, validation)
    calibration = Calibration(picture_temperature=_temperature(arguments.run))
    to_module = partial(saved_model.to_module, network, characters.TASK, schema, calibration)
    module, plain = to_module(fitted), to_module()

    rng = np.random.default_rng(0)
    images = test.take(rng.permutation(test.num_examples))[IMAGE]
    material = Material(images[arguments.characters :, ..., 0], _scenes(arguments.real_data, rng))
    sheets = {"characters": [_on_a_sheet(image[..., 0]) for image in images[: arguments.characters]]}
    for number, (kind, draw) in enumerate(non_characters.KINDS.items()):
        kind_rng = np.random.default_rng([1, number])
        sheets[kind] = [draw(material, kind_rng) for _ in range(arguments.of_each_kind)]
    unlike = "".join(sorted(set(non_characters.PUNCTUATION) - set(non_characters.ALIKE)))
    sheets[f"of these, {unlike}"] = [non_characters.sign(unlike, rng) for _ in range(arguments.of_each_kind)]

    columns = {kind: _confidences(some, module) for kind, some in sheets.items()}
    characters_columns, score = columns.pop("characters")
    print(f"{machine.describe()}; {network.name} of {arguments.run}\n")
    names = ("softmax", "softened", "softened, or refused")
    print(f"| AUROC | {' | '.join(names)} | refused |\n| --- |{' --- |' * 4}")
    rows = []
    for kind, (confidences, _) in columns.items():
        areas = [_area(*pair) for pair in zip(characters_columns, confidences, strict=True)]
        rows.append(areas)
        print(f"| {kind} | {' | '.join(f'{area:.3f}' for area in areas)} | {np.mean(confidences[2] == 0):.1%} |")
    means = np.mean(rows[: len(non_characters.KINDS)], axis=0)
    print(f"| mean of the six kinds | {' | '.join(f'{area:.3f}' for area in means)} | |")
    print(f"\ncharacters: the score is {np.median(score):.3f} in the median, {np.mean(score):.3f} on average")
    one = images[:1]
    seconds = [_seconds(part.recognise_pictures, one) for part in (plain, module)]
    whole = _seconds(module.serving_default, [_png(sheets["characters"][0])])
    print(f"cost of the score: {(seconds[1] - seconds[0]) / whole:.1%} of a prediction of {1e3 * whole:.1f} ms")


def _temperature(run: Path) -> float:
    metrics = json.loads((run / "metrics.json").read_text())
    return metrics.get("picture_temperature", metrics["temperature"])


def _scenes(real_data: Path, rng: np.random.Generator) -> list[np.ndarray]:
    files = sorted((real_data / "lines").glob("*/test/*.png"))
    lines = [np.asarray(Image.open(files[number]).convert("L")) for number in rng.permutation(len(files))[:_LINES]]
    photographs = [np.asarray(Image.fromarray(scene).convert("L")) for scene in load_sample_images().images]
    return lines + photographs * (len(lines) // len(photographs))  # half of the cut-outs are of photographs


def _on_a_sheet(image: np.ndarray) -> np.ndarray:
    side = _ENLARGED * len(image)
    ink = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    sheet = Image.new("L", (2 * side, 2 * side))
    sheet.paste(ink, (side // 2, side // 2))
    return np.asarray(ImageOps.invert(sheet))


def _png(sheet: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(sheet).save(content, "PNG")
    return content.getvalue()


def _confidences(sheets: list[np.ndarray], module: object) -> tuple[list[np.ndarray], np.ndarray]:
    """Three confidences [N] of each picture: without the score, with it, and 0 for a problem; and the score."""
    images, problems = zip(*(picture.read(_png(sheet)) for sheet in sheets), strict=True)
    probabilities, score = (part.numpy() for part in module.answer_pictures(np.stack(images)[..., None]))
    softened = novelty.soften(probabilities, score).max(axis=1)
    return [probabilities.max(axis=1), softened, np.where([bool(code) for code in problems], 0, softened)], score


def _area(of_characters: np.ndarray, of_others: np.ndarray) -> float:
    is_character = np.arange(len(of_characters) + len(of_others)) < len(of_characters)
    return float(roc_auc_score(is_character, np.concatenate([of_characters, of_others])))


def _seconds(work: Callable, argument: object) -> float:
    """The median of 100 calls."""
    import tensorflow as tf

    tensor = tf.constant(argument)
    times = []
    for _ in range(110):
        began = time.perf_counter()
        work(tensor)
        times.append(time.perf_counter() - began)
    return float(np.median(times[10:]))


if __name__ == "__main__":
    main()
