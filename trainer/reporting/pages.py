"""Renders HTML pages and other texts from the templates in this package, each a self-contained file."""

import base64
import io
from typing import Any

import jinja2
import numpy as np
from PIL import Image


def render(template: str, **values: Any) -> str:
    """Renders a template. In HTML, all `values` but `Markup` are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.reporting"),
        autoescape=lambda name: name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "count": "{:,}".format, "duration": _duration, "setting": _setting}
    return environment.get_template(template).render(**values)


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f} %"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def _setting(value: Any) -> str:
    """The value as it is written after a flag."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def picture(image: np.ndarray) -> str:
    """The data URI of an image, uint8 [H, W, 1], light on dark; it is shown dark on light, as on paper."""
    content = io.BytesIO()
    Image.fromarray(255 - image[..., 0]).save(content, "PNG", optimize=True)
    return as_data_uri(content.getvalue())


def as_data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
