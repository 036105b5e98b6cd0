"""How people's own pictures are read: accuracy for each kind of photograph, what is refused, and the processor's time.

    python benchmarks/own_pictures.py --run RUN --data DATASET_FOLDER [--characters 2000] [--kinds KIND ...]
        [--before CHECKOUT] [--picture FILE]

Characters of the test split are rendered as each of `common.photographs.KINDS` and go through the run's SavedModel as a
server would send them; as pixels they go through `image_tensor`. A picture is right if it is read rightly and not
refused, that is, comes back without problem. Differences are paired: of clean rendering to the pixels, of the others to
the lower of both, in points with their 95 % interval. Wrong and sure is a wrong reading of a confidence over 0.9
without problem. A second table has what must be refused.

Processor time is measured on one thread; with `--before` also that of commit 0653fc2, of which CHECKOUT is a checkout:
the two take turns, and ratios are medians over turns. FILE becomes a picture of all kinds with their readings.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import machine
import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from common.dataset import manifest as manifests  # noqa: E402
from common.dataset.schema import IMAGE, LABEL  # noqa: E402
from common.photographs import KINDS, photograph  # noqa: E402
from tests.support.photographs import REFUSED  # noqa: E402
from trainer.data.examples import open_split  # noqa: E402
from trainer.evaluation.photographs import can_be_drawn  # noqa: E402
from trainer.evaluation.significance import compare  # noqa: E402

if TYPE_CHECKING:
    import tensorflow as tf

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
_AT_ONCE = 64
_SURE = 0.9

# Targets
_MOST_BELOW = {"clean": 0.01, "tight": 0.06}
_MOST_BELOW_OF_OTHERS = 0.03
_LEAST_SAME = {"tight": 0.88}
_LEAST_SAME_OF_OTHERS = 0.93
_MOST_REFUSED = 1 / 200  # of clean renderings, and of the images themselves
_MOST_WRONG_AND_SURE = 0.03
_LEAST_UNREADABLE_REFUSED = 0.9  # of a kind that is refused instead
_LEAST_REFUSED = {
    "several_characters": 0.95,
    "printed_line": 0.95,
    "texture": 0.9,
    "stained_paper": 0.8,
    "nothing": 0.8,
    "all_transparent": 0.8,
}

_REFUSED_DRAWN = 400  # of each kind, at most
_CHARACTERS_OF_ONE = 12  # enough for any of `REFUSED`

_ROUNDS = 3
_TIMED_KINDS = ("clean", "shadow", "ruled", "speck")
_TIMED_FORMS = {"grey PNG": ("L", "PNG"), "coloured PNG": ("RGB", "PNG"), "JPEG": ("RGB", "JPEG")}
_TIMED_SIZES = {"560×560": ((560, 560), 16), "4000×3000": ((4000, 3000), 2)}
"""Width and height, and the number of pictures."""
_MOST_TIME = {"560×560": (1.5, 3), "4000×3000": (0.5, 0.5)}
"""In the graph and in NumPy, of the time before."""
_CONVERTERS_NOW = """
from functools import partial
from common.normalize.picture import read
from trainer.serving import conversion
convert = partial(conversion.convert, size=(28, 28))
"""
_CONVERTERS_BEFORE = """
from preprocess.conversion import read_picture, to_emnist
from trainer.conversion import convert
def read(content):
    return to_emnist(read_picture(content))
"""
_MEASURE = """
import json, sys, time
from pathlib import Path
import tensorflow as tf
graph = tf.function(convert, input_signature=[tf.TensorSpec([None], tf.string)])
def in_graph(files):
    at_once = 1 if len(files[0]) > 1_000_000 else len(files)  # for the memory's sake
    for start in range(0, len(files), at_once):
        graph(tf.constant(files[start : start + at_once]))
def in_numpy(files):
    for file in files:
        read(file)
def milliseconds(work, files):
    work(files[:1])  # traces the graph, fills caches
    began = time.process_time()
    work(files)
    return 1000 * (time.process_time() - began) / len(files)
times = {}
for folder in Path(sys.argv[1]).iterdir():
    files = [path.read_bytes() for path in folder.iterdir()]
    times[folder.name] = [milliseconds(work, files) for work in (in_graph, in_numpy)]
print(json.dumps(times))
"""

_SHOWN = 5  # photographs of a kind
_CELL, _SMALL, _NAME_WIDTH, _TEXT_HEIGHT = 84, 56, 100, 16  # pixels
_RIGHT, _WRONG, _DOUBTED = (0, 110, 40), (200, 20, 20), (110, 110, 110)


@dataclass(frozen=True)
class Readings:
    """What a model answers to N pictures."""

    images: np.ndarray
    """What the pictures were converted to, uint8 [N, H, W, 1]."""
    classes: np.ndarray
    """int64 [N]"""
    confidences: np.ndarray
    """float32 [N]"""
    problems: np.ndarray
    """Codes, str [N], empty where all is well."""

    @property
    def is_refused(self) -> np.ndarray:
        return self.problems != ""

    def is_right(self, labels: np.ndarray) -> np.ndarray:
        return (self.classes == labels) & ~self.is_refused

    def is_wrong_and_sure(self, labels: np.ndarray) -> np.ndarray:
        return (self.classes != labels) & ~self.is_refused & (self.confidences > _SURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run folder")
    parser.add_argument("--data", type=Path, required=True, help="the dataset folder that it was trained on")
    parser.add_argument("--characters", type=int, default=2000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--before", type=Path, help="a checkout of commit 0653fc2, to compare processor time with")
    parser.add_argument("--picture", type=Path, help="where to draw the kinds with their readings")
    arguments = parser.parse_args()
    os.environ |= _ONE_THREAD | {"TF_CPP_MIN_LOG_LEVEL": "2"}

    from trainer.serving import loading

    model = loading.load(str(arguments.run))
    images, labels = take_characters(arguments.data, arguments.characters)
    print(f"{machine.describe()}; {arguments.run.name}, {len(images):,} characters\n", flush=True)
    answers = print_kinds(model, images, labels, arguments.kinds)
    print_what_must_be_refused(model, images)
    print_processor_time(images, arguments.before)
    if arguments.picture:
        draw_picture(images, labels, answers, loading.class_names(model)).save(arguments.picture, optimize=True)


def take_characters(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 [N, H, W, 1], and labels, int64 [N], of the test split: a fixed sample of what can be drawn."""
    examples = open_split(folder, manifests.read(folder), "test")
    batch = examples.take(np.random.default_rng(0).permutation(examples.num_examples))
    drawable = [*islice((number for number, image in enumerate(batch[IMAGE]) if can_be_drawn(image)), count)]
    return batch[IMAGE][drawable], batch[LABEL][drawable]


def render(image: np.ndarray, kind: str, number: int) -> bytes:
    """The photograph of a kind of the character with this number, always the same."""
    return photograph(image[..., 0], kind, np.random.default_rng([KINDS.index(kind), number]))


def render_what_to_refuse(images: np.ndarray, kind: str, number: int) -> bytes:
    """A picture of one of `REFUSED`, always the same for a number and the same images."""
    rng = np.random.default_rng([list(REFUSED).index(kind), number])
    return REFUSED[kind](images[rng.integers(len(images), size=_CHARACTERS_OF_ONE), ..., 0], rng)


def read(model: "tf.Module", files: Iterable[bytes]) -> Readings:
    """Sends files to the model, as many at once as a server would."""
    import tensorflow as tf

    images, probabilities, problems = [], [], []
    remaining = iter(files)
    while batch := [*islice(remaining, _AT_ONCE)]:
        converted, codes = model.convert(tf.constant(batch))
        images.append(converted.numpy())
        probabilities.append(model.recognise_pictures(converted).numpy())
        problems += [code.decode() for code in codes.numpy()]
    return _to_readings(np.concatenate(images), np.concatenate(probabilities), problems)


def read_pixels(model: "tf.Module", images: np.ndarray) -> Readings:
    import tensorflow as tf

    probabilities = model.signatures["image_tensor"](image=tf.constant(images))["probabilities"].numpy()
    return _to_readings(images, probabilities, [""] * len(images))


def _to_readings(images: np.ndarray, probabilities: np.ndarray, problems: list[str]) -> Readings:
    return Readings(images, probabilities.argmax(axis=1), probabilities.max(axis=1), np.array(problems))


def print_kinds(
    model: "tf.Module", images: np.ndarray, labels: np.ndarray, kinds: Iterable[str]
) -> dict[str, Readings]:
    """Prints the first table; returns the readings of each kind."""
    print("| | right | difference, points | read as the pixels | refused | wrong and sure | target |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    pixels = read_pixels(model, images)
    lower = pixels.is_right(labels)
    sure = pixels.is_wrong_and_sure(labels).mean()
    print(f"| the pixels themselves | {lower.mean():.1%} | | | | {sure:.1%} | |", flush=True)
    answers = {}
    for kind in dict.fromkeys(["28×28 as PNG", "clean", *kinds]):
        if kind in KINDS:
            files = (render(image, kind, number) for number, image in enumerate(images))
        else:
            files = (_encode(Image.fromarray(image[..., 0]), "PNG") for image in images)
        answers[kind] = readings = read(model, files)
        _print_kind(kind, readings, labels, (lower, pixels.classes))
        if kind == "clean":
            lower = min(lower, readings.is_right(labels), key=np.mean)
    return answers


def _print_kind(kind: str, readings: Readings, labels: np.ndarray, compared: tuple[np.ndarray, np.ndarray]) -> None:
    """Prints a line; `compared` are whether the lower one is right, bool [N], and the classes of the pixels, [N]."""
    lower, classes = compared
    is_right, is_refused = readings.is_right(labels), readings.is_refused
    difference = compare(is_right, lower)
    low, high = difference.interval_95
    same = np.mean(readings.classes == classes)
    wrong_and_sure = readings.is_wrong_and_sure(labels).mean()
    hits = {
        "accuracy": difference.accuracy >= -_MOST_BELOW.get(kind, _MOST_BELOW_OF_OTHERS),
        "same reading": same >= _LEAST_SAME.get(kind, _LEAST_SAME_OF_OTHERS),
        "wrong and sure": wrong_and_sure <= _MOST_WRONG_AND_SURE,
        "refused": (kind in KINDS and kind != "clean") or is_refused.mean() <= _MOST_REFUSED,
    }
    misses = [name for name, is_hit in hits.items() if not is_hit]
    refused_if_unreadable = is_refused[readings.classes != labels]
    is_refused_instead = refused_if_unreadable.sum() >= _LEAST_UNREADABLE_REFUSED * len(refused_if_unreadable)
    if is_refused_instead and {"accuracy", "same reading"} & {*misses}:
        misses.append("but refused instead")
    print(
        f"| {kind} | {is_right.mean():.1%} | {100 * difference.accuracy:+.1f} ({100 * low:+.1f} … {100 * high:+.1f}) "
        f"| {same:.1%} | {_refused(readings)} | {wrong_and_sure:.1%} | {', '.join(misses) or 'holds'} |",
        flush=True,
    )


def _refused(readings: Readings) -> str:
    """The share of refused pictures, and how many have which problem."""
    codes = Counter(readings.problems[readings.is_refused].tolist())
    counted = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    return f"{readings.is_refused.mean():.1%}" + (f" ({counted})" if counted else "")


def print_what_must_be_refused(model: "tf.Module", images: np.ndarray) -> None:
    count = min(len(images), _REFUSED_DRAWN)
    print(f"\n| to be refused, {count} each | refused | wanted | target |\n| --- | --- | --- | --- |")
    for kind in REFUSED:
        readings = read(model, (render_what_to_refuse(images, kind, number) for number in range(count)))
        least = _LEAST_REFUSED.get(kind)
        wanted, verdict = "", ""
        if least:
            wanted, verdict = f"{least:.0%}", "holds" if readings.is_refused.mean() >= least else "missed"
        print(f"| {kind} | {_refused(readings)} | {wanted} | {verdict} |", flush=True)


def print_processor_time(images: np.ndarray, before: Path | None) -> None:
    with tempfile.TemporaryDirectory() as place:
        _write_timed_pictures(images, Path(place))
        turns = []
        for _ in range(_ROUNDS):
            now = _measure(_CONVERTERS_NOW, ROOT, place)
            turns.append((now, _measure(_CONVERTERS_BEFORE, before, place) if before else None))
    print("\n| processor time | graph, ms | NumPy, ms | graph, times before | NumPy, times before | target |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size, most in _MOST_TIME.items():
        for form in _TIMED_FORMS:
            name = f"{size} {form}"
            times = [f"{statistics.median(now[name][way] for now, _ in turns):.1f}" for way in range(2)]
            compared = ["", "", ""]
            if before:
                ratios = [
                    statistics.median(now[name][way] / then[name][way] for now, then in turns) for way in range(2)
                ]
                holds = all(ratio <= limit for ratio, limit in zip(ratios, most, strict=True))
                compared = [*(f"{ratio:.2f}" for ratio in ratios), "holds" if holds else "missed"]
            print(f"| {' | '.join((name, *times, *compared))} |", flush=True)


def _write_timed_pictures(images: np.ndarray, place: Path) -> None:
    """Pictures for `_MEASURE`, in a folder for each size and form."""
    for size, ((width, height), count) in _TIMED_SIZES.items():
        for number in range(count):
            kind = _TIMED_KINDS[number % len(_TIMED_KINDS)]
            content = photograph(
                images[number % len(images), ..., 0], kind, np.random.default_rng(number), max(width, height)
            )
            picture = Image.open(io.BytesIO(content)).resize((width, height), Image.Resampling.BICUBIC)
            for form, (mode, file_format) in _TIMED_FORMS.items():
                folder = place / f"{size} {form}"
                folder.mkdir(exist_ok=True)
                (folder / str(number)).write_bytes(_encode(picture.convert(mode), file_format))


def _measure(converters: str, checkout: Path, place: str) -> dict[str, list[float]]:
    """The milliseconds of a picture in the graph and in NumPy, by the name of its folder, with a checkout's code."""
    command = [sys.executable, "-c", converters + _MEASURE, place]
    done = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _encode(picture: Image.Image, file_format: str) -> bytes:
    content = io.BytesIO()
    picture.save(content, file_format, quality=90)
    return content.getvalue()


def draw_picture(
    images: np.ndarray, labels: np.ndarray, answers: dict[str, Readings], names: tuple[str, ...]
) -> Image.Image:
    """A row for each kind: the same characters' photographs, each beside its converted image and above its reading."""
    kinds = [kind for kind in answers if kind in KINDS]
    width, height = _CELL + _SMALL + 12, _CELL + _TEXT_HEIGHT + 6
    picture = Image.new("RGB", (_NAME_WIDTH + _SHOWN * width, len(kinds) * height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for row, kind in enumerate(kinds):
        readings, top = answers[kind], row * height
        draw.text((4, top + _CELL // 2), kind, fill=(0, 0, 0), font=font, anchor="lm")
        for number in range(min(_SHOWN, len(images))):
            left = _NAME_WIDTH + number * width
            sheet = Image.open(io.BytesIO(render(images[number], kind, number))).convert("RGBA")
            sheet.thumbnail((_CELL, _CELL))
            draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=(190, 190, 190))  # seen if transparent
            picture.paste(sheet, (left + (_CELL - sheet.width) // 2, top + (_CELL - sheet.height) // 2), sheet)
            small = Image.fromarray(readings.images[number, ..., 0]).resize((_SMALL, _SMALL), Image.Resampling.NEAREST)
            picture.paste(small, (left + _CELL + 2, top + (_CELL - _SMALL) // 2))
            reading, label = names[readings.classes[number]], names[labels[number]]
            text, colour = f"{reading}, {readings.confidences[number]:.0%}", _RIGHT
            if readings.is_refused[number]:
                text, colour = readings.problems[number], _DOUBTED
            elif reading != label:
                text, colour = f"{text}, but is {label}", _WRONG
            draw.text((left, top + _CELL + 1), text, fill=colour, font=font)
    return picture.quantize(dither=Image.Dither.NONE)  # keeps the file small


if __name__ == "__main__":
    main()
