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
from flatselect.dashboard.saving import SAVED_DETAIL, SavedAdditions, SavedModels
from flatselect.report.study_contents import N_READINGS, read_study_contents
from flatselect.search.liveness import is_alive
from flatselect.store.engine import show_url
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage, translate_optuna_errors
from flatselect.store.study_reader import StudyReader


def save_additions(study: str, storage: str | None, folder: Path | None) -> None:
    """Stores plots, note and, with a folder, models; says what and how much, and what shows it."""
    ensure_working_folder_importable()
    with _open(study, storage) as (reader, saved, url):
        with StepProgress("saving", "parts") as progress:
            progress.show(0, N_READINGS + 2 + (N_OFFERED if folder else 0))
            contents = read_study_contents(reader, progress.advance, SAVED_DETAIL)
            sizes = saved.save_plots(contents)
            progress.advance()
            note = saved.save_note(contents)
            progress.advance()
            models = saved.save_models(contents, folder, progress.advance) if folder else None
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
        elif n := saved.count_models():
            click.echo(f"{_count(n, 'model')} saved before: as before; --artifact-dir FOLDER renews them", err=True)
        if any(is_alive(run) for run in contents.runs):
            click.echo("the search goes on: what is saved is how far it has come; the same command renews it", err=True)
    store = ["--artifact-dir", str(folder)] if folder else []
    click.echo(f"to see it: {shlex.join(['optuna-dashboard', url, *store])}", err=True)


def remove_additions(study: str, storage: str | None, folder: Path | None) -> None:
    """Takes out what `save_additions` has stored, and says what that was."""
    with _open(study, storage) as (_, saved, url):
        n_plots, had_note, n_models = saved.remove(folder)
    parts = [_count(n_plots, "plot")] * bool(n_plots) + ["the note"] * had_note
    parts += [_count(n_models, "model")] * bool(n_models)
    click.echo(f"removed from {url}: {', '.join(parts) or 'nothing, as nothing was saved'}")


@contextmanager
def _open(study: str, storage: str | None) -> Iterator[tuple[StudyReader, SavedAdditions, str]]:
    """The study, what is stored of ours in it, and its database's URL as it may be shown."""
    with closing(open_study_reader(study, storage)) as reader:
        opened: RDBStorage = make_optuna_storage(reader.engine.url.render_as_string(hide_password=False), create=False)
        url = show_url(reader.engine)
        try:
            with translate_optuna_errors(url):
                yield reader, SavedAdditions(reader, opened), url
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
        click.echo(f"{before} saved before listed no more: renewed, overtaken, or not in {folder}", err=True)
    for number, reason in models.failures.items():
        click.echo(f"without the model of trial {number}: {reason}", err=True)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _show_size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.0f} kB"
