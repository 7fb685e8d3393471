"""A study in pandas' frames, for notebooks: read anew at every call, also while a search writes."""

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import pandas as pd
from sqlalchemy import Table, select

from flatselect.errors import StoreError
from flatselect.store.engine import make_engine, open_transaction
from flatselect.store.named_values import COMPANION_PREFIX, list_column_kinds, read_parameter_kinds
from flatselect.store.study_query import Question, ask, ask_with_kinds
from flatselect.store.study_reader import StudyReader, find_study, list_studies
from flatselect.store.view_columns import CURVES, RANKING, TRIALS

DTYPES = {
    str: "string",
    int: "Int64",
    float: "float64",
    bool: "boolean",
    datetime: "datetime64[us]",
    object: "object",
}


def open_study(url: str, name: str | None = None) -> "StudyFrames":
    """Opens a study of a database to be read, also while a search runs; no trial is read yet.

    Args:
        url: `sqlite:///PATH.db`, or `postgresql://USER:PASSWORD@HOST/DATABASE`.
        name: The study's name; may be left out where the database holds one study.

    Raises:
        StoreError: There is no such database, or no such study in it.
    """
    engine = make_engine(url, create=False)
    try:
        if name is None:
            names = [study.name for study in list_studies(engine)]
            if len(names) != 1:
                raise StoreError(f"{len(names)} studies in the database ({', '.join(names)}); give a name")
            name = names[0]
        return StudyFrames(find_study(engine, name))
    except StoreError:
        engine.dispose()
        raise


class StudyFrames:
    """Frames of one study. Their columns are those of the views in `docs/database.md`, with these dtypes.

    Text is `string`, a whole number `Int64`, a number `float64`, true or false `boolean`, a time (UTC, without a zone)
    `datetime64[us]`. Every method reads the database as it is then, and raises StoreError when it cannot.
    """

    def __init__(self, reader: StudyReader) -> None:
        self._reader = reader

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._reader.close()

    def trials(
        self, where: str | None = None, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> pd.DataFrame:
        """One row a trial that has begun, by number; each parameter is a column `param_NAME`, after the others.

        Args:
            where: A condition, as of `flatselect query --where`: only what it finds is read.
            columns: Only these; also `rank`, from 1 for the best, which is read only where it is named, and parameters.
            limit: Rows at most.
        """
        if columns is None:
            params = read_parameter_kinds(self._reader.engine, [self._reader.study_uid])
            columns = [*list_column_kinds(TRIALS), *(f"param_{name}" for name in params)]
        return self._ask(Question(where=where, columns=columns, limit=limit))

    def curves(self, where: str | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One row a trial and epoch: what was measured, and the latest prediction of it. Arguments as of `trials`."""
        columns = list(list_column_kinds(CURVES)) if columns is None else columns
        return self._ask(Question(where=where, columns=columns, of_epochs=True))

    def measurements(self, where: str | None = None) -> pd.DataFrame:
        """As `curves`, without predictions, and with each label-free companion in a column `companion_NAME`."""
        rows = ask(self._reader.engine, [self._reader.study_uid], Question(where=where, of_epochs=True))
        dtypes = {name: dtype for name, dtype in _list_dtypes(CURVES).items() if not _is_predicted(name)}
        companions = pd.DataFrame([row["companions"] or {} for row in rows], dtype="float64")
        return _make_frame(rows, dtypes).join(companions.add_prefix(COMPANION_PREFIX))

    def predictions(self) -> pd.DataFrame:
        """One row a trial and epoch of which the latest calibrator says something."""
        keys = ("study", "trial", "epoch", "train_score")
        names = [name for name in _list_dtypes(CURVES) if name in keys or _is_predicted(name)]
        return self.curves("predicted_test_score is not null", names)

    def ranking(self) -> pd.DataFrame:
        """The ranked trials, best predicted test score first."""
        return self._read_ranking(None)

    def _read_ranking(self, limit: int | None) -> pd.DataFrame:
        dtypes = _list_dtypes(RANKING)
        statement = select(*(RANKING.c[name] for name in dtypes)).order_by(RANKING.c.rank).limit(limit)
        with open_transaction(self._reader.engine) as connection:
            rows = connection.execute(statement.where(RANKING.c.study_uid == self._reader.study_uid))
            return _make_frame([dict(row._mapping) for row in rows], dtypes)

    def best(self) -> "pd.Series[Any]":
        """The trial that is ranked first, as a row of `trials`.

        Raises:
            StoreError: No trial is ranked yet.
        """
        ranking = self._read_ranking(1)
        if ranking.empty:
            raise StoreError(f"study {self._reader.name()!r}: no trial is complete yet, so none is the best")
        return self.trials(f"number = {ranking['number'].iloc[0]}").iloc[0]

    def _ask(self, question: Question) -> pd.DataFrame:
        rows, kinds = ask_with_kinds(self._reader.engine, [self._reader.study_uid], question)
        return _make_frame(rows, {name: DTYPES[kind] for name, kind in kinds.items()})


def _list_dtypes(view: Table) -> dict[str, str]:
    return {name: DTYPES[kind] for name, kind in list_column_kinds(view).items()}


def _is_predicted(name: str) -> bool:
    return name.startswith("predicted_") or name == "extrapolation"


def _make_frame(rows: Sequence[dict[str, Any]], dtypes: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=dtype) for name, dtype in dtypes.items()})
