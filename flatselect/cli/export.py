"""`flatselect export`: one trial's model, or the average of several, in one file."""

import click

from flatselect.cli.checkpoint_model import ensure_working_folder_importable
from flatselect.cli.opening import open_study_reader
from flatselect.cli.output import EXTRAPOLATION_HINT
from flatselect.errors import ConfigError
from flatselect.records import Prediction
from flatselect.search.export import export_average, export_model
from flatselect.search.greedy_average import TriedTrial
from flatselect.store.study_reader import StudyReader

_EPILOG = """\b
Examples:
  flatselect export studies/digits.toml --trial best -o model.pt
  flatselect export finetuning.toml --average 5 -o model.pt
  python -c "import flatselect; print(flatselect.load('model.pt'))" """


@click.command("export", epilog=_EPILOG)
@click.argument("study")
@click.option("--trial", default="best", show_default=True, help="A trial number, or best.")
@click.option(
    "--average",
    type=click.IntRange(min=2),
    metavar="K",
    help="Average its weights with those of the K best trials: each of its architecture that is predicted to raise the "
    "test score. Of use where trials start from the same pretrained weights.",
)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="The .pt file to write.")
@click.option("--storage", metavar="URL", help="Database, where STUDY is a study's name.")
def export(study: str, trial: str, average: int | None, output: str, storage: str | None) -> None:
    """Write the weights, architecture and provenance of a trial of STUDY (a study file, a .db file or a name)."""
    if trial != "best" and not trial.isdigit():
        raise ConfigError(f"--trial {trial}: expected a trial number or best")
    reader, number = open_study_reader(study, storage), None if trial == "best" else int(trial)
    if average is not None:
        _export_average(reader, number, average, output)
        return
    written = export_model(reader, number, output)
    click.echo(f"{output}: {written.size / 1e6:.1f} MB, after {written.epoch} epochs", err=True)


def _export_average(reader: StudyReader, trial: int | None, n_best: int, output: str) -> None:
    ensure_working_folder_importable()
    written, average = export_average(reader, trial, n_best, output, _show_tried)
    if any(tried.prediction and tried.prediction.extrapolation for tried in average.tried):
        click.echo(EXTRAPOLATION_HINT, err=True)
    first, *others = average.trials
    size = f"{written.size / 1e6:.1f} MB"
    if others:
        named = ", ".join(map(str, average.trials))
        low, high = average.result.prediction.predicted_test_score_interval
        predicted = f"{_format_score(average.result.prediction)} [{low:.4f}, {high:.4f}]"
        click.echo(f"{output}: {size}, the average of trials {named}; predicted test score {predicted}", err=True)
        return
    click.echo(
        f"no average was predicted to be better than trial {first} alone: networks trained from different starts "
        f"seldom average well\n{output}: {size}, trial {first} itself, after {written.epoch} epochs",
        err=True,
    )


def _show_tried(tried: TriedTrial) -> None:
    if tried.prediction is None:
        line = f"with trial {tried.trial}: skipped, {tried.skipped}"
    elif tried.reestimated is None:
        line = f"with trial {tried.trial}: {_format_score(tried.prediction)}, {'kept' if tried.kept else 'not kept'}"
    else:
        line = f"trial {tried.trial} alone: predicted test score {_format_score(tried.prediction)}"
        if tried.reestimated != tried.prediction:
            line += f", {_format_score(tried.reestimated)} with its batch norms re-estimated"
    click.echo(line, err=True)


def _format_score(prediction: Prediction) -> str:
    return f"{prediction.predicted_test_score:.4f}" + "?" * prediction.extrapolation
