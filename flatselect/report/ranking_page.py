"""A ranking as one HTML page that needs nothing but itself: a plot, a table, and what they are made of."""

import html
import os
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flatselect.atomic_file import open_atomic
from flatselect.errors import ConfigError
from flatselect.ranking.candidates import RankedCandidate
from flatselect.selection.result import Ranking

_PREDICTED, _TRAINED, _ORDERED = "#1f5fa8", "#b5651d", "#4a7c59"
_ROW_PIXELS = 30
_LONGEST_NAME = 44


def write_ranking_page(ranking: Ranking, path: str | os.PathLike[str], facts: Mapping[str, str]) -> None:
    """Writes the page, whole or not at all.

    Args:
        ranking: What it shows.
        path: The .html file.
        facts: What the ranking is made of, by name: shown at the top as they are.

    Raises:
        ConfigError: The file cannot be written.
    """
    text = make_ranking_page(ranking, facts)
    try:
        with open_atomic(path) as stream:
            stream.write(text.encode())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder that is there"
        ) from None


def make_ranking_page(ranking: Ranking, facts: Mapping[str, str]) -> str:
    """The page's text; names of files and everything else that is not ours is escaped."""
    environment = Environment(
        loader=PackageLoader("flatselect.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    predicted_by = ranking.predicted_by
    return environment.get_template("ranking.html").render(
        ranking=ranking,
        facts=facts,
        yardstick=ranking.yardstick,
        chart=Markup(_make_chart(ranking)) if ranking.ranked else "",
        coverage=None if predicted_by is None else predicted_by.predictor.calibrator.coverage,
    )


def _make_chart(ranking: Ranking) -> str:
    """The plot with the script that draws it, as HTML; plotly escapes what stands in it as JSON."""
    candidates = ranking.ranked
    figure = go.Figure()
    rows = list(range(1, len(candidates) + 1))
    if (yardstick := ranking.yardstick) is None:
        figure.add_trace(_make_predictions(candidates, rows))
    else:
        figure.add_trace(_make_marks(yardstick.name, yardstick.values, rows, "circle", _ORDERED))
    train_scores = [candidate.train_score for candidate in candidates]
    figure.add_trace(_make_marks("training score", train_scores, rows, "line-ns-open", _TRAINED))
    names = [f"{candidate.rank}  {_escape(_shorten(candidate.path))}" for candidate in candidates]
    figure.update_layout(
        template="plotly_white",
        height=140 + _ROW_PIXELS * len(candidates),
        margin={"l": 10, "r": 20, "t": 40, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        font={"family": "system-ui, sans-serif", "size": 13},
        hovermode="closest",
    )
    figure.update_xaxes(title="score" if yardstick is None else "share of images", tickformat=".2f")
    figure.update_yaxes(tickvals=rows, ticktext=names, range=[len(rows) + 0.6, 0.4], automargin=True, zeroline=False)
    chart: str = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        config={"displayModeBar": False, "responsive": True},
        div_id="ranking-chart",
    )
    return chart


def _make_predictions(candidates: Sequence[RankedCandidate], rows: Sequence[int]) -> go.Scatter:
    predictions = [candidate.prediction for candidate in candidates if candidate.prediction is not None]
    scores = [prediction.predicted_test_score for prediction in predictions]
    intervals = [prediction.predicted_test_score_interval for prediction in predictions]
    return go.Scatter(
        name="predicted test score, with its interval",
        x=scores,
        y=rows,
        mode="markers",
        marker={
            "color": _PREDICTED,
            "size": 10,
            # Hollow where the calibrator has seen nothing like it.
            "symbol": ["circle-open" if prediction.extrapolation else "circle" for prediction in predictions],
        },
        error_x={
            "type": "data",
            "array": [high - score for (_, high), score in zip(intervals, scores, strict=True)],
            "arrayminus": [score - low for (low, _), score in zip(intervals, scores, strict=True)],
            "color": _PREDICTED,
            "thickness": 1.5,
        },
        text=[_escape(candidate.path) for candidate in candidates],
        hovertemplate="%{text}<br>predicted test score %{x:.4f}<extra></extra>",
    )


def _make_marks(name: str, values: Sequence[float | None], rows: Sequence[int], symbol: str, color: str) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=list(values),
        y=rows,
        mode="markers",
        marker={"color": color, "size": 11, "symbol": symbol, "line": {"width": 2, "color": color}},
        hovertemplate=f"{name} %{{x:.4f}}<extra></extra>",
    )


def _escape(text: str) -> str:
    """For plotly, which takes tags in a text for tags, and of entities knows but a few."""
    return html.escape(text, quote=False)


def _shorten(path: str) -> str:
    return path if len(path) <= _LONGEST_NAME else "…" + path[1 - _LONGEST_NAME :]
