"""A chart as a picture, by matplotlib: for papers and slides, where a page cannot go."""

import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from flatselect.report.chart import COLOR_SCALE, COLORS, Axis, Chart, Coloring, Number, Series

_WIDTH_INCHES, _PLAIN_INCHES = 7.5, 4.5
_FRAME_INCHES, _ROW_INCHES = 1.4, 0.24
_DOTS_PER_INCH = 160
_LONGEST_LABEL = 40


def draw_picture(chart: Chart, picture_format: str, coloring: str | None = None) -> bytes:
    """The picture's file.

    Args:
        chart: What it shows; its caption is not in it.
        picture_format: "png", "svg" or "pdf".
        coloring: One of the chart's, by name.
    """
    height = _FRAME_INCHES + _ROW_INCHES * chart.n_rows if chart.n_rows else _PLAIN_INCHES
    figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    axes = figure.add_subplot()
    ends: dict[float, float] = {}
    for series in chart.series:
        _draw(axes, series, ends, chart.colorings[coloring] if coloring else None)
    axes.set_title(_protect(chart.title), loc="left", fontsize=12)
    _set_axis(axes, chart.x, "x")
    _set_axis(axes, chart.y, "y")
    axes.grid(color="#dde2e8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if any(series.name for series in chart.series):
        figure.legend(loc="outside upper right", ncols=2, fontsize=9, frameon=False)
    if coloring:
        _add_color_bar(figure, axes, coloring, chart.colorings[coloring])
    stream = io.BytesIO()
    # Without the date, and names drawn by lot, the same chart is the same file.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(picture_format)
    with rc_context({"svg.hashsalt": chart.kind}):
        figure.savefig(stream, format=picture_format, dpi=_DOTS_PER_INCH, metadata=metadata)
    return stream.getvalue()


def _draw(axes: Axes, series: Series, ends: dict[float, float], coloring: Coloring | None) -> None:
    x, y = _fill(series.x), _fill(series.y)
    # A name that begins with _ is not in a legend.
    name = _protect(series.name) if series.name else "_"
    color, alpha = COLORS[series.color], 0.5 if series.is_faint else 1.0
    if series.form == "line":
        style, width = ":" if series.is_dotted else "-", 0.9 if series.is_faint else 1.6
        axes.plot(x, y, linestyle=style, linewidth=width, color=color, alpha=alpha, label=name)
        return
    if series.form == "bars":
        lengths, rows = x.tolist(), y.tolist()
        axes.barh(rows, lengths, left=[ends.get(row, 0.0) for row in rows], color=color, label=name, height=0.75)
        ends |= {row: ends.get(row, 0.0) + length for row, length in zip(rows, lengths, strict=True)}
        return
    edges: list[ColorType] = [color] * len(x)
    if coloring is not None and series.trials:
        edges = _find_colors(coloring, series.trials)
    for horizontal, intervals in ((True, series.x_intervals), (False, series.y_intervals)):
        for column, row, (low, high), edge in zip(x, y, intervals, edges, strict=False):
            if horizontal:
                axes.plot([low, high], [row, row], color=edge, linewidth=1, alpha=0.7)
            else:
                axes.plot([column, column], [low, high], color=edge, linewidth=1, alpha=0.7)
    if series.form == "ticks":
        axes.scatter(x, y, marker="|", s=90, c=edges, linewidths=1.8, label=name, alpha=alpha)
        return
    hollow = np.array(series.is_hollow or [False] * len(x), dtype=bool)
    for rings in (False, True):
        chosen = hollow == rings
        if not chosen.any():
            continue
        own = [edge for edge, is_own in zip(edges, chosen, strict=True) if is_own]
        faces = "none" if rings else own
        is_named = rings is bool(hollow[0])
        axes.scatter(
            x[chosen], y[chosen], s=26, facecolors=faces, edgecolors=own, alpha=alpha, label=name if is_named else "_"
        )


def _find_colors(coloring: Coloring, trials: Sequence[int]) -> list[ColorType]:
    scale, norm = _make_scale(coloring)
    grey = COLORS["grey"]
    return [scale(norm(coloring.values[trial])) if trial in coloring.values else grey for trial in trials]


def _make_scale(coloring: Coloring) -> tuple[LinearSegmentedColormap, Normalize]:
    values = list(coloring.values.values())
    low, high = min(values), max(values)
    if high <= low:
        high = low + 1
    n_steps = len(coloring.labels) or 256
    scale = LinearSegmentedColormap.from_list("flatselect", COLOR_SCALE, N=n_steps)
    if coloring.labels:
        return scale, Normalize(-0.5, n_steps - 0.5)
    return scale, LogNorm(low, high) if coloring.is_log else Normalize(low, high)


def _add_color_bar(figure: Figure, axes: Axes, name: str, coloring: Coloring) -> None:
    scale, norm = _make_scale(coloring)
    bar = figure.colorbar(ScalarMappable(norm, scale), ax=axes, label=_protect(name))
    if coloring.labels:
        bar.set_ticks(list(range(len(coloring.labels))), labels=[_shorten(label) for label in coloring.labels])


def _set_axis(axes: Axes, axis: Axis, direction: str) -> None:
    own = axes.xaxis if direction == "x" else axes.yaxis
    own.set_label_text(_protect(axis.title))
    if axis.is_log:
        (axes.set_xscale if direction == "x" else axes.set_yscale)("log")
    if axis.labels:
        n = len(axis.labels)
        own.set_ticks(range(1, n + 1), labels=[_shorten(label) for label in axis.labels])
        limits = (n + 0.6, 0.4) if axis.from_top else (0.6, n + 0.4)
        (axes.set_xlim if direction == "x" else axes.set_ylim)(limits)
        if direction == "x" and n > 5:
            own.set_tick_params(rotation=30)


def _fill(values: Sequence[Number]) -> np.ndarray:
    """NaN, at which matplotlib breaks a line, for what is missing or infinite."""
    return np.array([math.nan if v is None or not math.isfinite(v) else v for v in values], dtype=np.float64)


def _shorten(label: str) -> str:
    return _protect(label if len(label) <= _LONGEST_LABEL else "…" + label[1 - _LONGEST_LABEL :])


def _protect(text: str) -> str:
    """Two dollar signs would begin and end a formula."""
    return text.replace("$", r"\$")
