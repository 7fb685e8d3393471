"""`flatselect plot`: one chart of a study as a picture."""

import difflib
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import click

from flatselect.cli.opening import open_study_reader
from flatselect.errors import ConfigError, StoreError

_FORMATS = ("png", "svg", "pdf")
_EPILOG = """\b
Kinds:
  ranking      predicted test scores with their intervals, best first
  pareto       predicted test score against cost, with the Pareto front
  audit        predicted against audited score
  gap          flatness against the test gap
  learning     training score by epoch
  flatness     flatness by epoch
  importance   of the parameters, by Optuna
  parallel     parallel coordinates
  pruned       what pruned trials would have needed
  cost         epochs trained, and saved by pruning
  calibration  predicted against measured gaps of networks held out
  reliability  of the calibrator's intervals

\b
Examples:
  flatselect plot studies/digits.toml ranking -o ranking.pdf
  flatselect plot studies/digits.db gap --color learning_rate -o gap.svg"""


@click.command("plot", epilog=_EPILOG)
@click.argument("study")
@click.argument("kind")
@click.option("-o", "--output", required=True, metavar="FILE.png|svg|pdf", help="The picture to write.")
@click.option("--color", metavar="PARAMETER", help="What the points of `gap` are coloured by.")
@click.option("--storage", metavar="URL", help="Database; default: what the study file says, or NAME.db.")
def plot(study: str, kind: str, output: str, color: str | None, storage: str | None) -> None:
    """Draw one chart of the report of STUDY into a file, by matplotlib (pip install 'flatselect[plot]').

    STUDY is a study file, a .db file or database's URL of one study, or a study's name.
    """
    picture_format = Path(output).suffix.lower().removeprefix(".")
    if picture_format not in _FORMATS:
        raise ConfigError(f"-o {output}: expected the name of a picture, such as {kind}.png, {kind}.svg or {kind}.pdf")
    # Imported here: scikit-learn takes seconds to import, and a wrong name is answered without it.
    from flatselect.report.chart import Absence
    from flatselect.report.page import write_file
    from flatselect.report.study_charts import CHARTS
    from flatselect.report.study_contents import read_study_contents

    check_word(kind, CHARTS, "kind of chart")
    try:
        from flatselect.report.matplotlib_chart import draw_picture
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}; pip install 'flatselect[plot]' brings what draws pictures") from None
    with closing(open_study_reader(study, storage)) as reader:
        contents = read_study_contents(reader)
    chart = CHARTS[kind](contents)
    if isinstance(chart, Absence):
        raise StoreError(f"study {contents.name!r}: nothing to draw. {chart.reason}")
    if color is not None:
        if not chart.colorings:
            raise ConfigError(f"--color {color}: the points of {kind} have one colour each kind; gap takes --color")
        check_word(color, chart.colorings, "parameter that varies")
    write_file(draw_picture(chart, picture_format, color), output)
    click.echo(f"{output}: {chart.title}. {chart.caption}".rstrip(), err=True)


def check_word(given: str, known: Collection[str], what: str) -> None:
    """Refuses a word that is not known, with the one that may be meant.

    Raises:
        ConfigError: The message names all.
    """
    if given in known:
        return
    near = difflib.get_close_matches(given, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"{given}: no such {what}; {hint}there is {', '.join(known)}")
