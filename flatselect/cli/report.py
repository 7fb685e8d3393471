"""`flatselect report`: a study as one HTML page."""

from contextlib import closing
from pathlib import Path

import click

from flatselect.cli.opening import open_study_reader
from flatselect.cli.page_path import check_page_path
from flatselect.cli.step_progress import StepProgress

_EPILOG = """\b
Examples:
  flatselect report studies/digits.toml
  flatselect report digits --storage sqlite:///studies/digits.db -o digits.html"""


@click.command("report", epilog=_EPILOG)
@click.argument("study")
@click.option(
    "-o", "--output", default="report.html", show_default=True, metavar="FILE.html", help="The page to write."
)
@click.option("--storage", metavar="URL", help="Database; default: what the study file says, or NAME.db.")
def report(study: str, output: str, storage: str | None) -> None:
    """Write what is known of STUDY as one HTML page, also while it is searched.

    STUDY is a study file, a .db file or database's URL of one study, or a study's name. The page needs no network: the
    ranking, how predictions fared in the audit, curves, parameters, what was pruned and why, what it cost, how good the
    calibrator is, and how to run the study again.
    """
    check_page_path(output)
    with closing(open_study_reader(study, storage)) as reader, StepProgress("making the page", "parts") as progress:
        # Imported here: scikit-learn takes seconds to import, and a wrong name is answered without it.
        from flatselect.report.page import write_page
        from flatselect.report.study_charts import CHARTS
        from flatselect.report.study_contents import N_READINGS, read_study_contents
        from flatselect.report.study_page import make_study_page

        progress.show(0, N_READINGS + len(CHARTS))
        contents = read_study_contents(reader, progress.advance)
        page = make_study_page(contents, progress.advance)
    write_page(page, output)
    click.echo(f"{output}: {len(contents.trials):,} trials, {Path(output).stat().st_size / 1e6:.1f} MB", err=True)
