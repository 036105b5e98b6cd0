"""An IDX source's characters in other formats."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.io import savemat

from tests.support.sources import IdxSource


def write_mat(source: IdxSource, path: Path, **changes) -> Path:
    """Writes the published layout: a struct `dataset` of structs, images column-major in rows of 784."""
    dataset = source.dataset
    content = {
        split: {
            "images": source.images[split].transpose(0, 2, 1).reshape(-1, 784),
            "labels": (source.labels[split] + dataset.first_label).astype(np.uint8)[:, None],
            "writers": np.zeros((len(source.labels[split]), 1)),
        }
        for split in ("train", "test")
    }
    mapping = [
        [label, *map(ord, characters.ljust(len(dataset.classes[-1]), characters[0]))]
        for label, characters in enumerate(dataset.classes, start=dataset.first_label)
    ]
    content["mapping"] = np.array(mapping, np.float64)
    savemat(path, {"dataset": content | changes}, do_compression=True)
    return path


def zip_folder(source: IdxSource) -> Path:
    """Writes NIST's layout: an archive with the files in a folder `gzip/`."""
    path = source.folder.parent / "gzip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in source.folder.iterdir():
            archive.write(file, f"gzip/{file.name}")
    return path


def draw_pictures(source: IdxSource) -> Path:
    """Writes a printed character for each training label as a PNG to the folder of its class; all differ."""
    font = ImageFont.load_default(60)
    for index, label in enumerate(source.labels["train"]):
        name = source.dataset.class_names[label]
        folder = source.folder.parent / "pictures" / name
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.new("L", (140, 140), 235)
        ImageDraw.Draw(picture).text((10 + index % 50, 5 + index // 50 % 50), name, 40, font)
        picture.save(folder / f"{index}.png")
    return source.folder.parent / "pictures"


FORMS: dict[str, Callable[[IdxSource], Path]] = {
    "idx": lambda source: source.folder,
    "zip": zip_folder,
    "matlab": lambda source: write_mat(source, source.folder.parent / f"{source.dataset.file_prefix}.mat"),
    "pictures": draw_pictures,
}
