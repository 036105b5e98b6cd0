"""`preview.png`: a contact sheet, to see at a glance that images are upright and labels right."""

import io
import math
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.dataset.records import IMAGE_SIDE

EXAMPLES_PER_CLASS = 10

_SCALE = 2
_CELL = IMAGE_SIDE * _SCALE
_TITLE = 64
_GAP = 12
_BLOCKS_PER_ROW = 3


def choose(blocks: Iterable[tuple[np.ndarray, np.ndarray]], class_histogram: tuple[int, ...]) -> list[list[np.ndarray]]:
    """The first `EXAMPLES_PER_CLASS` images of each class from `blocks` of (images [N, 28, 28], labels [N]).

    Takes no more blocks than are needed, given how many examples of each class there are.
    """
    chosen: list[list[np.ndarray]] = [[] for _ in class_histogram]
    for images, labels in blocks:
        for label, examples in enumerate(chosen):
            # A copy, because a view would keep the whole block in memory.
            examples += [image.copy() for image in images[labels == label][: EXAMPLES_PER_CLASS - len(examples)]]
        if all(
            len(examples) == min(EXAMPLES_PER_CLASS, count)
            for examples, count in zip(chosen, class_histogram, strict=True)
        ):
            break
    return chosen


def contact_sheet(examples: list[list[np.ndarray]], class_names: tuple[str, ...]) -> bytes:
    """A PNG that shows, for each class, `label: name` and its example images (uint8 [28, 28], light on dark)."""
    rows = math.ceil(len(class_names) / _BLOCKS_PER_ROW)
    block_width = _TITLE + EXAMPLES_PER_CLASS * _CELL + _GAP
    sheet = Image.new("L", (min(len(class_names), _BLOCKS_PER_ROW) * block_width + _GAP, rows * (_CELL + 4) + _GAP))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for index, (images, name) in enumerate(zip(examples, class_names, strict=True)):
        # Down the columns, as one reads a list.
        left, top = _GAP + index // rows * block_width, _GAP + index % rows * (_CELL + 4)
        pen.text((left, top + _CELL // 2), f"{index}: {name}", fill=255, font=font, anchor="lm")
        for place, image in enumerate(images):
            sheet.paste(Image.fromarray(image).resize((_CELL, _CELL)), (left + _TITLE + place * _CELL, top))
    buffer = io.BytesIO()
    # Runs of black are all that can be compressed much; looking for more (`optimize`) takes ten times as long.
    sheet.save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()
