"""`flatselect sql`: a SELECT of one's own, on a connection that cannot write."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import click

from flatselect.cli.opening import find_url
from flatselect.cli.output import make_record_table, output_options, print_records, print_table
from flatselect.store.read_only_sql import read_sql

_EPILOG = """\b
Examples:
  flatselect sql "SELECT number, predicted_test_score FROM flatselect_ranking ORDER BY rank LIMIT 5" digits
  flatselect sql "SELECT study, count(*) AS n FROM flatselect_trials GROUP BY study" studies/all.db --json
  flatselect sql "SELECT * FROM flatselect_curves WHERE trial = 7" digits --csv > curve.csv

docs/database.md describes the views (flatselect_trials, flatselect_curves, flatselect_params,
flatselect_ranking) and the tables: flatselect_runs has the versions that a search ran with,
flatselect_studies the images, flatselect_checkpoints files of weights. The SELECT cannot write; before
it, views that are missing are made, and a database of an older flatselect is upgraded, where that may be
written."""


@click.command("sql", epilog=_EPILOG)
@click.argument("statement", metavar="SELECT")
@click.argument("database", metavar="[STUDY|FILE.db|URL]", required=False)
@click.option("--storage", metavar="URL", help="A database, in place of a study or a file.")
@output_options
def sql(statement: str, database: str | None, storage: str | None, output_format: str | None) -> None:
    """Print the rows of one SELECT, asked of the database of a study."""
    if database is None and storage is None:
        raise click.UsageError("no database: give a study, a .db file or a URL, or --storage")
    with read_sql(find_url(database, storage), statement) as (names, rows):
        names = _tell_apart(names)
        records = [dict(zip(names, map(_make_plain, row), strict=True)) for row in rows]
    if output_format is None:
        print_table(make_record_table(records, names))
    else:
        print_records(records, output_format, names)


def _tell_apart(names: list[str]) -> list[str]:
    """Of two columns with one name, the second gets a number."""
    told: list[str] = []
    for name in names:
        position, chosen = 2, name
        while chosen in told:
            chosen, position = f"{name}_{position}", position + 1
        told.append(chosen)
    return told


def _make_plain(value: Any) -> Any:
    """A value that JSON has a word for."""
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, datetime):
        return str(value)
    return value if isinstance(value, str | int | float | dict | list | None) else str(value)
