"""Optuna's half of the study database, over connections set up like ours."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError, IntegrityError

from flatselect.errors import StoreError
from flatselect.store.engine import hide_password, make_engine, make_engine_options, parse_url
from flatselect.store.patience import IMPATIENT, Patience, describe_cause
from flatselect.store.patient_storage import PatientStorage, find_cause


def make_optuna_storage(url: str, *, create: bool = True, patience: Patience = IMPATIENT) -> PatientStorage:
    """Opens Optuna's storage on a study database.

    Args:
        url: As for `make_engine`.
        create: False for a reader: file and tables must be there.
        patience: How long a database that stops answering is waited for; not for the first connection.

    Raises:
        StoreError: The database cannot be used, or its tables are of another version of Optuna.
    """
    parsed = parse_url(url)
    # Optuna would raise the driver's own errors, password and all.
    make_engine(url, create=create).dispose()
    # "A new study created in RDB": the search says so itself.
    logging.getLogger("optuna.storages._rdb.storage").setLevel(logging.WARNING)
    # Optuna reads a URL as a format string: {SCHEMA_VERSION}.
    text = parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    try:
        return PatientStorage(
            text,
            patience=patience,
            engine_kwargs=make_engine_options(parsed, create=create),
            skip_table_creation=not create,
        )
    except RuntimeError as error:
        raise StoreError(f"{hide_password(url)}: {error}") from error


def close_optuna_storage(storage: RDBStorage) -> None:
    """Closes the storage's connections."""
    storage.remove_session()
    storage.engine.dispose()


@contextmanager
def translate_optuna_errors(url: str) -> Iterator[None]:
    """Turns what Optuna raises where the database fails in the middle of its work into a StoreError."""
    try:
        yield
    except IntegrityError:
        raise  # a mistake of the caller, not the database's
    except (StorageInternalError, DBAPIError) as error:
        reason = describe_cause(find_cause(error) or error)
        raise StoreError(
            f"{hide_password(url)}: {reason}; what was measured is kept: once the database works, give the same command"
        ) from error
