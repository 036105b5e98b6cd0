"""`preview.png`: a contact sheet, to see at a glance that images are upright and labels right."""

import io
import math
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from common import fonts
from common.dataset.schema import IMAGE, LABEL, Batch, Schema

EXAMPLES_PER_CLASS = 10

_SIDE = 56  # pixels, about: the longer side of an image on the sheet
_TEXT = 18
_NARROWEST_TITLE = 64
_GAP = 12
_BLOCKS_PER_ROW = 3


def choose(blocks: Iterable[Batch], class_histogram: tuple[int, ...]) -> list[list[np.ndarray]]:
    """The first `EXAMPLES_PER_CLASS` images of each class, uint8 [H, W], from `blocks` of examples.

    Reads no more blocks than needed, given the number of examples per class.
    """
    chosen: list[list[np.ndarray]] = [[] for _ in class_histogram]
    for block in blocks:
        for label, images in enumerate(chosen):
            wanted = np.flatnonzero(block[LABEL] == label)[: EXAMPLES_PER_CLASS - len(images)]
            # A copy, because a view would keep the whole block in memory.
            images += [image.copy() for image in block[IMAGE][wanted, ..., 0]]
        if all(
            len(images) == min(EXAMPLES_PER_CLASS, count) for images, count in zip(chosen, class_histogram, strict=True)
        ):
            break
    return chosen


def contact_sheet(examples: list[list[np.ndarray]], schema: Schema) -> bytes:
    """A PNG that shows, for each class, `label: name` and its example images (uint8 [H, W], light on dark)."""
    class_names = schema.vocabulary
    titles = [f"{index}: {name}" for index, name in enumerate(class_names)]
    title_width = max(_NARROWEST_TITLE, *(math.ceil(fonts.length(title, _TEXT)) + _GAP for title in titles))
    scale = max(1, round(_SIDE / max(schema.image_shape)))
    height, width = (side * scale for side in schema.image_shape[:2])
    rows = math.ceil(len(class_names) / _BLOCKS_PER_ROW)
    block_width = title_width + EXAMPLES_PER_CLASS * width + _GAP
    sheet = Image.new("L", (min(len(class_names), _BLOCKS_PER_ROW) * block_width + _GAP, rows * (height + 4) + _GAP))
    pen = ImageDraw.Draw(sheet)
    for index, (images, title) in enumerate(zip(examples, titles, strict=True)):
        # Classes run down the columns, like a list.
        left, top = _GAP + index // rows * block_width, _GAP + index % rows * (height + 4)
        fonts.write(pen, (left, top + height // 2), title, _TEXT, 255, "lm")
        for place, image in enumerate(images):
            sheet.paste(Image.fromarray(image).resize((width, height)), (left + title_width + place * width, top))
    buffer = io.BytesIO()
    # Only runs of black compress well; searching for more (`optimize`) takes ten times as long.
    sheet.save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()
