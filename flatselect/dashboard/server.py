"""optuna-dashboard as a server of this process, with flatselect's additions in its answers."""

import socket
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import WSGIApplication

import bottle
import click
import optuna_dashboard
from optuna.storages import RDBStorage

from flatselect.dashboard.additions import AdditionsCache
from flatselect.dashboard.plots import PLOT_PREFIX
from flatselect.dashboard.saved_note import is_own_note
from flatselect.errors import ConfigError, FlatselectError

_STUDY_RULE = "/api/studies/<study_id:int>"
_MODEL_RULE = "/artifacts/<study_id:int>/<trial_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"
_NOTE_RULES = {f"{_STUDY_RULE}/note", f"{_STUDY_RULE}/<trial_id:int>/note"}


def make_app(storage: RDBStorage, cache: AdditionsCache) -> WSGIApplication:
    """optuna-dashboard, with our plots and notes; of what it can write, only notes."""
    app = optuna_dashboard.wsgi(storage)
    app.install(AdditionsPlugin(cache))
    return app  # type: ignore[no-any-return]


class AdditionsPlugin:
    """A plugin of bottle, which optuna-dashboard is made with: it adds to what the dashboard says of a study."""

    name, api = "flatselect", 2

    def __init__(self, cache: AdditionsCache) -> None:
        self._cache = cache
        self._told: str | None = None

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:
        if route.method != "GET":
            return callback if route.rule in _NOTE_RULES else refuse
        if route.rule == "/api/meta":
            return lambda: callback() | {"artifact_is_available": True}
        if route.rule == _MODEL_RULE:
            return self._send_model
        if route.rule != _STUDY_RULE:
            return callback

        def answer(study_id: int) -> Any:
            found = callback(study_id=study_id)
            if isinstance(found, dict) and "trials" in found:
                self._add(study_id, found)
            return found

        return answer

    def _add(self, study_id: int, study: dict[str, Any]) -> None:
        try:
            additions = self._cache.find(study_id)
        except FlatselectError as error:
            if str(error) != self._told:  # the page asks every few seconds
                self._told = str(error)
                click.echo(f"without flatselect's plots and notes: {error}", err=True)
            return
        if additions is None:
            return
        # Of what `--save` has stored there is something newer here.
        others = [plot for plot in study["plotly_graph_objects"] if not plot["id"].startswith(PLOT_PREFIX)]
        study["plotly_graph_objects"] = others + [
            {"id": name, "graph_object": figure} for name, figure in additions.plots.items()
        ]
        study["artifacts"] = []  # there is no store here that they could be read from
        _set_note(study, additions.note)
        for trial in [*study["trials"], *study["best_trials"]]:
            _set_note(trial, additions.trial_notes.get(trial["number"], ""))
            model = additions.models.get(trial["number"])
            trial["artifacts"] = [] if model is None else [model]

    def _send_model(self, study_id: int, trial_id: int, artifact_id: str) -> Any:
        try:
            written = self._cache.write_model(study_id, artifact_id)
        except FlatselectError as error:
            return bottle.HTTPResponse(f"{error}\n", 409, {"Content-Type": "text/plain; charset=utf-8"})
        if written is None:
            return bottle.HTTPResponse("no such model: the page may be older than the search\n", 404)
        name, content = written
        disposition = f'attachment; filename="{name}"'
        headers = {"Content-Type": "application/octet-stream", "Content-Disposition": disposition}
        return bottle.HTTPResponse(content, headers=headers)


def _set_note(noted: dict[str, Any], body: str) -> None:
    """Puts ours where the user has written none: version 0 is what a note that was never saved has."""
    stored = noted["note"]
    if stored["version"] == 0 or is_own_note(stored["body"]):
        # A note that the user saves here is to be the next version of what is stored.
        noted["note"] = {"version": stored["version"], "body": body}


def refuse(**_: Any) -> dict[str, str]:
    """Says no to what would change the study: a study renamed or deleted by Optuna alone leaves its tables behind."""
    bottle.response.status = 403
    return {"reason": "`flatselect dashboard` changes nothing but notes; `optuna-dashboard STORAGE` does"}


class DashboardServer(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread; those that wait do not keep it from ending."""

    daemon_threads = True


class _DashboardServer6(DashboardServer):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Says nothing: the page asks every few seconds."""


def start_server(app: WSGIApplication, host: str, port: int) -> WSGIServer:
    """Listens, and answers once `serve_forever` is called; port 0 is any that is free.

    Raises:
        ConfigError: It cannot listen there.
    """
    server_class = _DashboardServer6 if ":" in host else DashboardServer
    try:
        return make_server(host, port, app, server_class=server_class, handler_class=_QuietHandler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"--host {host} --port {port}: {reason}; is a dashboard running there already? "
            "Give another port, or --port 0 for one that is free"
        ) from None
