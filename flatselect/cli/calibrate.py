"""`flatselect calibrate`: a calibrator from what has been measured, and how good it is."""

import click

from flatselect.calibration.estimators import ESTIMATOR_NAMES
from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.cli.calibrate_output import print_calibration
from flatselect.cli.calibration_sources import read_sources
from flatselect.cli.output import print_json

_EPILOG = """\b
Examples:
  How well the calibration trials of a study predict each other:
    flatselect calibrate studies/digits.toml --plot calibration.html
  Of two studies, kept in a file, and used by a third in place of its own calibration trials:
    flatselect calibrate studies/digits.toml fashion.db -o calibrator.json
    flatselect search new.toml --set calibration.artifact=calibrator.json
  A study on a server, and a table of your own:
    flatselect calibrate study:digits measured.csv --storage postgresql://USER:PASSWORD@HOST/DATABASE

A CSV file has the columns that `flatselect query STUDY --epochs --csv` prints, or the calibration's own features:
relative_gap_flatness (or log_relative_gap_flatness), test_gap (or train_score and test_score), any of train_loss,
train_score, n_parameters, ...; group says which rows belong to one network and are held out together, cluster of which
data set it is where the calibrator is to speak for others. Audited scores are never used."""


@click.command("calibrate", epilog=_EPILOG)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--storage", metavar="URL", help="Database of the studies that are given by name.")
@click.option(
    "--estimator",
    type=click.Choice(ESTIMATOR_NAMES),
    default="auto",
    show_default=True,
    help="auto: the simplest within a standard error of the best.",
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Of the intervals.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="The calibrator's .json file to write.")
@click.option("--plot", type=click.Path(dir_okay=False), metavar="FILE.html", help="Draw predictions and reliability.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, all else on standard error.")
def calibrate(
    sources: tuple[str, ...],
    storage: str | None,
    estimator: str,
    coverage: float,
    output: str | None,
    plot: str | None,
    as_json: bool,
) -> None:
    """Fit a calibrator of test gaps, say how well it predicts, and write it.

    SOURCE is a study (its file, its .db file, its name or study:NAME) of which the trials that held out a part of the
    data are taken, or a .csv file. Several are joined; trials are held out whole.
    """
    rows, found = read_sources(sources, storage)
    predictor = GapPredictor.fit(rows, estimator=estimator, coverage=coverage, metadata={"sources": found})
    description = predictor.describe()
    if output is not None:
        predictor.save(output)
    if plot is not None:
        # Imported here: a page takes a second to make, and is seldom asked for.
        from flatselect.report.calibration_charts import write_calibration_page

        write_calibration_page(predictor, plot)
    if as_json:
        print_json({"sources": found, **description, "output": output})
    else:
        print_calibration(found, description)
    if output is not None:
        click.echo(f"{output}: a calibrator; `--set calibration.artifact={output}` searches with it", err=True)
