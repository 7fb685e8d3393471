"""The study database."""

from flatselect.doctor.finding import Finding
from flatselect.errors import StoreError
from flatselect.store.database_condition import examine_database


def check_storage(url: str) -> Finding:
    """Whether the database can be reached, written, and holds tables that this version can use."""
    try:
        condition = examine_database(url)
    except StoreError as error:
        return Finding("storage", "problem", str(error))
    if not condition.exists:
        return Finding("storage", "ok", f"{condition.url}: not there yet; a search makes it")
    if condition.schema_version is None:
        return Finding("storage", "ok", f"{condition.url}: can be written; no study of flatselect in it yet")
    versions = f"tables of version {condition.schema_version}, Optuna's {condition.optuna_version}"
    return Finding("storage", "ok", f"{condition.url}: can be written; {versions}")
