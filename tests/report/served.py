"""`flatselect dashboard` and optuna-dashboard as processes, asked over HTTP."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import optuna_dashboard
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage
from sqlalchemy import make_url

from flatselect.dashboard.additions import AdditionsCache
from flatselect.dashboard.server import make_app, start_server
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage


class Served:
    """A dashboard that is running, in a process of its own or in this one."""

    def __init__(self, page, process=None):
        self.page = page
        self.process = process
        self.root = page.partition("/dashboard")[0]

    def ask(self, path, method="GET", body=None):
        """(status, answer) of a request for JSON."""
        request = urllib.request.Request(f"{self.root}{path}", method=method, data=body and json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request) as response:
                text = response.read()
                return response.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def read(self, path):
        status, answer = self.ask(path)
        assert status == 200, answer
        return answer

    def stop(self, number=signal.SIGINT):
        """Ends it as Ctrl-C does; its exit code, and what it has said since its page was known."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@contextlib.contextmanager
def serve_here(url):
    """What `flatselect dashboard` serves, from a thread of this process: no time is lost on its start."""
    storage = make_optuna_storage(url, create=False)
    cache = AdditionsCache(storage)
    with _serve_app(make_app(storage, cache)) as served:
        yield served
    cache.close()
    close_optuna_storage(storage)


@contextlib.contextmanager
def serve_plain(url, folder=None):
    """What optuna-dashboard serves, from a thread of this process, with nothing of flatselect in it."""
    storage = RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))  # SQLAlchemy 2.0 has another default
    store = None if folder is None else FileSystemArtifactStore(folder)
    with _serve_app(optuna_dashboard.wsgi(storage, artifact_store=store)) as served:
        yield served
    close_optuna_storage(storage)


@contextlib.contextmanager
def _serve_app(app):
    with start_server(app, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Served(f"http://127.0.0.1:{server.server_port}/dashboard")
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def serve(*arguments):
    """Runs `flatselect dashboard` on a port that is free."""
    command = [sys.executable, "-m", "flatselect", "dashboard", *map(str, arguments), "--port", "0"]
    with _run(command) as process:
        page = process.stdout.readline().strip()
        assert page, process.stderr.read()
        yield Served(page, process)


@contextlib.contextmanager
def serve_by_hand(storage, port):
    """Runs optuna-dashboard itself."""
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), storage, "--port", str(port)]
    with _run(command) as process:
        while not _is_listening(port):  # it says that it does before it does
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        yield Served(f"http://127.0.0.1:{port}/dashboard", process)


@contextlib.contextmanager
def _run(command):
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _is_listening(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def add_password(url):
    """The same URL with a password, which the tests' server does not ask for."""
    return make_url(url).set(password="secret").render_as_string(hide_password=False)
