"""`flatselect export`: one trial's model, or the average of several, in a file; the whole study in MLflow."""

from contextlib import closing
from pathlib import Path

import click

from flatselect.cli.opening import open_study_reader
from flatselect.cli.output import EXTRAPOLATION_HINT
from flatselect.cli.step_progress import StepProgress
from flatselect.cli.working_folder import ensure_working_folder_importable
from flatselect.errors import ConfigError
from flatselect.exporting.hub_folder import CARD, write_hub_folder
from flatselect.exporting.mlflow_runs import export_to_mlflow
from flatselect.exporting.model_files import FORMATS, find_format, write_model
from flatselect.exporting.trial_model import TrialModel, average_trial_models, read_trial_model
from flatselect.records import Prediction
from flatselect.search.greedy_average import TriedTrial
from flatselect.store.engine import hide_password
from flatselect.store.study_reader import StudyReader
from flatselect.training.checkpoint import CheckpointFile

_HUB = "hub"
_EPILOG = """\b
Examples:
  The best trial's weights and where they come from, for flatselect.load:
    flatselect export studies/digits.toml -o model.pt
    flatselect export studies/digits.toml -o model.safetensors
  Programs that run without its code; the second takes pixels of 0 to 1:
    flatselect export studies/digits.toml --trial 7 -o model.pt2
    flatselect export studies/digits.toml -o model.onnx --normalize
  A folder for Hugging Face's Hub, with a model card:
    flatselect export studies/digits.toml -o digits-model/
  The average of the best trials:
    flatselect export finetuning.toml --average 5 -o model.pt
  Every trial as a run of MLflow; a second time, it adds what is new:
    flatselect export studies/digits.toml --mlflow sqlite:///mlflow.db

A model takes images as they were normalised in training: mean and std stand in the file. Every file is tried on random
images first, and is not written where its outputs are not the network's. TorchScript is deprecated in torch, and not
written. docs/export.md says what is in each file."""


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
@click.option(
    "-o",
    "--output",
    metavar="FILE|FOLDER/",
    help="The file to write: .pt, .safetensors, .pt2 (torch.export) or .onnx; or a folder for the Hub.",
)
@click.option(
    "--format", "form", type=click.Choice([*FORMATS, _HUB]), help="Of the output.  [default: by the output's name]"
)
@click.option("--normalize", is_flag=True, help="The program (.pt2, .onnx) takes pixels of 0 to 1 and normalises them.")
@click.option("--mlflow", metavar="URI", help="Write all trials to MLflow: a database's URL or a server's.")
@click.option("--storage", metavar="URL", help="Database, where STUDY is a study's name.")
def export(
    study: str,
    trial: str,
    average: int | None,
    output: str | None,
    form: str | None,
    normalize: bool,
    mlflow: str | None,
    storage: str | None,
) -> None:
    """Write a model of STUDY (a study file, a .db file or a name) for others to use, or all its trials to MLflow."""
    if output is None and mlflow is None:
        raise click.UsageError("nothing to write: give -o FILE, or --mlflow URI")
    if output is None and (form is not None or normalize):
        raise click.UsageError("--format and --normalize are of a file: give -o FILE")
    if mlflow is not None and average is not None:
        raise click.UsageError("--average is of a file, and --mlflow of trials: give one of the two")
    if trial != "best" and not trial.isdigit():
        raise ConfigError(f"--trial {trial}: expected a trial number or best")
    number = None if trial == "best" else int(trial)
    if output is not None:
        form = form or (_HUB if output.endswith("/") or Path(output).is_dir() else find_format(output))
        if normalize and (form == _HUB or not FORMATS[form].is_program):
            raise ConfigError(f"--normalize is of programs (.pt2, .onnx), and {output} holds weights")
    ensure_working_folder_importable()
    with closing(open_study_reader(study, storage)) as reader:
        if output is not None:
            model = _read_model(reader, number, average)
            written = _write(reader, model, output, str(form), normalize)
            _say_what_was_written(model, written)
            if form == _HUB:
                card = Path(output, CARD)
                click.echo(f"{card}: the model card; add a license before you publish it", err=True)
        if mlflow is not None:
            _write_to_mlflow(reader, number, mlflow)


def _read_model(reader: StudyReader, number: int | None, average: int | None) -> TrialModel:
    if average is None:
        return read_trial_model(reader, number)
    model = average_trial_models(reader, number, average, _show_tried)
    assert model.average is not None
    if any(tried.prediction and tried.prediction.extrapolation for tried in model.average.tried):
        click.echo(EXTRAPOLATION_HINT, err=True)
    return model


def _write(reader: StudyReader, model: TrialModel, output: str, form: str, normalizes: bool) -> CheckpointFile:
    if form == _HUB:
        return write_hub_folder(reader, model, output)
    return write_model(model, output, form, normalizes=normalizes)


def _say_what_was_written(model: TrialModel, written: CheckpointFile) -> None:
    size, average = f"{written.size / 1e6:.1f} MB", model.average
    if average is None:
        click.echo(f"{written.path}: {size}, after {written.epoch} epochs", err=True)
    elif len(average.trials) > 1:
        named = ", ".join(map(str, average.trials))
        low, high = average.result.prediction.predicted_test_score_interval
        predicted = f"{_format_score(average.result.prediction)} [{low:.4f}, {high:.4f}]"
        click.echo(f"{written.path}: {size}, the average of trials {named}; predicted test score {predicted}", err=True)
    else:
        first = average.trials[0]
        click.echo(
            f"no average was predicted to be better than trial {first} alone: networks trained from different starts "
            f"seldom average well\n{written.path}: {size}, trial {first} itself, after {written.epoch} epochs",
            err=True,
        )


def _write_to_mlflow(reader: StudyReader, number: int | None, uri: str) -> None:
    with StepProgress("writing", "trials") as progress:
        done = export_to_mlflow(reader, uri, lambda: read_trial_model(reader, number), progress.show)
    counts = f"{done.n_new} new runs, {done.n_updated} updated, {done.n_unchanged} as they were"
    click.echo(f"{hide_password(uri)}: experiment {done.experiment!r}: {counts}", err=True)
    if done.model_note is not None:
        click.echo(f"without a model: {done.model_note}", err=True)


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
