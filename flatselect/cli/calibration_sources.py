"""From the SOURCEs of `flatselect calibrate` to calibration rows: studies in databases, and CSV files."""

import dataclasses
import hashlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import click

from flatselect.calibration.calibration_row import CalibrationRow
from flatselect.calibration.csv_rows import read_csv_rows
from flatselect.cli.opening import open_referred_study
from flatselect.errors import CalibrationError, ConfigError
from flatselect.search.study_calibration import describe_study_source, read_calibration_rows

_STUDY = "study:"


class CalibrationSource(NamedTuple):
    """What one SOURCE gives.

    Attributes:
        identity: Equal for two sources that are the same study or the same content.
        name: What its groups' names begin with.
        rows: Its rows, the groups not yet prefixed.
        metadata: Plain values that tell where the rows come from, with the fingerprint of the images.
    """

    identity: str
    name: str
    rows: list[CalibrationRow]
    metadata: dict[str, Any]


def read_sources(names: Sequence[str], storage: str | None) -> tuple[list[CalibrationRow], list[dict[str, Any]]]:
    """The rows of all sources, each source's groups apart, and the metadata of each.

    Args:
        names: Study files, database files that hold one study, names of studies, `study:NAME`, or CSV files.
        storage: The database's URL, for studies.

    Raises:
        FlatselectError: A source is not there, is given twice, holds a mistake, or measured no test gap.
    """
    sources: list[CalibrationSource] = []
    for name in names:
        source = _read_csv(name) if name.endswith(".csv") else _read_study(name, storage)
        if any(source.identity == other.identity for other in sources):
            raise ConfigError(f"{name}: the same rows as an earlier source; give each once")
        sources.append(source)
    rows: list[CalibrationRow] = []
    for index, source in enumerate(sources):
        # Studies in two databases may share a name, their trials never a group.
        n_before = sum(other.name == source.name for other in sources[:index])
        prefix = f"{source.name} ({n_before + 1})" if n_before else source.name
        rows += [dataclasses.replace(row, group=f"{prefix}/{row.group}") for row in source.rows]
    return rows, [source.metadata for source in sources]


def _read_study(name: str, storage: str | None) -> CalibrationSource:
    with closing(open_referred_study(name.removeprefix(_STUDY), storage)) as reader:
        rows = read_calibration_rows(reader)
        if not rows:
            raise CalibrationError(
                f"{name}: no finished trial of it held out a part of the data and measured flatness; "
                "calibration.trials in the study file says how many do"
            )
        metadata = describe_study_source(reader)
    return CalibrationSource(metadata["uid"], metadata["name"], rows, {**metadata, **_count(rows)})


def _read_csv(name: str) -> CalibrationSource:
    found = read_csv_rows(name)
    if found.ignored_columns:
        click.echo(f"{name}: columns ignored: {', '.join(found.ignored_columns)}", err=True)
    if found.n_without_gap:
        click.echo(f"{name}: {found.n_without_gap} lines without a test gap left out", err=True)
    if not found.rows:
        raise CalibrationError(f"{name}: no line says a test gap; expected at least 2 that do")
    content = hashlib.sha256(Path(name).read_bytes()).hexdigest()
    metadata = {"kind": "csv", "name": Path(name).name, "sha256": content, **_count(found.rows)}
    return CalibrationSource(content, Path(name).stem, found.rows, metadata)


def _count(rows: list[CalibrationRow]) -> dict[str, int]:
    return {"n_rows": len(rows), "n_groups": len({row.group for row in rows})}
