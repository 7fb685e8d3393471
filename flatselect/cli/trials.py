"""`flatselect trials`: every attempt of every trial; failed ones tried again, those of dead runs ended."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from flatselect.cli.opening import open_study_reader
from flatselect.cli.output import output_options, print_records, print_table
from flatselect.cli.trials_output import make_attempt_table, make_records
from flatselect.errors import ConfigError
from flatselect.search.retrying import enqueue_retries, find_failed
from flatselect.search.trial_history import read_history

if TYPE_CHECKING:
    from flatselect.search.study_identity import OpenStudy

_EPILOG = """\b
Examples:
  flatselect trials studies/digits.toml                     # every attempt of every trial
  flatselect trials studies/digits.toml --csv > attempts.csv
  flatselect trials studies/digits.toml retry 7 9           # the next search tries them again
  flatselect trials studies/digits.toml retry failed
  flatselect trials studies/digits.toml fail --stale 2h     # end what a dead run left running

Options follow STUDY: `flatselect trials STUDY list --help` lists those of the first two.
`flatselect show STUDY 7` tells one trial's story, with its traceback."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Age(click.ParamType[timedelta]):
    """A duration: 90s, 30m, 2h, 1d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value).strip())
        if found is None:
            self.fail(f"{value!r}: expected a number and s, m, h or d, such as 90s, 30m, 2h or 1d", param, ctx)
        return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


class TrialsGroup(click.Group):
    """A group whose commands follow its argument; without one, `list` is meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0].isdecimal():
            study = ctx.params["study"]
            raise ConfigError(f"{args[0]}: for one trial's story: flatselect show {study} {args[0]}")
        if not args[0].startswith("-") and args[0] not in self.commands:
            raise ConfigError(f"{args[0]}: expected list, retry or fail")
        return super().resolve_command(ctx, args if args[0] in self.commands else ["list", *args])


storage_option = click.option(
    "--storage", metavar="URL", help="Database; default: what the study file says, or NAME.db."
)


@click.group(
    "trials",
    cls=TrialsGroup,
    epilog=_EPILOG,
    invoke_without_command=True,
    no_args_is_help=True,
    subcommand_metavar="[list | retry N...|failed | fail --stale AGE] [OPTIONS]",
)
@click.argument("study")
@click.pass_context
def trials(ctx: click.Context, study: str) -> None:
    """List every attempt of every trial of STUDY, try failed trials again, or end those of a dead run.

    STUDY is a study file, a .db file that holds one study, or a study's name.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_attempts)


@trials.command("list")
@storage_option
@output_options
@click.pass_context
def list_attempts(ctx: click.Context, storage: str | None, output_format: str | None) -> None:
    """Every attempt of every trial (the default).

    An attempt is one start of a trial. `epochs` is what the trial had measured by its end; `host` and `pid` are the
    search's that drove it.
    """
    with closing(open_study_reader(_get_study(ctx), storage)) as reader:
        histories = read_history(reader)
    if output_format is None:
        print_table(make_attempt_table(histories))
    else:
        print_records(make_records(histories), output_format)


@trials.command("retry")
@click.argument("numbers", metavar="N...|failed", nargs=-1, required=True)
@storage_option
@click.pass_context
def retry(ctx: click.Context, numbers: Sequence[str], storage: str | None) -> None:
    """Try failed trials again, by number, or all that failed.

    Each becomes a new trial with the same parameters, beyond `study.trials`. The search that is running takes it up,
    or else the next one does. A trial that fails again is tried again by its new number.
    """
    if list(numbers) != ["failed"] and not all(number.isdigit() for number in numbers):
        raise ConfigError(f"retry {' '.join(numbers)}: expected trial numbers, or the one word failed")
    # Of two who ask for the same at once, the second is told that it is tried again already.
    with _open_for_writing(_get_study(ctx), storage) as opened, opened.writer.lock():
        chosen = find_failed(opened.study) if "failed" in numbers else [int(number) for number in numbers]
        queued = enqueue_retries(opened.study, chosen)
    if not queued:
        click.echo("no failed trial that is not tried again already", err=True)
        return
    for failed, again in queued.items():
        click.echo(f"trial {failed}: will be tried again as trial {again}")
    click.echo("the search that is running takes them up, or else the next `flatselect search` does", err=True)


@trials.command("fail")
@click.option(
    "--stale",
    "age",
    type=Age(),
    required=True,
    metavar="AGE",
    help="Only trials without a sign of life for so long: 90s, 30m, 2h, 1d.",
)
@storage_option
@click.pass_context
def fail(ctx: click.Context, age: timedelta, storage: str | None) -> None:
    """End as failed the trials that a dead run left running.

    Without this, the next search goes on with them from their last checkpoint. A trial of a search that is alive is
    never ended.
    """
    with _open_for_writing(_get_study(ctx), storage) as opened:
        from flatselect.search.stale_trials import fail_stale_trials, find_left_trials

        ended = fail_stale_trials(opened, age)
        left = find_left_trials(opened)
    for trial in ended:
        click.echo(f"trial {trial.number}: failed; {trial.describe()}")
    for trial in left:
        click.echo(f"trial {trial.number}: not that old; {trial.describe()}", err=True)
    if ended:
        click.echo(
            "the next `flatselect search` would have gone on with them from their last checkpoints; "
            "`retry` tries them again from the start",
            err=True,
        )
    if left:
        click.echo("the next `flatselect search` goes on with what is left", err=True)
    if not ended and not left:
        click.echo("no trial was left running", err=True)


def _get_study(ctx: click.Context) -> str:
    assert ctx.parent is not None, "the group has the argument"
    study: str = ctx.parent.params["study"]
    return study


@contextmanager
def _open_for_writing(study: str, storage: str | None) -> Iterator["OpenStudy"]:
    # Imported here: it loads torch, which takes seconds, and who only looks does not need it.
    from flatselect.search.study_identity import open_known_study

    with closing(open_known_study(open_study_reader(study, storage))) as opened:
        yield opened
