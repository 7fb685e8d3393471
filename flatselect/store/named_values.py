"""What the names in a question mean: columns of a view, companions, parameters of the studies; and of what kind."""

import difflib
import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Double,
    Engine,
    FromClause,
    Integer,
    Table,
    Text,
    cast,
    select,
)
from sqlalchemy import column as make_column
from sqlalchemy import table as make_table

from flatselect.errors import StoreError
from flatselect.store.engine import run_transaction
from flatselect.store.view_columns import KEY_COLUMNS, OPTUNA_TRIALS, PARAMS, RANKING

PARAM_PREFIX = "param_"
COMPANION_PREFIX = "companion_"
KIND_NAMES = {float: "a number", str: "a text", bool: "true or false", datetime: "a time"}
_KINDS = {Text: str, Integer: int, BigInteger: int, Double: float, Boolean: bool, DateTime: datetime}
_NAMELESS = ("params", "companions")  # JSON, which nothing is compared with
_OTHER_VIEW = {"number": "trial", "trial": "number"}  # the trial's number: in the view of trials, and in that of epochs
RANK = "rank"  # of no view of trials or epochs, as it takes all trials of a study to know one's: only where asked for
_MOST_NEAR = 6
_FEW_EPOCHS = 100  # of a study: all are measured alike, but for trials of before its settings were changed
_TRIAL_PARAMS = make_table(
    "trial_params", make_column("trial_id"), make_column("param_name"), make_column("distribution_json")
)


class NamedValues:
    """The columns of a view, the parameters of some studies, companions of epochs and the trials' rank, by name.

    Attributes:
        view: Of trials, or of epochs.
    """

    def __init__(self, engine: Engine, study_uids: Sequence[str], view: Table) -> None:
        self._engine = engine
        self._uids = list(study_uids)
        self.view = view
        ranks = select(RANKING.c.trial_id, RANKING.c.rank).where(RANKING.c.study_uid.in_(self._uids))
        self._ranks = ranks.subquery("ranks")
        self._is_rank_named = False

    @property
    def source(self) -> FromClause:
        """What to select from, once all names are found: the view, and the ranks where they are named."""
        if not self._is_rank_named:
            return self.view
        return self.view.outerjoin(self._ranks, self._ranks.c.trial_id == self.view.c.trial_id)

    @cached_property
    def params(self) -> dict[str, type]:
        """As `read_parameter_kinds`; read when first asked for."""
        return read_parameter_kinds(self._engine, self._uids)

    @cached_property
    def companions(self) -> frozenset[str]:
        """Names of what was measured beside flatness in epochs; none where the view is of trials."""
        if "companions" not in self.view.c:
            return frozenset()

        def read(connection: Connection) -> set[str]:
            of_view = select(self.view.c.companions).order_by(self.view.c.trial_id.desc()).limit(_FEW_EPOCHS)
            of_studies = [of_view.where(self.view.c.study_uid == uid) for uid in self._uids]
            return {name for asked in of_studies for row in connection.execute(asked).scalars() for name in row or ()}

        return frozenset(run_transaction(self._engine, read))

    def find(self, name: str, wanted: type | None = None) -> ColumnElement[Any]:
        """The column, companion or parameter of that name.

        Args:
            name: As the user wrote it; of a parameter also param_NAME or params.NAME, of a companion companion_NAME.
            wanted: Of a parameter whose values are of several kinds: str for the texts among them, else the numbers.

        Raises:
            StoreError: There is none; the message says which is near.
        """
        if name == RANK:
            self._is_rank_named = True
            return self._ranks.c.rank
        if self._is_of_view(name):
            return self.view.c[name]
        if self._is_companion(name):
            value = self.view.c.companions[name.removeprefix(COMPANION_PREFIX)].as_float()
            return cast(value, Double)
        if (param := self.find_param(name)) is None:
            raise self._complain(name)
        kind = self.params[param]
        is_text = wanted is str if kind is object else kind in (str, bool)
        chosen = PARAMS.c.text if is_text else PARAMS.c.number
        of_trial = (PARAMS.c.trial_id == self.view.c.trial_id) & (PARAMS.c.name == param)
        found = select(chosen).where(of_trial).correlate(self.view).scalar_subquery()
        return cast(found, BigInteger) if kind is int else found

    def is_column(self, name: str) -> bool:
        """Whether it is a column of the view, a companion or the rank; not a parameter, which may have that name."""
        return name == RANK or self._is_of_view(name) or self._is_companion(name)

    def _is_of_view(self, name: str) -> bool:
        return name in self.view.c and name not in _NAMELESS

    def _is_companion(self, name: str) -> bool:
        return name.startswith(COMPANION_PREFIX) and name.removeprefix(COMPANION_PREFIX) in self.companions

    def find_param(self, name: str) -> str | None:
        """The parameter's own name."""
        forms = (name, name.removeprefix(PARAM_PREFIX), name.removeprefix("params."))
        return next((form for form in forms if form in self.params), None)

    def find_kind(self, name: str) -> type:
        """int, float, str, bool, datetime, or object of a parameter whose values are of several kinds.

        Raises:
            StoreError: There is no such name.
        """
        found = self.find(name)
        param = None if self.is_column(name) else self.find_param(name)
        return _KINDS[type(found.type)] if param is None else self.params[param]

    def collate(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """The column so that texts are ordered as in SQLite, whatever the server's language."""
        is_server_text = isinstance(column.type, Text) and self._engine.dialect.name == "postgresql"
        return column.collate("C") if is_server_text else column

    def _complain(self, name: str) -> StoreError:
        columns = [*list_column_kinds(self.view), RANK]
        if name.startswith(COMPANION_PREFIX) and "companions" not in self.view.c:
            return StoreError(f"no column or parameter {name!r}: companions are of epochs (--epochs)")
        companions = [COMPANION_PREFIX + companion for companion in sorted(self.companions)]
        known_names = [*columns, *companions, *self.params]
        if (other := _OTHER_VIEW.get(name.lower(), "")) in columns:
            near = [other]
        else:
            # A part of a name is how tables head their columns: flatness.
            near = [known for known in known_names if name and name.lower() in known.lower()]
            near = near if 0 < len(near) <= _MOST_NEAR else difflib.get_close_matches(name, known_names, n=3)
        known = f"columns are {', '.join([*columns, *companions])}; parameters are {', '.join(self.params) or 'none'}"
        return StoreError(
            f"no column or parameter {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else f"; {known}")
        )


def list_column_kinds(view: Table) -> dict[str, type]:
    """The columns that users name, by name: int, float, str, bool or datetime. Keys and JSON are left out."""
    left_out = (*_NAMELESS, *KEY_COLUMNS)
    return {column.name: _KINDS[type(column.type)] for column in view.c if column.name not in left_out}


def read_parameter_kinds(engine: Engine, study_uids: Sequence[str]) -> dict[str, type]:
    """The parameters of some studies, by name: float, int, str, bool, or object where values are of several kinds.

    Raises:
        StoreError: The database cannot be used.
    """
    statement = (
        select(_TRIAL_PARAMS.c.param_name, _TRIAL_PARAMS.c.distribution_json)
        .distinct()
        .join(OPTUNA_TRIALS, OPTUNA_TRIALS.c.trial_id == _TRIAL_PARAMS.c.trial_id)
        .where(OPTUNA_TRIALS.c.study_uid.in_(study_uids))
    )
    found: dict[str, set[type]] = {}
    for name, distribution_json in run_transaction(engine, lambda connection: connection.execute(statement).all()):
        distribution = json.loads(distribution_json)
        kinds = found.setdefault(name, set())
        if distribution["name"] == "CategoricalDistribution":
            kinds |= {type(choice) for choice in distribution["attributes"]["choices"] if choice is not None}
        else:
            kinds.add(int if distribution["name"] == "IntDistribution" else float)
    kinds_of = {
        name: kinds.pop() if len(kinds) == 1 else float if kinds <= {int, float} else object
        for name, kinds in found.items()
    }
    return dict(sorted(kinds_of.items()))


def compared_as(column: ColumnElement[Any]) -> type:
    """What a column can be compared with: float (whole numbers too), str, bool or datetime."""
    kind = _KINDS[type(column.type)]
    return float if kind is int else kind
