"""`flatselect trials`: every attempt of every trial; failed ones tried again, dead ones ended, checkpoints deleted."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from flatselect.cli.opening import open_study_reader
from flatselect.cli.output import output_options, print_records, print_table
from flatselect.cli.show_output import format_size
from flatselect.cli.trials_output import make_attempt_table, make_records
from flatselect.errors import ConfigError, SearchError
from flatselect.records import read_costs
from flatselect.search.retrying import enqueue_retries, find_failed
from flatselect.search.trial_history import read_history
from flatselect.store.engine import hide_password

if TYPE_CHECKING:
    from flatselect.search.study_identity import OpenStudy

_EPILOG = """\b
Examples:
  flatselect trials studies/digits.toml                     # every attempt of every trial
  flatselect trials studies/digits.toml --csv > attempts.csv
  flatselect trials studies/digits.toml retry 7 9           # the next search tries them again
  flatselect trials studies/digits.toml retry failed
  flatselect trials studies/digits.toml fail --stale 2h     # end what a dead run left running
  flatselect trials studies/digits.toml clean --keep 5      # delete the checkpoints of all but the best five

Options follow STUDY: `flatselect trials STUDY list --help` lists those of the first two.
`flatselect show STUDY 7` tells one trial's story, with its traceback."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Age(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 takes none
    """A duration: 90s, 30m, 2h, 1d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value).strip())
        if found is None:
            self.fail(f"{value!r}: expected a number and s, m, h or d, such as 90s, 30m, 2h or 1d", param, ctx)
        try:
            return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])
        except OverflowError:
            self.fail(f"{value!r}: longer than any trial can have been silent", param, ctx)


class TrialsGroup(click.Group):
    """A group whose commands follow its argument; without one, `list` is meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0].isdecimal():
            study = hide_password(ctx.params["study"])
            raise ConfigError(f"{args[0]}: for one trial's story: flatselect show {study} {args[0]}")
        if not args[0].startswith("-") and args[0] not in self.commands:
            raise ConfigError(f"{args[0]}: expected list, retry, fail or clean")
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
    subcommand_metavar="[list | retry N...|failed | fail --stale AGE | clean --keep N] [OPTIONS]",
)
@click.argument("study")
@click.pass_context
def trials(ctx: click.Context, study: str) -> None:
    """List every attempt of every trial of STUDY, try failed trials again, end those of a dead run, or make room.

    STUDY is a study file, a .db file or database's URL of one study, or a study's name.
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


@trials.command("clean")
@click.option("--keep", type=click.IntRange(min=1), required=True, metavar="N", help="Trials of the ranking to keep.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@storage_option
@click.pass_context
def clean(ctx: click.Context, keep: int, dry_run: bool, yes: bool, storage: str | None) -> None:
    """Delete the checkpoints of ended trials that are not among the N best.

    What was measured and predicted stays; what needs the weights (export, audit) is possible for the kept trials only.
    In a study that minimises costs too, the Pareto front is kept as well. `study.keep_checkpoints = N` does the same
    while a search runs.
    """
    with _open_for_writing(_get_study(ctx), storage) as opened:
        from flatselect.search.checkpoint_cleaning import delete_checkpoints, find_superfluous

        reader = opened.reader
        if reader.latest_calibrator() is None:
            raise SearchError("this study has no calibrator yet, so nobody knows which trials are the best")
        kept = reader.kept_checkpoints()
        superfluous = find_superfluous(reader.trials(include_audits=False), kept, keep, read_costs(reader.config()))
        n_left = len(kept) - len(superfluous)
        words = f"checkpoints of {len(superfluous)} trials, {format_size(sum(file.size for file in superfluous))}"
        if not superfluous:
            click.echo(f"nothing to delete; checkpoints kept: {n_left}", err=True)
            return
        if dry_run:
            for file in superfluous:
                click.echo(file.path)
            click.echo(f"{words} would be deleted; kept: {n_left}", err=True)
            return
        if not yes:
            click.confirm(f"delete the {words}, and keep {n_left}?", abort=True, err=True)
        done = delete_checkpoints(opened, superfluous)
    for problem in done.problems:
        click.echo(problem, err=True)
    freed = format_size(sum(file.size for file in done.deleted))
    click.echo(f"checkpoints deleted: {len(done.deleted)} ({freed}); kept: {n_left + len(done.problems)}")
    if done.problems:
        ctx.exit(1)


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
