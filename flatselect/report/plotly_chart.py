"""A chart as plotly's JSON. Texts in it are plotly's own markup: everything from outside is escaped."""

import html
import math
from collections.abc import Sequence
from typing import Any

from flatselect.records import Interval
from flatselect.report.chart import COLOR_SCALE, COLORS, Axis, Chart, Coloring, Number, Series

_ROW_PIXELS, _FRAME_PIXELS, _PLAIN_PIXELS = 26, 130, 420
_LONGEST_LABEL, _LONGEST_NARROW_LABEL = 40, 20


def make_plotly_chart(chart: Chart) -> dict[str, Any]:
    """Traces, layout, what changes of it on a phone, and colourings.

    The page adds the colours of text and lines, which follow its theme.
    """
    height = _FRAME_PIXELS + _ROW_PIXELS * chart.n_rows if chart.n_rows else _PLAIN_PIXELS
    return {
        "data": [_make_trace(series) for series in chart.series],
        "layout": {
            "height": height,
            "margin": {"l": 56, "r": 16, "t": 44, "b": 52},
            "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
            "hovermode": "closest",
            "barmode": "stack",
            # Slanted, a label ends at its tick: level, the last would lie outside.
            "xaxis": _make_axis(chart.x) | ({"tickangle": -35} if len(chart.x.labels) > 5 else {}),
            "yaxis": _make_axis(chart.y),
        },
        "narrow": {
            f"{name}.ticktext": [escape_plotly(_shorten(label, _LONGEST_NARROW_LABEL)) for label in axis.labels]
            for name, axis in (("xaxis", chart.x), ("yaxis", chart.y))
            if axis.labels
        },
        "colorings": {
            name: _make_coloring(coloring, chart.series) for name, coloring in sorted(chart.colorings.items())
        },
    }


def _make_axis(axis: Axis) -> dict[str, Any]:
    made: dict[str, Any] = {
        "title": {"text": axis.title, "standoff": 10},  # else it may lie over the labels
        "automargin": True,
        "zeroline": False,
        "type": "log" if axis.is_log else "linear",
    }
    if axis.is_log:
        made["exponentformat"] = "none"
    if axis.labels:
        n = len(axis.labels)
        made |= {
            "tickvals": list(range(1, n + 1)),
            "ticktext": [escape_plotly(_shorten(label)) for label in axis.labels],
            "range": [n + 0.6, 0.4] if axis.from_top else [0.6, n + 0.4],
        }
    return made


def _make_trace(series: Series) -> dict[str, Any]:
    color = COLORS[series.color]
    trace: dict[str, Any] = {
        "name": escape_plotly(series.name),
        "showlegend": bool(series.name),
        "x": _clean(series.x),
        "y": _clean(series.y),
        "hovertemplate": _make_hover(series),
        "opacity": 0.55 if series.is_faint else 1,
    }
    if series.texts:
        trace["text"] = [escape_plotly(text) for text in series.texts]
    if series.form == "bars":
        return trace | {"type": "bar", "orientation": "h", "marker": {"color": color}}
    trace["type"] = "scatter"
    if series.form == "line":
        return trace | {
            "mode": "lines",
            "connectgaps": False,
            "line": {
                "color": color,
                "width": 1.2 if series.is_faint else 2,
                "dash": "dot" if series.is_dotted else "solid",
            },
        }
    hollow = series.is_hollow or [False] * len(series.x)
    symbols = ["line-ns-open" if series.form == "ticks" else "circle-open" if ring else "circle" for ring in hollow]
    trace |= {
        "mode": "markers",
        "marker": {"color": color, "size": 12 if series.form == "ticks" else 8, "symbol": symbols},
        "error_x": _make_bars(series.x, series.x_intervals, color),
        "error_y": _make_bars(series.y, series.y_intervals, color),
    }
    if series.form == "ticks":
        trace["marker"]["line"] = {"width": 2, "color": color}
    return trace


def _make_hover(series: Series) -> str:
    return ("%{text}<br>" if series.texts else "") + "%{x:.4~g}, %{y:.4~g}<extra></extra>"


def _make_bars(values: Sequence[Number], intervals: Sequence[Interval], color: str) -> dict[str, Any]:
    if not intervals:
        return {"visible": False}
    pairs = list(zip(values, intervals, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": _clean([high - value for value, (_, high) in pairs if value is not None]),
        "arrayminus": _clean([value - low for value, (low, _) in pairs if value is not None]),
        "color": color,
        "thickness": 1.3,
        "width": 3,
    }


def _make_coloring(coloring: Coloring, series: Sequence[Series]) -> dict[str, Any]:
    """The colour axis, and a number for each point of each trace; None where it is not coloured."""
    values = {trial: math.log10(value) if coloring.is_log else value for trial, value in coloring.values.items()}
    low, high = min(values.values()), max(values.values())
    n = len(COLOR_SCALE)
    axis: dict[str, Any] = {"cmin": low, "cmax": high if high > low else low + 1}
    if coloring.labels:
        n_labels = len(coloring.labels)
        picked = [COLOR_SCALE[round(index * (n - 1) / max(1, n_labels - 1))] for index in range(n_labels)]
        # Steps of one colour each, in place of a passage between them.
        axis["colorscale"] = [
            [end / n_labels, color] for index, color in enumerate(picked) for end in (index, index + 1)
        ]
        axis |= {"cmin": -0.5, "cmax": n_labels - 0.5}
        ticks = {"tickvals": list(range(n_labels)), "ticktext": [escape_plotly(_shorten(t)) for t in coloring.labels]}
    else:
        axis["colorscale"] = [[index / (n - 1), color] for index, color in enumerate(COLOR_SCALE)]
        steps = [low + (axis["cmax"] - low) * index / 4 for index in range(5)]
        ticks = {
            "tickvals": steps,
            "ticktext": [f"{10**step if coloring.is_log else step:.3g}" for step in steps],
        }
    axis["colorbar"] = {"thickness": 12, "outlinewidth": 0, **ticks}
    return {
        "coloraxis": axis,
        "values": [[values.get(trial) for trial in one.trials] if one.trials else None for one in series],
    }


def _clean(values: Sequence[Number]) -> list[Number]:
    """JSON knows no NaN and no infinity."""
    return [None if value is None or not math.isfinite(value) else float(value) for value in values]


def escape_plotly(text: str) -> str:
    """For plotly, which takes tags in a text for tags, and of entities knows but a few."""
    return html.escape(text, quote=False)


def _shorten(label: str, longest: int = _LONGEST_LABEL) -> str:
    return label if len(label) <= longest else "…" + label[1 - longest :]
