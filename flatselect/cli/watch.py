"""`flatselect watch`: looking on at a search, from any terminal."""

import sys
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import click
from rich.live import Live

from flatselect.cli.opening import open_study_reader
from flatselect.cli.output import make_console, make_text, print_json
from flatselect.cli.watch_output import describe_counts, list_news, make_record, make_view
from flatselect.search.watching import StudyWatch, WatchedStudy
from flatselect.store.patience import Patience

_PATIENCE_SECONDS = 600.0
_STOPPED = 1

_EPILOG = """\b
Examples:
  flatselect watch studies/digits.toml
  flatselect watch digits --storage postgresql://USER:PASSWORD@HOST/DATABASE --interval 10
  flatselect watch studies/digits.toml >> search.log &           # a line for each change
  flatselect watch studies/digits.toml --once --json
  flatselect watch digits && flatselect report digits            # once it is complete

\b
Exit code: 0 when the search came to its end, 1 when it was stopped or its driver is gone, 130 after Ctrl-C,
which ends the watching and not the search."""


@click.command("watch", epilog=_EPILOG)
@click.argument("study")
@click.option("--storage", metavar="URL", help="Database; default: what the study file says, or NAME.db.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@click.option("--once", is_flag=True, help="Look once, and exit with 0.")
@click.option("--json", "as_json", is_flag=True, help="With --once: one JSON object.")
def watch(study: str, storage: str | None, interval: float, once: bool, as_json: bool) -> None:
    """Look on while STUDY is searched: what runs, what has ended, how long it will take, what is best so far.

    STUDY is a study file, a .db file or database's URL of one study, or a study's name. Nothing is written. On a
    terminal the view renews itself; elsewhere every trial that begins or ends is a line. It ends with the search, or
    when its driver is gone. A database that does not answer is waited for, ten minutes at most.
    """
    if as_json and not once:
        raise click.UsageError("--json is of one look; give --once too")
    with closing(open_study_reader(study, storage)) as reader:
        patience = Patience(0.0 if once else _PATIENCE_SECONDS, lambda message: click.echo(message, err=True))
        watching = StudyWatch(reader, patience)
        if once:
            _print_once(watching.look(), as_json=as_json)
            return
        try:
            last = _look_on(watching, interval)
        except KeyboardInterrupt:
            click.echo("no longer watching; the search is left as it is", err=True)
            sys.exit(130)
    click.echo(f"{last.over_because}{_advise(last)}", err=True)
    if not last.is_complete:
        sys.exit(_STOPPED)


def _print_once(watched: WatchedStudy, *, as_json: bool) -> None:
    if as_json:
        print_json(make_record(watched))
    else:
        make_console().print(make_view(watched))


def _look_on(watching: StudyWatch, interval: float) -> WatchedStudy:
    """Shows the study until nothing more is to be seen; how it then stood."""
    console = make_console()
    before = None
    with ExitStack() as stack:
        live = None
        while True:
            now = watching.look()
            if not console.is_terminal:
                time_of_day = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"
                for line in list_news(before, now):
                    click.echo(f"{time_of_day} {make_text(' '.join(line.split()))}")
                if before is not None and now.over_because is not None:
                    click.echo(f"{time_of_day} {describe_counts(now)}")
            elif live is None:
                live = stack.enter_context(Live(make_view(now, console.height), console=console, auto_refresh=False))
            else:
                live.update(make_view(now, console.height), refresh=True)
            if now.over_because is not None:
                return now
            before = now
            time.sleep(interval)


def _advise(watched: WatchedStudy) -> str:
    return "" if watched.is_complete else "; the same `flatselect search` goes on with it"
