"""JSON columns that any database and any program can read."""

import hashlib
import json
import math
from typing import Any

from sqlalchemy import JSON, Dialect, Text
from sqlalchemy.types import TypeDecorator


def replace_non_finite(value: Any) -> Any:
    """The same plain values with null for NaN and the infinities, which JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(item) for item in value]
    return value


def hash_json(value: Any) -> str:
    """The SHA-256 of plain values as JSON, whatever the order of their keys."""
    text = json.dumps(replace_non_finite(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class FiniteJson(TypeDecorator[Any]):
    """The database's own JSON type, which SQL can look into; NaN and the infinities become null."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return replace_non_finite(value)


class ExactJson(TypeDecorator[Any]):
    """JSON as text, read back exactly as it was written, NaN and the infinities too."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return json.dumps(value, ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)
