"""Records on standard output: a table for people, JSON and CSV for programs."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flatselect.records import EpochMeasurement, Interval, TrialRecord
from flatselect.store.finite_json import replace_non_finite

Command = TypeVar("Command", bound=Callable[..., Any])
_WIDTH_WITHOUT_TERMINAL = 120
_PARETO_HINT = "* on the Pareto front: no other trial is at least as good in every objective and better in one"
EXTRAPOLATION_HINT = "? extrapolation: unlike anything the calibrator was fitted on"


def make_output_options(json_help: str) -> Callable[[Command], Command]:
    """Gives a command `--json`, `--jsonl` and `--csv` as its argument `output_format`; None by default: a table."""

    def decorate(command: Command) -> Command:
        for name, text in (
            ("csv", "One line of CSV for each record, under a line of names."),
            ("jsonl", "One JSON object a line."),
            ("json", json_help),
        ):
            command = click.option(f"--{name}", "output_format", flag_value=name, default=None, help=text)(command)
        return command

    return decorate


output_options = make_output_options("A JSON list of records.")


def print_records(records: Sequence[Mapping[str, Any]], output_format: str, names: Iterable[str] = ()) -> None:
    """Prints records as "json", "jsonl" or "csv".

    `names` are columns of CSV, also where there are no records.
    """
    if output_format == "json":
        print_json(list(records))
    elif output_format == "jsonl":
        for record in records:
            click.echo(json.dumps(replace_non_finite(record), ensure_ascii=False))
    else:
        _print_csv([flatten(record) for record in records], names)


def print_json(value: Any) -> None:
    """Prints one JSON value; NaN and the infinities, which JSON does not know, become null."""
    click.echo(json.dumps(replace_non_finite(value), indent=2, ensure_ascii=False))


def make_console() -> Console:
    """Standard output, as wide as the terminal; without one, plain text."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)
    return console


def print_table(table: Table) -> None:
    """Prints a table as wide as the terminal."""
    make_console().print(table)


def make_text(value: object, style: str = "") -> Text:
    """Whatever it is as text that a terminal shows and does not obey: no markup, no control characters."""
    return Text(escape_controls(str(value)), style)


def escape_controls(text: str) -> str:
    """The text with control characters spelt out, apart from line ends and tabs."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )


def make_pairs(pairs: Mapping[str, object]) -> Table:
    """A line, or what it takes, for each name and its value; texts are shown as they are."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(make_text(name), value if isinstance(value, Text) else make_text(value))
    return table


def print_trials(
    trials: Sequence[TrialRecord], ranking: Sequence[int] | None = None, pareto_front: Sequence[int] | None = None
) -> None:
    """Prints the table of trials: the ranked ones first, best first, and the others as they are given."""
    print_table(make_trial_table(trials, ranking, pareto_front))


def make_trial_table(
    trials: Sequence[TrialRecord], ranking: Sequence[int] | None = None, pareto_front: Sequence[int] | None = None
) -> Table:
    """A line for each trial.

    Args:
        trials: Those that are not ranked stay in this order.
        ranking: Trial numbers, best first.
        pareto_front: Trials that are marked, in a study that minimises costs too; None where there is no front.
    """
    rank = {number: position for position, number in enumerate(ranking or (), 1)}
    has_audit = any(trial.audit_test_score is not None for trial in trials)
    table = make_table(
        ["rank"] * bool(rank) + ["trial", "state"],
        "network",
        ["train\nscore", "flatness", "predicted\ntest\ngap", "predicted\ntest\nscore"] + ["audited\nscore"] * has_audit,
    )
    for trial in sorted(trials, key=lambda trial: rank.get(trial.number, len(trials) + 1)):
        cells = [str(trial.number), trial.state, _describe_network(trial, has_costs=pareto_front is not None)]
        if measured := trial.measurement:
            cells += [format_number(measured.train_score), format_number(measured.relative_gap_flatness, "#.3g")]
        else:
            cells += ["", ""]
        if predicted := trial.prediction:
            cells += [
                # In two lines: the network takes at least two, and a terminal has 80 columns.
                format_with_half_width(predicted.predicted_test_gap, predicted.predicted_test_gap_interval, "\n"),
                format_number(predicted.predicted_test_score) + "?" * predicted.extrapolation,
            ]
        else:
            cells += ["", ""]
        mark = "*" if pareto_front is not None and trial.number in pareto_front else ""
        cells = [f"{rank.get(trial.number, '')}{mark}"] * bool(rank) + cells
        cells += [format_number(trial.audit_test_score)] * has_audit
        table.add_row(*map(make_text, cells))
    hints = [_PARETO_HINT] * bool(pareto_front)
    hints += [EXTRAPOLATION_HINT] * any(trial.prediction and trial.prediction.extrapolation for trial in trials)
    table.caption = "\n".join(hints) or None
    return table


def make_record_table(records: Sequence[Mapping[str, Any]], names: Iterable[str]) -> Table:
    """A line for each record, which all have the columns `names`."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for name in names:
        is_number = all(isinstance(record[name], int | float | None) for record in records)
        table.add_column(make_text(name.replace("_", "_\n")), justify="right" if is_number else "left", overflow="fold")
    for record in records:
        table.add_row(*(make_text(_show_cell(record[name])) for name in names))
    return table


def _show_cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "" if value is None else str(value)


def make_table(left: Sequence[str], text: str | None, numbers: Sequence[str]) -> Table:
    """An empty table: columns to the left, one text that is folded where room is scarce, and numbers to the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, caption_justify="left")
    for name in left:
        table.add_column(name)
    if text is not None:
        table.add_column(text, min_width=16, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def format_number(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else f"{value:{form}}"


def format_with_half_width(value: float, interval: Interval, space: str = " ") -> str:
    """A number with half the width of its interval, `0.031 ±0.012`."""
    return f"{value:.3f}{space}±{(interval[1] - interval[0]) / 2:.3f}"


def _describe_network(trial: TrialRecord, *, has_costs: bool) -> str:
    params = " ".join(f"{name}={_shorten(value)}" for name, value in trial.params.items())
    failure = trial.failure and trial.failure.splitlines()[0][:200]
    role = "calibration trial" if trial.is_calibration else ""
    if trial.retrains is not None:
        role = f"trial {trial.retrains} again, on all images"
    elif trial.retries is not None:
        role = ", ".join(filter(None, [role, f"trial {trial.retries} tried again"]))
    costs = _describe_costs(trial.measurement) if has_costs and trial.measurement else ""
    return "\n".join(text for text in (trial.model, params, costs, role, failure) if text)


def _describe_costs(measurement: EpochMeasurement) -> str:
    # Columns of their own would not fit into 80 characters beside the others.
    latency = "" if measurement.latency_ms is None else f", {measurement.latency_ms:.3g} ms an image"
    return f"{_format_count(measurement.n_parameters)} parameters{latency}"


def _format_count(number: int) -> str:
    """A count in three digits: 850, 12.3k, 4.56M."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{name}"
    return str(number)


def _shorten(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without lists and objects: `params` becomes `param_NAME`, an interval `..._low` and `..._high`."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if name == "params":
            flat |= {f"param_{parameter}": item for parameter, item in value.items()}
        elif name.endswith("_interval"):
            flat[name.removesuffix("interval") + "low"], flat[name.removesuffix("interval") + "high"] = (
                value or (None,) * 2
            )
        else:
            flat[name] = value
    return flat


def _print_csv(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> None:
    all_names = list(dict.fromkeys([*names, *(name for row in rows for name in row)]))
    if not all_names:
        return
    writer = csv.DictWriter(sys.stdout, all_names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
