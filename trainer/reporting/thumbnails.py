"""Small pictures for pages that hold thousands of them."""

import io

import numpy as np
from PIL import Image

from common.formats import picture
from trainer.prediction.parts import Item, Pixels

CHARACTER_SIDE, LINE_HEIGHT = 96, 48
_LINE_WIDTH = 1600
_SHAPE = (28, 28)
_QUALITIES = (80, 55, 30, 10)


def of(item: Item, is_line: bool) -> Image.Image:
    """The picture of an item as on paper: of a character at most 96 pixels long, of a line at most 48 high.

    Raises `PictureError` if it cannot be decoded.
    """
    if isinstance(item.content, np.ndarray):
        shown = Image.fromarray(255 - item.content[..., 0])
    else:
        values = item.content.values if isinstance(item.content, Pixels) else picture.decode(item.content)
        shown = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    if shown.mode == "RGBA":
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")
    shown.thumbnail((_LINE_WIDTH, LINE_HEIGHT) if is_line else (CHARACTER_SIDE, CHARACTER_SIDE))
    return shown


def encode(shown: Image.Image, most_bytes: int) -> tuple[str, bytes]:
    """The media type and the file of a picture: PNG if that is small enough, else WebP, as good as it can be."""
    png = io.BytesIO()
    shown.save(png, "PNG", optimize=True)
    if png.tell() <= most_bytes:
        return "image/png", png.getvalue()
    while True:
        for quality in _QUALITIES:
            webp = io.BytesIO()
            shown.save(webp, "WEBP", quality=quality)
            if webp.tell() <= most_bytes or max(shown.size) == 1:
                return "image/webp", webp.getvalue()
        shown = shown.reduce(2)


def shape(shown: Image.Image) -> np.ndarray:
    """What a picture shows, float32 [784]: 28×28 grey pixels, by which it is compared with others."""
    return np.asarray(shown.convert("L").resize(_SHAPE, Image.Resampling.BOX), np.float32).ravel()
