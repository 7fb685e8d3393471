"""`flatselect query`: which trials, or epochs, of which studies, in which order."""

import fnmatch
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import click
from rich.table import Table

from flatselect.cli.opening import make_file_url, open_study_reader, read_study_list
from flatselect.cli.output import (
    flatten,
    format_number,
    format_with_half_width,
    make_record_table,
    make_table,
    output_options,
    print_records,
    print_table,
    print_trials,
)
from flatselect.errors import StoreError
from flatselect.records import LATENCY, EpochMeasurement, Prediction, TrialRecord
from flatselect.store.engine import make_engine
from flatselect.store.study_query import Question, ask_with_kinds

_EPILOG = """\b
Examples:
  flatselect query studies/digits.toml
  flatselect query digits --where "predicted_test_score > 0.9 and width >= 32" --sort -predicted_test_score
  flatselect query digits --where "state = 'PRUNED'" --columns number,epochs,pruned_because
  flatselect query digits --sort rank --limit 5 --columns rank,number,model,predicted_test_score
  flatselect query digits --group-by block --agg "max(predicted_test_score),count()"
  flatselect query digits --storage sqlite:///studies/digits.db --json
  flatselect query studies/digits.db --epochs --where "trial in (3, 7)" --csv > epochs.csv
  flatselect query studies/all.db --study 'fashion*' --format parquet > trials.parquet

\b
A condition (--where) compares columns and parameters of the search space with numbers, texts in
quotes, true and false: = != < <= > >=, in ('a', 'b'), like '%x%', contains 'x', is null, is not
null; joined by and, or, not and parentheses. A name that is no plain word stands in `backquotes`.
What is missing (null) fulfils no comparison, and comes last in every order. Columns:
docs/database.md, or `--limit 1 --json`; where they are named also rank, from 1 for the best, and of
epochs companion_NAME, which was measured beside flatness (companion_gini)."""
_EPOCH_COLUMNS = "study,trial,epoch,train_score,relative_gap_flatness,test_gap,predicted_test_score"
_SHORT_COLUMNS = "study,number,state,model,train_score,relative_gap_flatness,predicted_test_score,audit_test_score"


@click.command("query", epilog=_EPILOG)
@click.argument("study", required=False)
@click.option("--storage", metavar="URL", help="Database; default: what the study file says, or NAME.db.")
@click.option("--study", "pattern", metavar="PATTERN", help="All studies of the database with such names: 'fashion*'.")
@click.option("--where", metavar="CONDITION", help="Only those of which this holds.")
@click.option("--sort", metavar="NAMES", help="By these columns; - before a name: the greatest first.")
@click.option("--columns", metavar="NAMES", help="Only these columns or parameters.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N rows.")
@click.option("--epochs", is_flag=True, help="One record for each epoch of each trial, in place of one for each trial.")
@click.option("--group-by", metavar="NAMES", help="One row for each group that these tell apart.")
@click.option("--agg", "aggregates", metavar="LIST", help="Of each group: count(), min(X), max(X), avg(X), sum(X).")
@click.option(
    "--format",
    "chosen_format",
    type=click.Choice(["table", "json", "jsonl", "csv", "parquet"]),
    default="table",
    help="As --json, --jsonl, --csv; or Parquet, for a file.",
)
@output_options
def query(
    study: str | None,
    storage: str | None,
    pattern: str | None,
    where: str | None,
    sort: str | None,
    columns: str | None,
    limit: int | None,
    epochs: bool,
    group_by: str | None,
    aggregates: str | None,
    chosen_format: str,
    output_format: str | None,
) -> None:
    """Print the trials of STUDY: a study file, a .db file that holds one study, or a study's name.

    With --study, STUDY is a .db file or a database's URL, unless --storage says it.
    """
    output_format = output_format or (None if chosen_format == "table" else chosen_format)
    is_grouped = group_by is not None or aggregates is not None
    shown_columns = columns
    if output_format is None and columns is None and not is_grouped and pattern is not None:
        shown_columns = _EPOCH_COLUMNS if epochs else _SHORT_COLUMNS
    question = Question(where, sort, shown_columns, limit, group_by, aggregates, epochs)
    records, kinds = _read(study, storage, pattern, question)
    if shown_columns is None and not is_grouped:
        records = [make_record(record) for record in records]
    if output_format is not None:
        _print(records, output_format, kinds)
    elif shown_columns is None and not is_grouped and epochs:
        print_table(_make_epoch_table(records))
    elif shown_columns is None and not is_grouped:
        print_trials([_make_trial(record) for record in records])
    else:
        print_table(make_record_table(records, kinds))


def _read(
    study: str | None, storage: str | None, pattern: str | None, question: Question
) -> tuple[list[dict[str, Any]], dict[str, type]]:
    """The rows that answer the question, and of what kind their columns are."""
    if pattern is None:
        if study is None:
            raise click.UsageError("no study: give STUDY, or --study PATTERN with a database")
        with closing(open_study_reader(study, storage)) as reader:
            return ask_with_kinds(reader.engine, [reader.study_uid], question)
    if (study is None) == (storage is None):
        raise click.UsageError("--study PATTERN needs one database: a .db file or URL in place of STUDY, or --storage")
    url = storage or (str(study) if "://" in str(study) else make_file_url(str(study)))
    found = read_study_list(url)
    chosen = [summary.uid for summary in found if fnmatch.fnmatchcase(summary.name, pattern)]
    if not chosen:
        names = ", ".join(summary.name for summary in found) or "none that flatselect made"
        raise StoreError(f"--study {pattern!r}: no study has such a name; there is {names}")
    engine = make_engine(url, create=False)
    try:
        return ask_with_kinds(engine, chosen, question)
    finally:
        engine.dispose()


def make_record(row: dict[str, Any]) -> dict[str, Any]:
    """A row as programs get it: intervals as pairs, times with their zone, each companion by itself."""
    record: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_low"):
            stem = name.removesuffix("_low")
            record[f"{stem}_interval"] = None if value is None else [value, row[f"{stem}_high"]]
        elif name == "companions":
            record |= {f"companion_{companion}": number for companion, number in (value or {}).items()}
        elif name == "seconds":
            record[name] = round(value, 3)
        elif not name.endswith("_high"):
            record[name] = value
    return record


def _make_epoch_table(records: Sequence[dict[str, Any]]) -> Table:
    names = ["trial", "epoch", "train\nloss", "train\nscore", "flatness", "test\ngap"]
    table = make_table([], None, [*names, "predicted\ntest gap", "predicted\ntest score", "seconds"])
    for record in records:
        gap, interval = record["predicted_test_gap"], record["predicted_test_gap_interval"]
        table.add_row(
            str(record["trial"]),
            str(record["epoch"]),
            format_number(record["train_loss"]),
            format_number(record["train_score"]),
            format_number(record["relative_gap_flatness"], "#.3g"),
            format_number(record["test_gap"], ".3f"),
            "" if gap is None or interval is None else format_with_half_width(gap, interval),
            format_number(record["predicted_test_score"]),
            format_number((record["train_seconds"] or 0.0) + (record["measure_seconds"] or 0.0), ".1f"),
        )
    return table


def _make_trial(record: dict[str, Any]) -> TrialRecord:
    """As much of a trial as the table shows."""
    measurement, prediction = None, None
    if record["epoch"] is not None:
        names = ("epoch", "n_train_images", "n_parameters", "relative_gap_flatness", "hessian_trace", "layer")
        measurement = EpochMeasurement(
            train_score=_read_float(record["train_score"]),
            train_loss=_read_float(record["train_loss"]),
            exactness=record["exactness"],
            companions={} if record["latency_ms"] is None else {LATENCY: record["latency_ms"]},
            **{name: record[name] for name in names},
        )
    if record["extrapolation"] is not None:
        prediction = Prediction(
            predicted_test_gap=_read_float(record["predicted_test_gap"]),
            predicted_test_gap_interval=record["predicted_test_gap_interval"] or (math.nan, math.nan),
            predicted_test_score=_read_float(record["predicted_test_score"]),
            predicted_test_score_interval=record["predicted_test_score_interval"] or (math.nan, math.nan),
            extrapolation=record["extrapolation"],
        )
    shown = (
        "number",
        "state",
        "params",
        "is_calibration",
        "audit_test_score",
        "failure",
        "model",
        "retrains",
        "retries",
    )
    return TrialRecord(measurement=measurement, prediction=prediction, **{name: record[name] for name in shown})


def _read_float(value: float | None) -> float:
    return math.nan if value is None else value


def _print(records: Sequence[dict[str, Any]], output_format: str, kinds: Mapping[str, type]) -> None:
    if output_format == "parquet":
        _print_parquet(records, kinds)
        return
    for record in records:
        for name, value in record.items():
            if isinstance(value, datetime):
                record[name] = value.isoformat() + "Z"
    print_records(records, output_format, kinds)


def _print_parquet(records: Sequence[dict[str, Any]], kinds: Mapping[str, type]) -> None:
    import pandas as pd

    from flatselect.store.study_frames import DTYPES

    if sys.stdout.isatty():
        raise StoreError("--format parquet: bytes are not for a terminal; write them to a file: > trials.parquet")
    rows = [flatten(record) for record in records]
    names = dict.fromkeys([*kinds, *(name for row in rows for name in row)])
    columns = {}
    for name in names:
        values, kind = [row.get(name) for row in rows], kinds.get(name, float)
        if kind is object:  # a column of a file is of one kind
            values, kind = [None if value is None else str(value) for value in values], str
        columns[name] = pd.Series(values, dtype=DTYPES[kind])
    try:
        content = pd.DataFrame(columns).to_parquet(index=False)
    except ImportError:
        raise StoreError("--format parquet needs the package pyarrow: pip install 'flatselect[parquet]'") from None
    click.echo(content, nl=False)
