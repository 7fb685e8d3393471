"""What a condition and an aggregate are made of: trees of plain records."""

from dataclasses import dataclass
from typing import Literal

Operator = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Name:
    """A column or a parameter, by its name."""

    name: str


@dataclass(frozen=True)
class Value:
    """A value that stands in the condition."""

    value: float | int | str | bool


@dataclass(frozen=True)
class Comparison:
    left: Name
    operator: Operator
    right: Name | Value


@dataclass(frozen=True)
class Membership:
    left: Name
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Match:
    """`like`, whose pattern has % and _, or `contains`. Letters match whether small or capital."""

    left: Name
    operator: Literal["like", "contains"]
    pattern: str


@dataclass(frozen=True)
class IsNull:
    left: Name


@dataclass(frozen=True)
class Truth:
    """A column that is true or false, by itself."""

    left: Name


@dataclass(frozen=True)
class Negation:
    part: "Expression"


@dataclass(frozen=True)
class Junction:
    operator: Literal["and", "or"]
    parts: tuple["Expression", ...]


Expression = Comparison | Membership | Match | IsNull | Truth | Negation | Junction


@dataclass(frozen=True)
class Aggregate:
    """`max(train_score)`; `text` is what the user wrote, without spaces. `count()` counts rows."""

    function: str
    name: str | None
    text: str
