"""The speed of `python -m trainer predict`, compared with Keras predicting one character at a time.

    python benchmarks/predict_speed.py --run runs/byclass --data data/emnist/byclass/1.0.0

Pictures are PNG files of test examples, enlarged tenfold on a sheet of twice that width. One at a time means
`Model.predict` on `model.keras`, after the same conversion in NumPy and Pillow. Loading the model is not counted.
Ratios are of figures from the same turn.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np

from trainer.data.examples import open_split

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from common.dataset import manifest as manifests  # noqa: E402
from common.dataset.schema import IMAGE  # noqa: E402
from common.normalize import picture  # noqa: E402
from trainer.config.commands import PredictConfig  # noqa: E402

_ENLARGED = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run folder")
    parser.add_argument("--data", type=Path, required=True, help="the dataset folder that it was trained on")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--one-by-one", type=int, default=200, help="pictures to predict one at a time")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    import keras

    from trainer import predict
    from trainer.serving import loading

    examples = open_split(arguments.data, manifests.read(arguments.data), "test")
    network = keras.models.load_model(arguments.run / "model.keras")
    loaded = loading.load(str(arguments.run))
    predict.loading.load = lambda _: loaded  # loading is not counted
    images = examples.take(np.arange(examples.num_examples))[IMAGE]

    def one_by_one(some: list[np.ndarray]) -> None:
        for image in some:
            network.predict(image[None].astype(np.float32), verbose=0)

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        folder.mkdir()
        for number, image in enumerate(images[: arguments.pictures]):
            (folder / f"{number:06d}.png").write_bytes(_draw(image))
        some_files = sorted(folder.iterdir())[: arguments.one_by_one]

        def by_command(source: Path) -> None:
            predict.run(PredictConfig(str(arguments.run), (str(source),), str(Path(place) / "out.jsonl")))

        ways = {
            "PNG pictures": (
                lambda: by_command(folder),
                min(arguments.pictures, len(images)),
                lambda: one_by_one([picture.read(path.read_bytes())[0][..., None] for path in some_files]),
            ),
            "28×28 images of a dataset folder": (
                lambda: by_command(arguments.data),
                len(images),
                lambda: one_by_one(list(images[: arguments.one_by_one])),
            ),
        }
        print(f"{machine.describe()}; {network.name} of {arguments.run}, {network.count_params():,} parameters\n")
        print("| characters/s | `trainer predict` | one at a time | ratio |\n| --- | --- | --- | --- |")
        for name, (ours, count, theirs) in ways.items():
            ours(), theirs()  # traces graphs, fills caches
            rates = [(_rate(ours, count), _rate(theirs, len(some_files))) for _ in range(arguments.rounds)]
            ratio = statistics.median(our_rate / their_rate for our_rate, their_rate in rates)
            our_rate, their_rate = (statistics.median(column) for column in zip(*rates, strict=True))
            print(f"| {name} | {our_rate:,.0f} | {their_rate:,.0f} | {ratio:.0f} |")


def _rate(work: Callable[[], None], count: int) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def _draw(image: np.ndarray) -> bytes:
    import io

    from PIL import Image, ImageOps

    side = _ENLARGED * len(image)
    ink = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    sheet = Image.new("L", (2 * side, side))
    sheet.paste(ink, (side // 3, 0))
    content = io.BytesIO()
    ImageOps.invert(sheet).save(content, "PNG")
    return content.getvalue()


if __name__ == "__main__":
    main()
