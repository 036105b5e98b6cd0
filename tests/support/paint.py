"""Characters as people draw them: larger, off-centre, thinner or thicker, in either polarity or on transparency."""

import base64
import io
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from tests.support.browser import Browser

_SMALLEST, _LARGEST = 20, 1000
_PICTURES_AT_ONCE = 50


@dataclass(frozen=True)
class Drawing:
    """How to draw a 28×28 character: `side` pixels large, at `left` and `top` of a sheet of up to twice that size."""

    side: int
    width: int
    height: int
    left: int
    top: int
    stroke: Literal["as it is", "thin", "thick"]
    paper: Literal["white", "black", "transparent"]


def any_drawing(rng: np.random.Generator) -> Drawing:
    side = int(np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST))))
    width, height = (side * rng.uniform(1, 2, 2)).astype(int).tolist()
    left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    stroke = str(rng.choice(["as it is", "thin", "thick"])) if side >= 100 else "as it is"
    return Drawing(side, width, height, left, top, stroke, str(rng.choice(["white", "black", "transparent"])))


def by_a_program(image: np.ndarray, drawing: Drawing) -> bytes:
    """A character, uint8 [28, 28], light on dark, as the PNG of a paint program."""
    ink = Image.fromarray(image).resize((drawing.side, drawing.side), Image.Resampling.BICUBIC)
    if drawing.stroke != "as it is":
        change = ImageFilter.MinFilter if drawing.stroke == "thin" else ImageFilter.MaxFilter
        ink = ink.filter(change(1 + 2 * (drawing.side // 100)))
    sheet = Image.new("L", (drawing.width, drawing.height))
    sheet.paste(ink, (drawing.left, drawing.top))
    if drawing.paper == "white":
        sheet = ImageOps.invert(sheet)
    if drawing.paper == "transparent":
        black = Image.new("L", sheet.size)
        sheet = Image.merge("RGBA", (black, black, black, sheet))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def on_a_canvas(browser: Browser, images: np.ndarray, drawings: list[Drawing]) -> list[bytes]:
    """Characters drawn on a page's canvas, as PNG or, for every other one on opaque paper, as JPEG files."""
    browser.open_empty()
    pictures = []
    for start in range(0, len(images), _PICTURES_AT_ONCE):
        some = slice(start, start + _PICTURES_AT_ONCE)
        characters = images[some].reshape(-1, 28 * 28).tolist()
        for url in browser.run(_DRAW, characters, [asdict(drawing) for drawing in drawings[some]]):
            pictures.append(base64.b64decode(url.split(",")[1]))
    return pictures


# White on black until the stroke is right: the brighter of copies that lie a little beside each other makes it thicker,
# the darker of them thinner.
_DRAW = """
return Array.from(arguments[0], (pixels, number) => {
  const drawing = arguments[1][number];
  const character = new OffscreenCanvas(28, 28).getContext("2d");
  const image = character.createImageData(28, 28);
  pixels.forEach((ink, place) => image.data.set([ink, ink, ink, 255], 4 * place));
  character.putImageData(image, 0, 0);
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [drawing.width, drawing.height];
  const page = sheet.getContext("2d");
  page.imageSmoothingQuality = "high";
  page.fillRect(0, 0, drawing.width, drawing.height);
  const draw = (x, y) => page.drawImage(
    character.canvas, drawing.left + x, drawing.top + y, drawing.side, drawing.side);
  draw(0, 0);
  if (drawing.stroke != "as it is") {
    page.globalCompositeOperation = drawing.stroke == "thin" ? "darken" : "lighten";
    const reach = drawing.side / 100;
    for (const [x, y] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) draw(reach * x, reach * y);
  }
  if (drawing.paper == "white") {
    page.globalCompositeOperation = "difference";
    page.fillStyle = "white";
    page.fillRect(0, 0, drawing.width, drawing.height);
  }
  if (drawing.paper == "transparent") {
    const drawn = page.getImageData(0, 0, drawing.width, drawing.height);
    for (let at = 0; at < drawn.data.length; at += 4) drawn.data.set([16, 32, 64, drawn.data[at]], at);
    page.putImageData(drawn, 0, 0);
  }
  return sheet.toDataURL(number % 2 && drawing.paper != "transparent" ? "image/jpeg" : "image/png");
});
"""
