"""Passwords kept from the processes that Ray starts: they inherit the environment, and Ray notes the command line."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

import ray

_ENTRYPOINT = "flatselect search"


@contextlib.contextmanager
def hide_passwords(passwords: Iterable[str]) -> Iterator[None]:
    """Starts Ray, in the block, without what holds one of the passwords, or PostgreSQL's own variable for one.

    A variable of the environment is hidden whose value is a password, or a URL or connection string with it. The
    command line, which may hold the storage's URL, is not told to Ray; it has no option for that.
    """
    variable = os.environ.get("PGPASSWORD")
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name == "PGPASSWORD" or any(_holds(value, password) for password in {*passwords, variable} if password)
    }
    for name in hidden:
        del os.environ[name]
    get_entrypoint_name = ray._private.utils.get_entrypoint_name
    ray._private.utils.get_entrypoint_name = lambda: _ENTRYPOINT
    try:
        yield
    finally:
        ray._private.utils.get_entrypoint_name = get_entrypoint_name
        os.environ.update(hidden)


def _holds(value: str, password: str) -> bool:
    # A short password is found by chance in other values: what stands before it tells.
    written = {password, quote(password, safe=""), quote_plus(password)}
    return value in written or any(f":{form}@" in value or f"password={form}" in value for form in written)
