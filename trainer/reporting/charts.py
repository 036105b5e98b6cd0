"""The interactive charts of reports, as HTML fragments. No chart relies on colour alone."""

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import plotly.offline
from markupsafe import Markup

# Distinct for colour-blind readers, and in grey: Okabe and Ito, "Color universal design", 2008.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "star")
_GRID = "#d8d8d8"
# From white to dark, steep at first, because most mistakes are rare.
_SHARES = [[0, "#ffffff"], [0.02, "#deebf7"], [0.15, "#6baed6"], [0.4, "#2171b5"], [1, "#08306b"]]
_EPOCHS_NAMED = 10


@dataclass(frozen=True)
class Series:
    """A named series of values, one for each epoch from the first on."""

    name: str
    values: list[float]


def library() -> Markup:
    """The script that draws all charts of a page; embedded once, so that the page needs no network."""
    return Markup(f"<script>{plotly.offline.get_plotlyjs()}</script>")


def lines(chart_id: str, title: str, series: list[Series], is_share: bool = False, from_zero: bool = False) -> Markup:
    """Lines over epochs. `is_share` shows values as percent; `from_zero` starts the axis at 0."""
    figure = go.Figure()
    for number, curve in enumerate(series):
        colour, dash, marker = (kinds[number % len(kinds)] for kinds in (_COLOURS, _DASHES, _MARKERS))
        figure.add_scatter(
            x=list(range(1, len(curve.values) + 1)),
            y=curve.values,
            name=curve.name,
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            marker={"symbol": marker, "size": 7},
        )
    num_epochs = max((len(curve.values) for curve in series), default=0)
    figure.update_xaxes(title="epoch", tick0=1, dtick=math.ceil(num_epochs / _EPOCHS_NAMED) or 1)
    figure.update_yaxes(
        tickformat=".1%" if is_share else None,
        hoverformat=".2%" if is_share else ".4~g",
        rangemode="tozero" if from_zero else "normal",
    )
    return _to_html(figure, chart_id, title, height=320)


def confusion(chart_id: str, matrix: np.ndarray, class_names: tuple[str, ...]) -> Markup:
    """The confusion matrix, counts [C, C], rows true; buttons show everything or only the mistakes."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    mistakes = np.where(np.eye(len(matrix), dtype=bool), np.nan, shares)
    figure = go.Figure()
    for values, is_visible in ((shares, True), (mistakes, False)):
        figure.add_heatmap(
            z=values,
            x=class_names,
            y=class_names,
            customdata=matrix.tolist(),
            hovertemplate="%{y} taken for %{x}: %{customdata:,} times, %{z:.1%} of all %{y}<extra></extra>",
            colorscale=_SHARES,
            zmin=0,
            zmax=1 if is_visible else None,
            colorbar={"title": {"text": "share of<br>the row"}, "tickformat": ".0%", "thickness": 14},
            visible=is_visible,
        )
    buttons = [
        {"label": label, "method": "update", "args": [{"visible": visible}]}
        for label, visible in (("everything", [True, False]), ("mistakes only", [False, True]))
    ]
    menu = {"type": "buttons", "direction": "right", "buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02}
    figure.update_layout(updatemenus=[menu | {"yanchor": "bottom", "showactive": True}])
    # As categories, or the classes 0 to 9 would be taken for numbers.
    figure.update_xaxes(type="category", title="predicted", dtick=1, showgrid=False, tickangle=0)
    figure.update_yaxes(type="category", title="true", dtick=1, showgrid=False, autorange="reversed")
    return _to_html(figure, chart_id, "Confusion matrix", height=820)


def per_class(chart_id: str, figures: dict[str, dict[str, float]]) -> Markup:
    """F1 of each class as a bar, with precision and recall as marks; `figures` as `per_class` in `metrics.json`."""
    names = list(figures)
    support = [figures[name]["support"] for name in names]
    figure = go.Figure()
    figure.add_bar(
        x=names,
        y=[figures[name]["f1"] for name in names],
        name="F1",
        customdata=support,
        hovertemplate="F1 %{y:.1%}, %{customdata:,} examples",
        marker={"color": "#9ecae1", "line": {"color": "#4a7ea5", "width": 1}},
    )
    for key, symbol, colour in (("precision", "triangle-up", _COLOURS[1]), ("recall", "line-ew", _COLOURS[2])):
        figure.add_scatter(
            x=names,
            y=[figures[name][key] for name in names],
            name=key,
            mode="markers",
            hovertemplate=f"{key} %{{y:.1%}}",
            marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 2, "color": colour}},
        )
    figure.update_xaxes(type="category", dtick=1, tickangle=0, title="class")
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    figure.update_layout(hovermode="x unified")
    return _to_html(figure, chart_id, "Precision, recall and F1 of each class", height=380)


def reliability(chart_id: str, bins_by_name: dict[str, list[dict[str, float]]]) -> Markup:
    """The reliability diagram: accuracy over confidence, by `metrics.reliability`, and the diagonal."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], name="perfectly calibrated", mode="lines", line={"color": "#888888", "dash": "dot"}
    )
    for number, (name, bins) in enumerate(bins_by_name.items()):
        figure.add_scatter(
            x=[part["confidence"] for part in bins],
            y=[part["accuracy"] for part in bins],
            customdata=[part["num_examples"] for part in bins],
            name=name,
            mode="lines+markers",
            hovertemplate="confidence %{x:.1%}, accuracy %{y:.1%}, %{customdata:,} examples",
            line={"color": _COLOURS[number], "dash": _DASHES[number]},
            marker={"symbol": _MARKERS[number], "size": 8},
        )
    figure.update_xaxes(title="confidence", tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(title="accuracy", tickformat=".0%", range=[0, 1.02])
    return _to_html(figure, chart_id, "Reliability", height=380)


def _to_html(figure: go.Figure, chart_id: str, title: str, height: int) -> Markup:
    """A figure element; its chart has the id `chart-<chart_id>`."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 55, "r": 15, "t": 40, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        font={"size": 13, "color": "#1a1a1a"},
    )
    figure.update_xaxes(gridcolor=_GRID, automargin=True)
    figure.update_yaxes(gridcolor=_GRID, automargin=True)
    # Without Plotly's buttons, which cover legends on narrow screens; dragging still zooms.
    config = {"responsive": True, "displayModeBar": False}
    chart = figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"chart-{chart_id}", config=config)
    return Markup('<figure class="chart"><figcaption>{}</figcaption>{}</figure>').format(title, Markup(chart))
