"""What `flatselect rank` prints for people."""

import os
from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from flatselect.cli.output import EXTRAPOLATION_HINT, format_number, format_with_half_width, make_table, print_table
from flatselect.ranking.candidates import RankedCandidate
from flatselect.selection.result import Ranking

UNCALIBRATED = "predictions are uncalibrated: give --calibrator FILE or study:NAME for predicted test scores"
_LONGEST_REPEATED = 8


def print_ranking(ranking: Ranking) -> None:
    """Prints the table, best first, on standard output, and what could not be measured on standard error."""
    if ranking.ranked:
        print_table(make_ranking_table(ranking))
        click.echo("\n".join(list_hints(ranking)))
    print_errors(ranking)


def print_errors(ranking: Ranking) -> None:
    """One line on standard error for each checkpoint that could not be measured, and one where nothing is predicted."""
    for candidate in ranking.broken:
        lines = [line.strip() for line in str(candidate.error).splitlines()]
        click.echo(f"not ranked: {candidate.path}: {'; '.join(lines).replace(':; ', ': ')}", err=True)
    if ranking.predicted_by is None and ranking.ranked:
        click.echo(UNCALIBRATED, err=True)


def make_ranking_table(ranking: Ranking) -> Table:
    """A line for each ranked checkpoint."""
    _, names = shorten_paths([candidate.path for candidate in ranking.ranked])
    columns, cells_by_rank = ["train\nscore", "flatness"], map(_list_predicted, ranking.ranked)
    if yardstick := ranking.yardstick:
        columns += [yardstick.short_name.replace(" ", "\n"), "loss"]
        cells_by_rank = map(_list_measured, ranking.ranked, yardstick.values)
    else:
        columns += ["predicted\ntest gap", "predicted\ntest score", "P(best)"]
    table = make_table(["rank"], "checkpoint", columns)
    for candidate, name, last_cells in zip(ranking.ranked, names, cells_by_rank, strict=True):
        cells = [str(candidate.rank), name, format_number(candidate.train_score)]
        cells += [format_number(candidate.relative_gap_flatness, "#.3g"), *last_cells]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def list_hints(ranking: Ranking) -> list[str]:
    """What is to be known to read the table."""
    folder, _ = shorten_paths([candidate.path for candidate in ranking.ranked])
    hints = [f"checkpoints of {folder}"] if folder else []
    if predicted_by := ranking.predicted_by:
        coverage = predicted_by.predictor.calibrator.coverage
        hints.append(f"predicted by {predicted_by.source}; the intervals are to hold {coverage:.0%} of test scores")
    if yardstick := ranking.yardstick:
        hints.append(f"uncalibrated: in the order of {yardstick.name}, no test score is predicted")
    if any(candidate.extrapolation for candidate in ranking.ranked):
        hints.append(EXTRAPOLATION_HINT)
    return hints


def shorten_paths(paths: Sequence[str]) -> tuple[str | None, list[str]]:
    """The folder that all paths share, where naming it once saves room, and the paths below it."""
    parents = [Path(path).parent for path in paths]
    if len(paths) < 2 or len({parent.is_absolute() for parent in parents}) > 1:
        return None, list(paths)
    shared = Path(os.path.commonpath(parents))
    if len(str(shared)) < _LONGEST_REPEATED:
        return None, list(paths)
    return str(shared), [str(Path(path).relative_to(shared)) for path in paths]


def _list_predicted(candidate: RankedCandidate) -> list[str]:
    prediction = candidate.prediction
    assert prediction is not None
    low, high = prediction.predicted_test_score_interval
    return [
        # In two lines, as a terminal has 80 columns.
        format_with_half_width(prediction.predicted_test_gap, prediction.predicted_test_gap_interval, "\n"),
        f"{prediction.predicted_test_score:.4f}{'?' * prediction.extrapolation}\n{low:.3f} to {high:.3f}",
        format_number(candidate.probability_best, ".3f"),
    ]


def _list_measured(candidate: RankedCandidate, value: float | None) -> list[str]:
    assert candidate.measurement is not None
    return [format_number(value), format_number(candidate.measurement.train_loss)]
