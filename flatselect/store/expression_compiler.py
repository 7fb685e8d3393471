"""A condition as SQL: the tree of `flatselect.store.expressions` with its names looked up and its values bound."""

from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import ColumnElement, and_, not_, or_

from flatselect.errors import StoreError
from flatselect.records import TrialState
from flatselect.store.expressions import (
    Comparison,
    Expression,
    IsNull,
    Junction,
    Match,
    Membership,
    Name,
    Negation,
    Truth,
)
from flatselect.store.named_values import KIND_NAMES, NamedValues, compared_as

_STATES = get_args(TrialState)
_EXAMPLES = {float: "> 0", str: "= 'text'", datetime: "> '2026-01-31'"}


def compile_condition(part: Expression, names: NamedValues) -> ColumnElement[bool]:
    """The condition over the view of the names.

    Raises:
        StoreError: It names what there is not, or compares what cannot be compared; the database cannot be used.
    """
    if isinstance(part, Junction):
        return (and_ if part.operator == "and" else or_)(*(compile_condition(inner, names) for inner in part.parts))
    if isinstance(part, Negation):
        return not_(compile_condition(part.part, names))
    if isinstance(part, Comparison):
        return _compare(part, names)
    name = part.left.name
    if isinstance(part, Membership):
        values = [value.value for value in part.values]
        column = names.find(name, str if isinstance(values[0], str) else float)
        return column.in_([_fit(name, column, value, names) for value in values])
    if isinstance(part, Match):
        column = names.find(name, str)
        if compared_as(column) is not str:
            raise StoreError(f"{name} is {KIND_NAMES[compared_as(column)]}: {part.operator} is for texts")
        if part.operator == "contains":
            return column.icontains(part.pattern, autoescape=True)
        return column.ilike(part.pattern.replace("\x01", ""), escape="\x01")  # none: databases differ in their own
    column = names.find(name)
    if isinstance(part, IsNull):
        return column.is_(None)
    assert isinstance(part, Truth)
    if (kind := compared_as(column)) is not bool:
        raise StoreError(f"{name} is {KIND_NAMES[kind]}; compare it, such as {name} {_EXAMPLES[kind]}")
    return column.is_(True)


def _compare(part: Comparison, names: NamedValues) -> ColumnElement[bool]:
    name = part.left.name
    if isinstance(part.right, Name):
        left, right = names.find(name), _find_other(part.right.name, name, names)
        if compared_as(left) is not compared_as(right):
            raise StoreError(
                f"{name} is {KIND_NAMES[compared_as(left)]} and {part.right.name} {KIND_NAMES[compared_as(right)]}: "
                "they cannot be compared"
            )
    else:
        value = part.right.value
        left = names.find(name, str if isinstance(value, str) else float)
        right = _fit(name, left, value, names)
    if compared_as(left) is bool and part.operator not in ("=", "!="):
        raise StoreError(f"{name} is true or false, which have no order")
    left = names.collate(left)
    compared: ColumnElement[bool] = {
        "=": left.__eq__, "!=": left.__ne__, "<": left.__lt__, "<=": left.__le__, ">": left.__gt__,
        ">=": left.__ge__,
    }[part.operator](right)  # fmt: skip
    return compared


def _find_other(name: str, left: str, names: NamedValues) -> ColumnElement[Any]:
    try:
        return names.find(name)
    except StoreError as error:
        raise StoreError(f"{error}; a text stands in quotes: {left} = '{name}'") from None


def _fit(name: str, column: ColumnElement[Any], value: Any, names: NamedValues) -> Any:
    """The value as the column is compared with it."""
    fitted = _convert(name, compared_as(column), value)
    if column is not names.view.c.get("state"):
        return fitted
    if (state := str(fitted).upper()) not in _STATES:
        raise StoreError(f"state is {', '.join(_STATES[:-1])} or {_STATES[-1]}, and {value!r} is none of them")
    return state


def _convert(name: str, kind: type, value: Any) -> Any:
    if kind is datetime:
        return _read_time(name, value)
    if kind is str and isinstance(value, bool):
        return "true" if value else "false"  # a choice of true and false
    if isinstance(value, kind) or (kind is float and isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise StoreError(f"{name} is {KIND_NAMES[kind]}, and {value!r} is not")


def _read_time(name: str, value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(str(value))
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except (ValueError, OverflowError):
        raise StoreError(f"{name} is a time (UTC); give it as '2026-01-31' or '2026-01-31 15:00:00'") from None
