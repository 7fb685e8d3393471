"""Questions to the views: conditions, order, groups. Compiled to SQL with bound values; nothing is pasted into it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, Engine, Select, cast, func, select

from flatselect.errors import StoreError
from flatselect.store.engine import run_transaction
from flatselect.store.expression_compiler import compile_condition
from flatselect.store.expression_parser import parse_aggregates, parse_condition, parse_names, parse_sort
from flatselect.store.expressions import Aggregate
from flatselect.store.named_values import KIND_NAMES, PARAM_PREFIX, RANK, NamedValues, compared_as, list_column_kinds
from flatselect.store.view_columns import CURVES, KEY_COLUMNS, OPTUNA_TRIALS, PARAMS, TRIALS

_FEW = 1000
_TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True)
class Question:
    """What is asked of some studies.

    Attributes:
        where: A condition (see `flatselect.store.expression_parser`).
        sort: Names separated by commas, a - before one puts its greatest first. Missing values are last.
        columns: Names, separated by commas or in a list; None for all columns, and all parameters in `params`.
        limit: Rows at most.
        group_by: Names separated by commas: one row a group.
        aggregates: Such as `max(predicted_test_score),count()`.
        of_epochs: One row a trial and epoch, in place of one a trial.
    """

    where: str | None = None
    sort: str | None = None
    columns: str | Sequence[str] | None = None
    limit: int | None = None
    group_by: str | None = None
    aggregates: str | None = None
    of_epochs: bool = False


def ask(engine: Engine, study_uids: Sequence[str], question: Question) -> list[dict[str, Any]]:
    """The rows that answer a question, by column.

    Raises:
        StoreError: The question is not understood, names what there is not, or compares what cannot be compared; the
            database cannot be used.
    """
    return _Asking(engine, study_uids, question).ask()


def ask_with_kinds(
    engine: Engine, study_uids: Sequence[str], question: Question
) -> tuple[list[dict[str, Any]], dict[str, type]]:
    """As `ask`, and the columns of the answer, rows or none: int, float, str, bool, datetime or object.

    Each parameter is a column `param_NAME` where all columns are asked for; companions, which epochs differ in, are
    left out.
    """
    asking = _Asking(engine, study_uids, question)
    return asking.ask(), asking.read_kinds()


class _Asking:
    def __init__(self, engine: Engine, study_uids: Sequence[str], question: Question) -> None:
        self._engine = engine
        self._uids = list(study_uids)
        self._question = question
        self._view = CURVES if question.of_epochs else TRIALS
        self._names = NamedValues(engine, study_uids, self._view)

    def ask(self) -> list[dict[str, Any]]:
        question = self._question
        if question.limit is not None and not 0 <= question.limit < 2**31:
            raise StoreError(f"limit {question.limit}: expected 0 to {2**31 - 1}")
        conditions: list[ColumnElement[bool]] = [self._view.c.study_uid.in_(self._uids)]
        if question.where is not None and question.where.strip():
            conditions.append(compile_condition(parse_condition(question.where), self._names))
        if question.group_by is not None or question.aggregates is not None:
            if question.columns is not None:
                raise StoreError("--columns: groups have the columns of --group-by and --agg; leave it out")
            return self._read_truths(self._read(self._select_groups().where(*conditions)))
        key_columns = [self._view.c.trial_id] + ([CURVES.c.epoch] if question.of_epochs else [])
        keys = [column.label(f"_key_{column.name}") for column in key_columns]
        shown = self._choose_columns()
        columns = [*keys, *(column.label(name) for name, column in shown.items() if column is not None)]
        order_by = self._make_order()
        statement = select(*columns).select_from(self._names.source).where(*conditions).order_by(*order_by)
        if question.limit is None:
            rows = self._read(statement)
        else:
            # In two steps, as some columns take long to make: only for the rows that are shown. Ranks take all of them.
            late = [column for column in columns if column.name != RANK]
            first = [*keys, *(column for column in columns if column.name == RANK)]
            found = self._read(statement.with_only_columns(*first).limit(question.limit))
            of_found = self._view.c.trial_id.in_(sorted({row["_key_trial_id"] for row in found}))
            read_key = itemgetter(*(key.name for key in keys))
            others = {read_key(row): row for row in self._read(select(*late).where(of_found))}
            rows = [row | others[read_key(row)] for row in found if read_key(row) in others]
        return list(self._add_params(rows, shown))

    def read_kinds(self) -> dict[str, type]:
        """By name, of what kind the columns of the answer are."""
        question = self._question
        if question.group_by is None and question.aggregates is None:
            if question.columns is not None:
                return {name: self._names.find_kind(name) for name in self._choose_columns()}
            columns, kinds = list_column_kinds(self._view), dict[str, type]()
            for column in self._view.c:
                if column.name == "params":
                    kinds |= {f"{PARAM_PREFIX}{name}": kind for name, kind in self._names.params.items()}
                elif column.name in columns:
                    kinds[column.name] = columns[column.name]
            return kinds
        groups, aggregates = self._read_group_names(), self._read_aggregates()
        of_function = {"count": int, "avg": float, "sum": float}
        return {name: self._names.find_kind(name) for name in groups} | {
            a.text: of_function.get(a.function) or self._names.find_kind(str(a.name)) for a in aggregates
        }

    def _read_truths(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Groups by a choice of true and false have these, as trials do, in place of their names."""
        truths = [name for name in self._read_group_names() if self._names.find_kind(name) is bool]
        return [row | {name: _TRUTHS.get(row[name], row[name]) for name in truths} for row in rows]

    def _read_group_names(self) -> list[str]:
        return list(dict.fromkeys(parse_names(self._question.group_by or "")))

    def _read_aggregates(self) -> list[Aggregate]:
        given = self._question.aggregates
        return parse_aggregates("count()" if given is None else given)

    def _add_params(
        self, rows: Sequence[dict[str, Any]], shown: Mapping[str, ColumnElement[Any] | None]
    ) -> Iterator[dict[str, Any]]:
        """The rows with the parameters among what is shown, as Optuna has them, of whatever kind.

        They are read by a statement of their own: a subquery for each row and parameter took most of the time.
        """
        params = {name: self._names.find_param(name) for name, column in shown.items() if column is None}
        values: dict[tuple[int, str], Any] = {}
        if params:
            statement = select(PARAMS).where(PARAMS.c.name.in_(sorted({str(param) for param in params.values()})))
            if len(rows) <= _FEW:
                statement = statement.where(PARAMS.c.trial_id.in_({row["_key_trial_id"] for row in rows}))
            else:
                of_studies = select(OPTUNA_TRIALS.c.trial_id).where(OPTUNA_TRIALS.c.study_uid.in_(self._uids))
                statement = statement.where(PARAMS.c.trial_id.in_(of_studies))
            values = {(row["trial_id"], row["name"]): row["value"] for row in self._read(statement)}
        for row in rows:
            trial_id = row["_key_trial_id"]
            yield {name: row[name] if name in row else values.get((trial_id, str(params[name]))) for name in shown}

    def _read(self, statement: Select[Any]) -> list[dict[str, Any]]:
        def read(connection: Connection) -> list[dict[str, Any]]:
            found = connection.execute(statement)
            names = tuple(found.keys())
            return [dict(zip(names, row, strict=True)) for row in found]

        return run_transaction(self._engine, read)

    def _choose_columns(self) -> dict[str, ColumnElement[Any] | None]:
        """By name, what is shown; None for a parameter."""
        if self._question.columns is None:
            return {column.name: column for column in self._view.c if column.name not in KEY_COLUMNS}
        chosen = self._question.columns
        names = dict.fromkeys(parse_names(chosen) if isinstance(chosen, str) else chosen)
        if not names:
            raise StoreError("--columns: is empty; give names, or leave it out for all")
        found = {name: self._names.find(name) for name in names}
        return {name: column if self._names.is_column(name) else None for name, column in found.items()}

    def _make_order(self) -> list[ColumnElement[Any]]:
        order = [self._order(self._names.find(name), descends) for name, descends in parse_sort(self._question.sort)]
        places = [self._view.c.study, self._view.c.trial_id] + ([CURVES.c.epoch] if self._question.of_epochs else [])
        return [*order, *places]

    def _order(self, column: ColumnElement[Any], descends: bool) -> ColumnElement[Any]:
        column = self._names.collate(column)
        return (column.desc() if descends else column.asc()).nulls_last()

    def _select_groups(self) -> Select[Any]:
        question = self._question
        groups = [self._names.find(name).label(name) for name in self._read_group_names()]
        aggregates = {a.text: self._aggregate(a).label(a.text) for a in self._read_aggregates()}
        by_name: dict[str, ColumnElement[Any]] = {group.name: group.element for group in groups} | {
            text: labelled.element for text, labelled in aggregates.items()
        }
        order = []
        for name, descends in parse_sort(self._question.sort):
            if (chosen := by_name.get(name.replace(" ", ""))) is None:
                raise StoreError(f"--sort {name}: of groups only what is shown can be sorted by: {', '.join(by_name)}")
            order.append(self._order(chosen, descends))
        order += [self._order(group.element, False) for group in groups]
        statement = select(*groups, *aggregates.values()).select_from(self._names.source)
        if groups:
            statement = statement.group_by(*(group.element for group in groups))
        return statement.order_by(*order).limit(question.limit)

    def _aggregate(self, aggregate: Aggregate) -> ColumnElement[Any]:
        if aggregate.name is None:
            return func.count()
        column = self._names.find(aggregate.name)
        kind = compared_as(column)
        if aggregate.function in ("avg", "sum") and kind is not float:
            raise StoreError(f"--agg {aggregate.text}: {aggregate.name} is {KIND_NAMES[kind]}, no number")
        if aggregate.function in ("min", "max") and kind is bool:
            raise StoreError(f"--agg {aggregate.text}: {aggregate.name} is true or false, which have no order")
        if aggregate.function in ("avg", "sum"):
            column = cast(column, Double)  # PostgreSQL's own type for these is no number of JSON
        made: ColumnElement[Any] = getattr(func, aggregate.function)(column)
        return made
