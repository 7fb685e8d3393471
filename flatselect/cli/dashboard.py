"""`flatselect dashboard`: optuna-dashboard on a study's database."""

import ipaddress
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import click
from optuna.storages import RDBStorage

from flatselect.cli.opening import find_url, open_study_reader
from flatselect.cli.working_folder import ensure_working_folder_importable
from flatselect.errors import ConfigError, StoreError
from flatselect.search.signal_handling import handle_signals
from flatselect.store.engine import make_engine, open_transaction, show_url
from flatselect.store.optuna_storage import close_optuna_storage
from flatselect.store.optuna_trials import read_study_ids
from flatselect.store.study_reader import open_optuna_storage

_EPILOG = """\b
Examples:
  flatselect dashboard studies/digits.toml
  flatselect dashboard postgresql://USER@HOST/DATABASE --port 0
  ssh -t -L 8080:127.0.0.1:8080 HOST flatselect dashboard digits.db   # open its URL here
  flatselect dashboard digits.db --save --artifact-dir artifacts      # for dashboards without flatselect
  optuna-dashboard sqlite:///digits.db --artifact-dir artifacts"""


@click.command("dashboard", epilog=_EPILOG)
@click.argument("study", metavar="STUDY|FILE.db|URL")
@click.option("--storage", metavar="URL", help="Database; default: what the study file says, or NAME.db.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--save",
    is_flag=True,
    help="Serve nothing: store plots and note in the study, small, where any optuna-dashboard shows them. What was "
    "saved before is replaced.",
)
@click.option(
    "--artifact-dir",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --save: store the models of the ten best trials too, in this folder; optuna-dashboard has the same "
    "option. With --remove-saved: the folder from which they go.",
)
@click.option("--remove-saved", is_flag=True, help="Take out of the study what --save has stored.")
def dashboard(
    study: str,
    storage: str | None,
    port: int,
    host: str,
    save: bool,
    artifact_dir: Path | None,
    remove_saved: bool,
) -> None:
    """Serve optuna-dashboard (pip install 'flatselect[dashboard]') on the database of STUDY, also while it is searched.

    STUDY is a study file, a .db file, a database's URL, or a study's name. Beside Optuna's own plots there are those of
    `flatselect report`, the ranking as the study's note, and each trial's story as its note. They are made as the page
    is looked at: nothing but notes that you save is written to the database. Ctrl-C ends it.

    With --save they are stored instead, once, so that any plain `optuna-dashboard` shows them.
    """
    if save and remove_saved:
        raise click.UsageError("--save and --remove-saved: give one of the two")
    if artifact_dir is not None and not (save or remove_saved):
        raise click.UsageError("--artifact-dir is of what is saved: give --save with it")
    if not (save or remove_saved):
        _serve(study, storage, port, host)
        return
    with _needing_dashboard():
        from flatselect.cli.dashboard_saving import remove_additions, save_additions
    (save_additions if save else remove_additions)(study, storage, artifact_dir)


def _serve(study: str, storage: str | None, port: int, host: str) -> None:
    url, uid = _find_database(study, storage)
    with _needing_dashboard():
        from flatselect.dashboard.additions import AdditionsCache
        from flatselect.dashboard.server import make_app, start_server
    ensure_working_folder_importable()
    # Of importances, which the page asks for again and again.
    warnings.filterwarnings("ignore", module="optuna")
    opened = _open_storage(url)
    cache = AdditionsCache(opened)
    try:
        with open_transaction(opened.engine) as connection:
            ids = read_study_ids(connection)
        if uid is None and len(ids) == 1:
            (uid,) = ids
        # A container is ended by SIGTERM, which its first process does not hear unless it says so.
        with start_server(make_app(opened, cache), host, port) as server, handle_signals(_end, signal.SIGTERM):
            if not _is_loopback(host):
                click.echo(
                    f"--host {host}: there is no password; whoever reaches this port reads the database's studies and "
                    "writes notes",
                    err=True,
                )
            path = "/dashboard" if uid is None else f"/dashboard/studies/{ids[uid]}"
            page = f"http://{_name_host(host)}:{server.server_port}{path}"
            click.echo(page)
            click.echo(f"studies of {show_url(opened.engine)}; Ctrl-C ends it", err=True)
            server.serve_forever()
    except KeyboardInterrupt:
        click.echo("ended", err=True)
    finally:
        cache.close()
        close_optuna_storage(opened)


@contextmanager
def _needing_dashboard() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("optuna_dashboard", "bottle"):
            raise
        raise ConfigError(f"{error}; pip install 'flatselect[dashboard]' brings optuna-dashboard") from None


def _find_database(study: str, storage: str | None) -> tuple[str, str | None]:
    """The database's URL, and the uid of the study that is asked for; None where a whole database is."""
    if study.endswith(".db") or "://" in study:
        return find_url(study, storage), None
    with closing(open_study_reader(study, storage)) as reader:
        return reader.engine.url.render_as_string(hide_password=False), reader.study_uid


def _open_storage(url: str) -> RDBStorage:
    engine = make_engine(url, create=False)
    try:
        opened = open_optuna_storage(engine)
    finally:
        engine.dispose()
    if opened is None:
        raise StoreError(f"{show_url(engine)}: holds no study; `flatselect search STUDY.toml` makes one")
    return opened


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _name_host(host: str) -> str:
    """The host as it stands in a link."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
