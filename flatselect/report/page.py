"""A page for a browser: one HTML file that needs nothing but itself."""

import os
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flatselect.atomic_file import open_atomic
from flatselect.errors import ConfigError
from flatselect.report.chart import Absence, Chart
from flatselect.report.plotly_chart import make_plotly_chart


def make_page(template: str, charts: Mapping[str, Chart | Absence], **values: Any) -> str:
    """The page's text.

    Everything that is not ours is escaped: names in HTML by Jinja2, in a chart's JSON by Jinja2 for HTML and by
    `make_plotly_chart` for plotly.

    Args:
        template: Its file's name.
        charts: By kind; the template says where each stands.
        values: For the template, beside `charts` and `drawings`.
    """
    environment = Environment(
        loader=PackageLoader("flatselect.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawings = {kind: make_plotly_chart(chart) for kind, chart in charts.items() if isinstance(chart, Chart)}
    return environment.get_template(template).render(
        charts=charts, drawings=drawings, plotly=_read_plotly() if drawings else "", **values
    )


def write_page(text: str, path: str | os.PathLike[str]) -> None:
    """Writes the page, whole or not at all; raises ConfigError where it cannot."""
    write_file(text.encode(), path)


def write_file(content: bytes, path: str | os.PathLike[str]) -> None:
    """Writes what a user has asked for, whole or not at all.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        with open_atomic(path) as stream:
            stream.write(content)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder that is there"
        ) from None


def _read_plotly() -> Markup:
    # Imported here: it takes a second, and a page without a chart needs none of it.
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())
