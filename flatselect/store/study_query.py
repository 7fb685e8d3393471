"""Questions to the views: conditions, order, groups. Compiled to SQL with bound values; nothing is pasted into it."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, get_args

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Double,
    Engine,
    Integer,
    Select,
    Table,
    Text,
    and_,
    cast,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy import column as make_column
from sqlalchemy import table as make_table

from flatselect.errors import StoreError
from flatselect.records import TrialState
from flatselect.store.engine import run_transaction
from flatselect.store.expressions import (
    Aggregate,
    Comparison,
    Expression,
    IsNull,
    Junction,
    Match,
    Membership,
    Name,
    Negation,
    Truth,
    is_number,
    parse_aggregates,
    parse_condition,
    parse_names,
)
from flatselect.store.view_columns import CURVES, KEY_COLUMNS, OPTUNA_TRIALS, PARAMS, TRIALS

_PREFIX = "param_"
_FEW = 1000
_MOST_NEAR = 6
KINDS = {Text: str, Integer: int, BigInteger: int, Double: float, Boolean: bool, DateTime: datetime}
_TRIAL_PARAMS = make_table(
    "trial_params", make_column("trial_id"), make_column("param_name"), make_column("distribution_json")
)


@dataclass(frozen=True)
class Question:
    """What is asked of some studies.

    Attributes:
        where: A condition (see `flatselect.store.expressions`).
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


def read_parameter_kinds(engine: Engine, study_uids: Sequence[str]) -> dict[str, type]:
    """The parameters of some studies, by name: float, int, str, bool, or object where values are of several kinds.

    Raises:
        StoreError: The database cannot be used.
    """
    return _Asking(engine, study_uids, Question()).read_params()


class _Asking:
    def __init__(self, engine: Engine, study_uids: Sequence[str], question: Question) -> None:
        self._engine = engine
        self._uids = list(study_uids)
        self._question = question
        self._view: Table = CURVES if question.of_epochs else TRIALS
        self._known_params: dict[str, type] | None = None

    def ask(self) -> list[dict[str, Any]]:
        question = self._question
        if question.limit is not None and not 0 <= question.limit < 2**31:
            raise StoreError(f"limit {question.limit}: expected 0 to {2**31 - 1}")
        conditions: list[ColumnElement[bool]] = [self._view.c.study_uid.in_(self._uids)]
        if question.where is not None and question.where.strip():
            conditions.append(self._compile(parse_condition(question.where)))
        if question.group_by is not None or question.aggregates is not None:
            if question.columns is not None:
                raise StoreError("--columns: groups have the columns of --group-by and --agg; leave it out")
            return self._read_truths(self._read(self._select_groups().where(*conditions)))
        key_columns = [self._view.c.trial_id] + ([CURVES.c.epoch] if question.of_epochs else [])
        keys = [column.label(f"_key_{column.name}") for column in key_columns]
        shown = self._choose_columns()
        columns = [*keys, *(column.label(name) for name, column in shown.items() if column is not None)]
        statement = select(*columns).where(*conditions).order_by(*self._make_order())
        if question.limit is None:
            rows = self._read(statement)
        else:
            # In two steps, as some columns take long to make: only for the rows that are shown.
            found = self._read(statement.with_only_columns(*keys).limit(question.limit))
            order = {tuple(row.values()): position for position, row in enumerate(found)}
            of_found = self._view.c.trial_id.in_(sorted({key[0] for key in order}))
            placed = [
                (order.get(tuple(row[key.name] for key in keys)), row)
                for row in self._read(select(*columns).where(of_found))
            ]
            rows = [row for _, row in sorted(((p, row) for p, row in placed if p is not None), key=itemgetter(0))]
        return list(self._add_params(rows, shown))

    def read_kinds(self) -> dict[str, type]:
        """By name, of what kind the columns of the answer are."""
        question = self._question
        if question.group_by is None and question.aggregates is None:
            if question.columns is not None:
                return {name: self._kind_of(name) for name in self._choose_columns()}
            kinds: dict[str, type] = {}
            for column in self._view.c:
                if column.name == "params":
                    kinds |= {f"{_PREFIX}{name}": kind for name, kind in self.read_params().items()}
                elif column.name not in ("companions", *KEY_COLUMNS):
                    kinds[column.name] = self._kind_of(column.name)
            return kinds
        groups, aggregates = self._read_group_names(), self._read_aggregates()
        of_function = {"count": int, "avg": float, "sum": float}
        return {name: self._kind_of(name) for name in groups} | {
            a.text: of_function.get(a.function) or self._kind_of(str(a.name)) for a in aggregates
        }

    def _kind_of(self, name: str) -> type:
        found = self._find(name)
        param = None if found is self._view.c.get(name) else self._find_param(name)
        return KINDS[type(found.type)] if param is None else self.read_params()[param]

    def _read_truths(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Groups by a choice of true and false have these, as trials do, in place of their names."""
        truths = [name for name in self._read_group_names() if self._kind_of(name) is bool]
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
        params = {name: self._find_param(name) for name, column in shown.items() if column is None}
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
        found = {name: self._find(name) for name in names}
        return {name: column if name in self._view.c else None for name, column in found.items()}

    def _find_param(self, name: str) -> str | None:
        forms = (name, name.removeprefix(_PREFIX), name.removeprefix("params."))
        return next((form for form in forms if form in self.read_params()), None)

    def _make_order(self) -> list[ColumnElement[Any]]:
        order = [self._order(self._find(name), descends) for name, descends in self._read_sort()]
        places = [self._view.c.study, self._view.c.trial_id] + ([CURVES.c.epoch] if self._question.of_epochs else [])
        return [*order, *places]

    def _read_sort(self) -> Iterable[tuple[str, bool]]:
        for part in _split_sort(self._question.sort):
            yield part.removeprefix("-").strip().strip("`"), part.startswith("-")

    def _order(self, column: ColumnElement[Any], descends: bool) -> ColumnElement[Any]:
        if isinstance(column.type, Text) and self._engine.dialect.name == "postgresql":
            column = column.collate("C")  # as SQLite orders, whatever the server's language
        return (column.desc() if descends else column.asc()).nulls_last()

    def _select_groups(self) -> Select[Any]:
        question = self._question
        groups = [self._find(name).label(name) for name in self._read_group_names()]
        aggregates = {a.text: self._aggregate(a).label(a.text) for a in self._read_aggregates()}
        by_name: dict[str, ColumnElement[Any]] = {group.name: group.element for group in groups} | {
            text: labelled.element for text, labelled in aggregates.items()
        }
        order = []
        for name, descends in self._read_sort():
            if (chosen := by_name.get(name.replace(" ", ""))) is None:
                raise StoreError(f"--sort {name}: of groups only what is shown can be sorted by: {', '.join(by_name)}")
            order.append(self._order(chosen, descends))
        order += [self._order(group.element, False) for group in groups]
        statement = select(*groups, *aggregates.values())
        if groups:
            statement = statement.group_by(*(group.element for group in groups))
        return statement.order_by(*order).limit(question.limit)

    def _aggregate(self, aggregate: Aggregate) -> ColumnElement[Any]:
        if aggregate.name is None:
            return func.count()
        column = self._find(aggregate.name)
        if aggregate.function in ("avg", "sum") and _kind(column) is not float:
            raise StoreError(f"--agg {aggregate.text}: {aggregate.name} is {_NAMES[_kind(column)]}, no number")
        if aggregate.function in ("min", "max") and _kind(column) is bool:
            raise StoreError(f"--agg {aggregate.text}: {aggregate.name} is true or false, which have no order")
        if aggregate.function in ("avg", "sum"):
            column = cast(column, Double)  # PostgreSQL's own type for these is no number of JSON
        made: ColumnElement[Any] = getattr(func, aggregate.function)(column)
        return made

    def _find(self, name: str, wanted: type | None = None) -> ColumnElement[Any]:
        """The column or parameter of that name."""
        if name in self._view.c and name not in ("params", "companions"):
            return self._view.c[name]
        params = self.read_params()
        if (param := self._find_param(name)) is not None:
            kind = params[param]
            is_text = wanted is str if kind is object else kind in (str, bool)
            chosen = PARAMS.c.text if is_text else PARAMS.c.number
            of_trial = (PARAMS.c.trial_id == self._view.c.trial_id) & (PARAMS.c.name == param)
            found = select(chosen).where(of_trial).correlate(self._view).scalar_subquery()
            return cast(found, BigInteger) if kind is int else found
        columns = [column.name for column in self._view.c if column.name not in ("params", "companions", *KEY_COLUMNS)]
        known_names = [*columns, *params]
        # A part of a name is how tables head their columns: flatness.
        near = [known for known in known_names if name and name.lower() in known.lower()]
        near = near if 0 < len(near) <= _MOST_NEAR else difflib.get_close_matches(name, known_names, n=3)
        known = f"columns are {', '.join(columns)}; parameters are {', '.join(params) or 'none'}"
        raise StoreError(
            f"no column or parameter {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else f"; {known}")
        )

    def read_params(self) -> dict[str, type]:
        """The parameters of the studies: float, int, str, bool, or object where their values are of several kinds."""
        if self._known_params is None:
            statement = (
                select(_TRIAL_PARAMS.c.param_name, _TRIAL_PARAMS.c.distribution_json)
                .distinct()
                .join(OPTUNA_TRIALS, OPTUNA_TRIALS.c.trial_id == _TRIAL_PARAMS.c.trial_id)
                .where(OPTUNA_TRIALS.c.study_uid.in_(self._uids))
            )
            found: dict[str, set[type]] = {}
            for row in self._read(statement):
                distribution = json.loads(row["distribution_json"])
                kinds = found.setdefault(row["param_name"], set())
                if distribution["name"] == "CategoricalDistribution":
                    choices = [choice for choice in distribution["attributes"]["choices"] if choice is not None]
                    kinds |= {type(choice) for choice in choices}
                else:
                    kinds.add(int if distribution["name"] == "IntDistribution" else float)
            kinds_of = {
                name: kinds.pop() if len(kinds) == 1 else float if kinds <= {int, float} else object
                for name, kinds in found.items()
            }
            self._known_params = dict(sorted(kinds_of.items()))
        return self._known_params

    def _compile(self, part: Expression) -> ColumnElement[bool]:
        if isinstance(part, Junction):
            return (and_ if part.operator == "and" else or_)(*(self._compile(inner) for inner in part.parts))
        if isinstance(part, Negation):
            return not_(self._compile(part.part))
        if isinstance(part, Comparison):
            return self._compare(part)
        if isinstance(part, Membership):
            values = [value.value for value in part.values]
            column = self._find(part.left.name, str if isinstance(values[0], str) else float)
            return column.in_([self._fit(part.left.name, column, value) for value in values])
        if isinstance(part, Match):
            column = self._find(part.left.name, str)
            if _kind(column) is not str:
                raise StoreError(f"{part.left.name} is {_NAMES[_kind(column)]}: {part.operator} is for texts")
            if part.operator == "contains":
                return column.icontains(part.pattern, autoescape=True)
            return column.ilike(part.pattern.replace("\x01", ""), escape="\x01")  # none: databases differ in their own
        column = self._find(part.left.name)
        if isinstance(part, IsNull):
            return column.is_(None)
        assert isinstance(part, Truth)
        if _kind(column) is not bool:
            name, kind = part.left.name, _kind(column)
            raise StoreError(f"{name} is {_NAMES[kind]}; compare it, such as {name} {_EXAMPLES[kind]}")
        return column.is_(True)

    def _compare(self, part: Comparison) -> ColumnElement[bool]:
        if isinstance(part.right, Name):
            left, right = self._find(part.left.name), self._find_other(part.right.name, part.left.name)
            if _kind(left) is not _kind(right):
                raise StoreError(
                    f"{part.left.name} is {_NAMES[_kind(left)]} and {part.right.name} {_NAMES[_kind(right)]}: "
                    "they cannot be compared"
                )
        else:
            value = part.right.value
            left = self._find(part.left.name, str if isinstance(value, str) else float)
            right = self._fit(part.left.name, left, value)
        if _kind(left) is bool and part.operator not in ("=", "!="):
            raise StoreError(f"{part.left.name} is true or false, which have no order")
        if _kind(left) is str and self._engine.dialect.name == "postgresql":
            left = left.collate("C")
        compared: ColumnElement[bool] = {
            "=": left.__eq__, "!=": left.__ne__, "<": left.__lt__, "<=": left.__le__, ">": left.__gt__,
            ">=": left.__ge__,
        }[part.operator](right)  # fmt: skip
        return compared

    def _fit(self, name: str, column: ColumnElement[Any], value: Any) -> Any:
        fitted = _fit(name, column, value)
        if column is not self._view.c.get("state"):
            return fitted
        if (state := str(fitted).upper()) not in _STATES:
            raise StoreError(f"state is {', '.join(_STATES[:-1])} or {_STATES[-1]}, and {value!r} is none of them")
        return state

    def _find_other(self, name: str, left: str) -> ColumnElement[Any]:
        try:
            return self._find(name)
        except StoreError as error:
            raise StoreError(f"{error}; a text stands in quotes: {left} = '{name}'") from None


_STATES = get_args(TrialState)
_TRUTHS = {"true": True, "false": False}
_NAMES = {float: "a number", str: "a text", bool: "true or false", datetime: "a time"}
_EXAMPLES = {float: "> 0", str: "= 'text'", datetime: "> '2026-01-31'"}


def _kind(column: ColumnElement[Any]) -> type:
    """float, str, bool or datetime."""
    if isinstance(column.type, Boolean):
        return bool
    if isinstance(column.type, DateTime):
        return datetime
    return str if isinstance(column.type, Text) else float


def _fit(name: str, column: ColumnElement[Any], value: Any) -> Any:
    """The value, if it can be compared with the column."""
    kind = _kind(column)
    if kind is datetime:
        return _read_time(name, value)
    if kind is str and isinstance(value, bool):
        return "true" if value else "false"  # a choice of true and false
    if isinstance(value, kind) or (kind is float and is_number(value)):
        return value
    raise StoreError(f"{name} is {_NAMES[kind]}, and {value!r} is not")


def _read_time(name: str, value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(str(value))
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except (ValueError, OverflowError):
        raise StoreError(f"{name} is a time (UTC); give it as '2026-01-31' or '2026-01-31 15:00:00'") from None


def _split_sort(text: str | None) -> list[str]:
    if text is None:
        return []
    parts = [part.strip() for part in re.split(r",(?![^(]*\))", text)]
    if not all(part.strip("- `") for part in parts):
        raise StoreError(f"--sort {text!r}: expected names separated by commas, such as -predicted_test_score,number")
    return parts
