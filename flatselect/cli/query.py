"""`flatselect query`: the trials of a study, or their epochs."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import click
from rich.table import Table

from flatselect.cli.opening import open_study_reader
from flatselect.cli.output import (
    format_number,
    format_with_half_width,
    make_table,
    output_options,
    print_records,
    print_table,
    print_trials,
)
from flatselect.store.study_reader import StudyReader

_EPILOG = """\b
Examples:
  flatselect query studies/digits.toml
  flatselect query digits --storage sqlite:///studies/digits.db --json
  flatselect query studies/digits.db --epochs --csv > epochs.csv"""


@click.command("query", epilog=_EPILOG)
@click.argument("study")
@click.option("--storage", metavar="URL", help="Database; default: what the study file says, or NAME.db.")
@click.option("--epochs", is_flag=True, help="One record for each epoch of each trial, in place of one for each trial.")
@output_options
def query(study: str, storage: str | None, epochs: bool, output_format: str | None) -> None:
    """Print the trials of STUDY: a study file, a .db file that holds one study, or a study's name."""
    with closing(open_study_reader(study, storage)) as reader:
        if epochs:
            records = list(_read_epochs(reader))
            if output_format is None:
                print_table(_make_epoch_table(records))
            else:
                print_records(records, output_format)
            return
        trials = reader.trials(include_audits=True)
    if output_format is None:
        print_trials(trials)
    else:
        print_records([trial.to_json() for trial in trials], output_format)


def _read_epochs(reader: StudyReader) -> Iterator[dict[str, Any]]:
    """One flat record for each epoch: what was measured, and what the latest calibrator says of it."""
    predictions = reader.latest_predictions()
    for number, curve in sorted(reader.measurements().items()):
        for measurement in curve:
            values = measurement.to_dict()
            companions = values.pop("companions")
            predicted = predictions.get((number, measurement.epoch))
            yield {
                "trial": number,
                **values,
                "test_gap": measurement.test_gap,
                "predicted_test_gap": predicted and predicted.predicted_test_gap,
                "predicted_test_gap_interval": predicted and predicted.predicted_test_gap_interval,
                "predicted_test_score": predicted and predicted.predicted_test_score,
                "predicted_test_score_interval": predicted and predicted.predicted_test_score_interval,
                "extrapolation": predicted and predicted.extrapolation,
                **{f"companion_{name}": value for name, value in companions.items()},
            }


def _make_epoch_table(records: list[dict[str, Any]]) -> Table:
    names = ["trial", "epoch", "train\nloss", "train\nscore", "flatness", "test\ngap"]
    table = make_table([], None, [*names, "predicted\ntest gap", "predicted\ntest score", "seconds"])
    for record in records:
        gap = record["predicted_test_gap"]
        table.add_row(
            str(record["trial"]),
            str(record["epoch"]),
            format_number(record["train_loss"]),
            format_number(record["train_score"]),
            format_number(record["relative_gap_flatness"], "#.3g"),
            format_number(record["test_gap"], ".3f"),
            "" if gap is None else format_with_half_width(gap, record["predicted_test_gap_interval"]),
            format_number(record["predicted_test_score"]),
            format_number(record["train_seconds"] + record["measure_seconds"], ".1f"),
        )
    return table
