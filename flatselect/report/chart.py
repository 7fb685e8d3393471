"""What a chart shows, apart from who draws it: plotly on a page, matplotlib in a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flatselect.records import Interval

Form = Literal["points", "line", "bars", "ticks"]
Color = Literal["blue", "orange", "green", "red", "grey"]
Number = float | int | None

# Each is at least three times as bright as black-ish and as dark as white-ish: one palette for light and dark pages.
COLORS: dict[Color, str] = {
    "blue": "#2f7fc1",
    "orange": "#c8701a",
    "green": "#3c9160",
    "red": "#cc4b4b",
    "grey": "#7d8794",
}
# Of shares of a range, from low to high; ordered in brightness too, for who does not tell the hues apart.
COLOR_SCALE = ("#5b4bb5", "#2f7fc1", "#2f9a8f", "#6fae4a", "#d1a325")
MOST_POINTS = 2000
"""Of one chart, where nothing else is said."""


@dataclass(frozen=True)
class Axis:
    """One direction of a chart.

    Attributes:
        title: The quantity, with its unit.
        is_log: Whether equal steps are equal factors.
        labels: Names of the positions 1, 2, ...; without them the axis has numbers.
        from_top: Whether position 1 is at the top.
    """

    title: str
    is_log: bool = False
    labels: tuple[str, ...] = ()
    from_top: bool = False


@dataclass(frozen=True)
class Series:
    """Points, a line, horizontal bars or vertical ticks that belong together.

    Attributes:
        name: For the legend; "" is not in it.
        x: One number for each point; None breaks a line.
        y: Alike.
        form: How they are drawn. Bars begin where those of the series before ended.
        color: By name.
        is_faint: Drawn back, behind what matters.
        is_dotted: Of lines.
        x_intervals: An interval around each x, or none at all.
        y_intervals: An interval around each y, or none at all.
        is_hollow: Of each point, whether it is drawn as a ring; none at all: no point is.
        texts: What each point is, or none at all.
        trials: The trial of each point, where it is coloured by what is known of that one.
    """

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    form: Form = "points"
    color: Color = "blue"
    is_faint: bool = False
    is_dotted: bool = False
    x_intervals: Sequence[Interval] = ()
    y_intervals: Sequence[Interval] = ()
    is_hollow: Sequence[bool] = ()
    texts: Sequence[str] = ()
    trials: Sequence[int] = ()


@dataclass(frozen=True)
class Coloring:
    """What points may be coloured by: a number for each trial.

    Attributes:
        values: By trial number; trials without a value are grey.
        labels: Names of the values 0, 1, ... where they are choices; empty where they are numbers.
        is_log: Whether equal steps of colour are equal factors.
    """

    values: Mapping[int, float]
    labels: tuple[str, ...] = ()
    is_log: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart, ready to be drawn.

    Attributes:
        kind: Its short name, the same on the page and on the command line.
        title: What it is of.
        caption: What to know when reading it: what was left out, what a mark means.
        n_rows: Of a chart with a row for each thing, their number: it grows with them.
        colorings: By the name of a parameter, what points may be coloured by.
    """

    kind: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    caption: str = ""
    n_rows: int = 0
    colorings: Mapping[str, Coloring] = field(default_factory=dict)


@dataclass(frozen=True)
class Absence:
    """A chart that there is no data for, and why, in a sentence."""

    kind: str
    title: str
    reason: str


def join_lines(lines: Sequence[Sequence[Any]]) -> list[Any]:
    """Several lines as the points of one, with None between them."""
    joined: list[Any] = []
    for line in lines:
        joined += [*line, None]
    return joined[:-1]


def thin(n: int, most: int) -> list[int]:
    """At most so many of the indices 0 to n − 1, evenly, the first and the last among them."""
    if n <= most:
        return list(range(n))
    return [round(position * (n - 1) / (most - 1)) for position in range(most)]
