"""`preview.png` of lines: some of them, each with its text, to see at a glance that they belong together."""

import io
import zlib
from collections.abc import Iterable
from itertools import islice

from PIL import Image, ImageDraw

from common import fonts
from common.dataset.schema import IMAGE, TEXT, TEXT_LENGTH, WIDTH, Batch, Schema

_LINES = 24
_WIDTH = 1200  # pixels, at most; wider lines are cut off
_GAP, _TEXT = 10, 26


def contact_sheet(blocks: Iterable[Batch], schema: Schema) -> bytes:
    """A PNG that shows the first lines of `blocks`, dark on light, each above its text."""
    height = schema.image_shape[0]
    shown = list(islice(((block, row) for block in blocks for row in range(len(block[IMAGE]))), _LINES))
    width = min(_WIDTH, max(int(block[WIDTH][row]) for block, row in shown)) + 2 * _GAP
    sheet = Image.new("L", (width, len(shown) * (height + _TEXT + _GAP) + _GAP), 255)
    pen = ImageDraw.Draw(sheet)
    for number, (block, row) in enumerate(shown):
        top = _GAP + number * (height + _TEXT + _GAP)
        image = 255 - block[IMAGE][row, :, : min(int(block[WIDTH][row]), _WIDTH), 0]
        sheet.paste(Image.fromarray(image), (_GAP, top))
        text = "".join(schema.characters[part] for part in block[TEXT][row][: block[TEXT_LENGTH][row]])
        fonts.write(pen, (_GAP, top + height), text, 16, 60)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", compress_type=zlib.Z_DEFAULT_STRATEGY)
    return buffer.getvalue()
