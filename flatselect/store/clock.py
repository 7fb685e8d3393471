"""The time of day. All times are UTC without a zone, as Optuna keeps its own."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, func

from flatselect.store.engine import is_shared


def read_clock() -> datetime:
    """Now, by this machine's clock."""
    return datetime.now(UTC).replace(tzinfo=None)


def make_clock(engine: Engine) -> Any:
    """Now, as a value for a statement: by the server's clock where there is one, as machines' clocks differ."""
    return func.timezone("utc", func.now()) if is_shared(engine) else read_clock()
