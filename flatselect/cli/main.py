"""The command `flatselect`. A verb's module, and all that it needs, is loaded when the verb is used."""

import errno
import importlib
import io
import os
import sys
from typing import Any, NamedTuple

import click

from flatselect.errors import FlatselectError

_INTERRUPTED = 130
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Verb(NamedTuple):
    """Where a command lives, and what the list of commands says of it."""

    module: str
    function: str
    help: str


VERBS = {
    "search": Verb("flatselect.cli.search", "search", "Run a study, or go on with it."),
    "watch": Verb("flatselect.cli.watch", "watch", "Look on while a study is searched."),
    "show": Verb("flatselect.cli.show", "show", "Tell the story of a study, or of one trial."),
    "query": Verb("flatselect.cli.query", "query", "Ask for trials or epochs of studies, by a condition."),
    "sql": Verb("flatselect.cli.sql", "sql", "Print what a SELECT finds in the study database."),
    "trials": Verb("flatselect.cli.trials", "trials", "List every attempt; retry or end trials."),
    "studies": Verb("flatselect.cli.studies", "studies", "List the studies of a database."),
    "calibrate": Verb("flatselect.cli.calibrate", "calibrate", "Fit a calibrator and say how well it predicts."),
    "measure": Verb("flatselect.cli.measure", "measure", "Measure the flatness of a network in a checkpoint."),
    "rank": Verb("flatselect.cli.rank", "rank", "Rank checkpoints by the test scores to be expected of them."),
    "report": Verb("flatselect.cli.report", "report", "Write a study as one HTML page."),
    "plot": Verb("flatselect.cli.plot", "plot", "Draw one chart of a study into a file."),
    "dashboard": Verb("flatselect.cli.dashboard", "dashboard", "Serve optuna-dashboard, with the report's plots."),
    "export": Verb("flatselect.cli.export", "export", "Write a model for others to use, or a study to MLflow."),
    "doctor": Verb("flatselect.cli.doctor", "doctor", "Check what a search needs, and say how to mend it."),
}


class LazyGroup(click.Group):
    """A group that lists its commands without importing them, and turns our errors into messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, function, _ = VERBS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), function)
        for each in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            if not any(parameter.name == "debug" for parameter in each.params):
                each.params.append(_make_debug_option())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
            return done
        except FlatselectError as error:
            if ctx.obj == "debug":
                raise
            raise click.ClickException(_make_plain(str(error))) from error
        except OSError as error:
            if ctx.obj == "debug" or error.errno not in _FULL:
                raise
            sys.stdout = io.StringIO()  # Python, as it ends, would try once more what could not be written
            where = f"{error.filename}: " if error.filename else ""
            message = f"{where}cannot be written to the end ({error.strerror}); make room"
            raise click.ClickException(_make_plain(message)) from error
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(_INTERRUPTED)


def _make_plain(message: str) -> str:
    """What a terminal shows and does not obey: names come from files and databases of anybody's."""
    from flatselect.cli.output import escape_controls

    return escape_controls(message)


def _make_debug_option() -> click.Option:
    def remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            ctx.find_root().obj = "debug"

    return click.Option(["--debug"], is_flag=True, expose_value=False, callback=remember, help="Errors with traceback.")


_EPILOG = """\b
Examples:
  flatselect search studies/digits.toml
  flatselect show studies/digits.toml
  flatselect query --help"""


@click.group(cls=LazyGroup, epilog=_EPILOG, params=[_make_debug_option()])
@click.version_option(package_name="flatselect", prog_name="flatselect")
def cli() -> None:
    """Choose a convolutional network when no labelled data can be spared for validation."""


def main() -> None:
    """Runs one command and exits: 0 done, 1 refused or failed with a message, 2 misused, 130 interrupted."""
    # Threads that spin while they wait for each other take five times as long where another process wants the cores
    # too. Read when torch is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    cli(prog_name="flatselect")
