"""What `flatselect calibrate` prints for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from flatselect.cli.output import format_number, make_pairs, make_table, make_text, print_table

_SIGNIFICANT = 0.05
_SMALLEST_SHOWN = 0.0001


def print_calibration(sources: Sequence[Mapping[str, Any]], description: Mapping[str, Any]) -> None:
    """Prints what a calibration is made of and how well it predicts the groups held out, in tables of 80 columns.

    Args:
        sources: Where the rows come from: "name", "n_rows" and "n_groups" of each.
        description: `GapPredictor.describe()`.
    """
    quality, choice = description["cross_validated"], description["estimator_choice"]
    tables = [_make_source_table(sources)]
    if choice["scores"]:
        tables.append(_make_score_table(choice))
    if quality["reliability"] is not None:
        tables.append(_make_reliability_table(quality["reliability"]))
    for table in tables:
        print_table(table)
        click.echo()
    print_table(make_pairs(_list_pairs(description)))


def describe_flatness_lift(lift: Mapping[str, Any]) -> str:
    """`GapPredictor.describe()["flatness_lift"]` in plain words."""
    if not lift["features"]:
        return "the rows have no flatness that varies"
    p_value = lift["p_value"]
    if p_value is None:
        return "flatness changes no prediction"
    what = f"flatness {'lowers' if lift['lift'] > 0 else 'raises'} the error by {abs(lift['lift']):.4f}"
    if abs(lift["lift"]) < _SMALLEST_SHOWN:
        what = f"flatness changes the error by less than {_SMALLEST_SHOWN:g}"
    if lift["lift"] <= 0:
        meaning = "nothing gained"
    else:
        meaning = "it helps here" if p_value < _SIGNIFICANT else "nothing to be seen"
    return f"{what}, p = {p_value:.2g} over {lift['n_groups']} groups: {meaning}"


def _list_pairs(description: Mapping[str, Any]) -> dict[str, str]:
    quality, choice = description["cross_validated"], description["estimator_choice"]
    asked = "" if description["estimator"] == choice["name"] else f": {choice['reason']}"
    coverage = "not defined with fewer than 3 groups"
    if quality["coverage"] is not None:
        coverage = (
            f"{quality['coverage']:.3f} for {description['coverage']:g}, mean width {quality['interval_width']:.4f}"
        )
    return {
        "estimator": f"{choice['name']}{asked}",
        "mean absolute error": format_number(quality["mae"]),
        "R² of the gap": _format(quality["r2"]),
        "Spearman": f"{_format(quality['spearman'])} of predicted with measured test score",
        "Kendall": f"{_format(quality['kendall'])} of the same",
        "coverage": coverage,
        "flatness adds": describe_flatness_lift(description["flatness_lift"]),
        "features": ", ".join(description["features"]) or "none varies: the mean gap predicts",
    }


def _make_source_table(sources: Sequence[Mapping[str, Any]]) -> Table:
    table = make_table([], "source", ["rows", "groups"])
    for source in sources:
        table.add_row(make_text(source["name"]), str(source["n_rows"]), str(source["n_groups"]))
    if len(sources) > 1:
        table.add_row("all", *(str(sum(source[key] for source in sources)) for key in ("n_rows", "n_groups")))
    return table


def _make_score_table(choice: Mapping[str, Any]) -> Table:
    table = make_table(["estimator"], None, ["held-out mean absolute error"])
    for name, score in choice["scores"].items():
        table.add_row(f"{name} (chosen)" if name == choice["name"] else name, format_number(score))
    return table


def _make_reliability_table(reliability: Sequence[Mapping[str, float]]) -> Table:
    table = make_table(["coverage of held-out rows"], None, [f"{level['nominal']:g}" for level in reliability])
    table.add_row("observed", *(f"{level['observed']:.2f}" for level in reliability))
    for column in table.columns[1:]:
        column.min_width = 6
    return table


def _format(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
