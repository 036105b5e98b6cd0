"""Small pages with PAGE XML."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.lines import strokes

LINE_HEIGHT, LINE_WIDTH = 48, 300
_SPACING = 80


def page_xml(picture: str, size: tuple[int, int], texts: list[str | None], by: str = "polygon") -> str:
    """A page of this height and width, with a line for each text; by None it has none."""
    lines = []
    for number, text in enumerate(texts):
        left, top = 20, 16 + number * _SPACING
        right, bottom = left + LINE_WIDTH, top + LINE_HEIGHT
        points = {
            "polygon": f'<Coords points="{left},{top} {right},{top} {right},{bottom} {left},{bottom}"/>',
            "baseline": f'<Baseline points="{left},{bottom - 12} {right},{bottom - 12}"/>',
            "outside": f'<Coords points="{left},9000 {right},9000 {right},9048 {left},9048"/>',
            "nothing": "",
        }[by]
        equivalent = "" if text is None else f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv>"
        lines.append(f'<TextLine id="l{number}">{points}{equivalent}</TextLine>')
    return (
        '<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">'
        f'<Page imageFilename="{picture}" imageWidth="{size[1]}" imageHeight="{size[0]}">'
        f'<TextRegion id="r">{"".join(lines)}</TextRegion></Page></PcGts>'
    )


def write_page(folder: Path, name: str, texts: list[str | None], seed: int = 0, by: str = "polygon") -> Path:
    """Writes `NAME.png` and `NAME.xml`, and returns the XML's path."""
    pixels = np.full((32 + _SPACING * len(texts), 40 + LINE_WIDTH), 230, np.uint8)
    for number in range(len(texts)):
        top = 16 + number * _SPACING
        pixels[top : top + LINE_HEIGHT, 20 : 20 + LINE_WIDTH] = strokes(100 * seed + number, LINE_HEIGHT, LINE_WIDTH)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{name}.png")
    path = folder / f"{name}.xml"
    path.write_text(page_xml(f"{name}.png", pixels.shape, texts, by), encoding="utf-8")
    return path
