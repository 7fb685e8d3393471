"""`flatselect dashboard --save` and `--remove-saved`: what other dashboards show, stored in the study."""

import importlib.util
import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
from optuna.storages import RDBStorage

from flatselect.cli.opening import open_study_reader
from flatselect.cli.step_progress import StepProgress
from flatselect.cli.working_folder import ensure_working_folder_importable
from flatselect.dashboard.models import N_OFFERED
from flatselect.dashboard.saved_models import SavedModels, count_models, remove_models, save_models
from flatselect.dashboard.saved_plots import SAVED_DETAIL, remove_note, remove_plots, save_note, save_plots
from flatselect.dashboard.stored_study import StoredStudy
from flatselect.report.study_contents import N_READINGS, read_study_contents
from flatselect.search.liveness import is_alive
from flatselect.store.engine import show_url
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage, translate_optuna_errors


def save_additions(study: str, storage: str | None, folder: Path | None) -> None:
    """Stores plots, note and, with a folder, models; says what and how much, and what shows it."""
    ensure_working_folder_importable()
    with _open(study, storage) as (stored, url):
        with StepProgress("saving", "parts") as progress:
            progress.show(0, N_READINGS + 2 + (N_OFFERED if folder else 0))
            contents = read_study_contents(stored.reader, progress.advance, SAVED_DETAIL)
            sizes = save_plots(stored, contents)
            progress.advance()
            note = save_note(stored, contents)
            progress.advance()
            models = save_models(stored, contents, folder, progress.advance) if folder else None
        parts = [f"{_count(len(sizes), 'plot')} ({_show_size(sum(sizes.values()))})"]
        if note is not None:
            parts.append(f"the note ({_show_size(note)})")
        if models is not None:
            parts.append(f"{_describe_models(models)} in {folder}")
        click.echo(f"saved in {url}: {', '.join(parts)}")
        if note is None:
            click.echo("the study's note is one of your own, and stays as it is", err=True)
        if models is not None:
            _explain_models(models, str(folder))
        elif n := count_models(stored):
            click.echo(f"{_count(n, 'model')} saved before: as before; --artifact-dir FOLDER renews them", err=True)
        if any(is_alive(run) for run in contents.runs):
            click.echo("the search goes on: what is saved is how far it has come; the same command renews it", err=True)
    store = ["--artifact-dir", str(folder)] if folder else []
    click.echo(f"to see it: {shlex.join(['optuna-dashboard', url, *store])}", err=True)


def remove_additions(study: str, storage: str | None, folder: Path | None) -> None:
    """Takes out what `save_additions` has stored, and says what that was."""
    with _open(study, storage) as (stored, url):
        n_models, n_files = remove_models(stored, folder)
        n_plots, had_note = remove_plots(stored), remove_note(stored)
    parts = [_count(n_plots, "plot")] * bool(n_plots) + ["the note"] * had_note
    parts += [f"{_count(n_models, 'model')} ({_count(n_files, 'file')})"] * bool(n_models)
    click.echo(f"removed from {url}: {', '.join(parts) or 'nothing, as nothing was saved'}")


@contextmanager
def _open(study: str, storage: str | None) -> Iterator[tuple[StoredStudy, str]]:
    """The study as Optuna has it, and its database's URL as it may be shown."""
    with closing(open_study_reader(study, storage)) as reader:
        opened: RDBStorage = make_optuna_storage(reader.engine.url.render_as_string(hide_password=False), create=False)
        url = show_url(reader.engine)
        try:
            with translate_optuna_errors(url):
                yield StoredStudy(reader, opened), url
        finally:
            close_optuna_storage(opened)


def _describe_models(models: SavedModels) -> str:
    n = models.n_kept + len(models.sizes)
    new = f"{len(models.sizes)} new, {_show_size(sum(models.sizes.values()))}" if models.sizes else "as before"
    return f"{_count(n, 'model')} ({new})"


def _explain_models(models: SavedModels, folder: str) -> None:
    if importlib.util.find_spec("torch") is None:
        click.echo("no new models: torch writes them, and is not installed here", err=True)
    if models.n_removed:
        before = _count(models.n_removed, "model")
        click.echo(f"{before} saved before taken out: of trials no longer among the best", err=True)
    if models.n_elsewhere:
        click.echo(f"{_count(models.n_elsewhere, 'model')} not in {folder}, but where saved before", err=True)
    for number, reason in models.failures.items():
        click.echo(f"without the model of trial {number}: {reason}", err=True)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _show_size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.0f} kB"
