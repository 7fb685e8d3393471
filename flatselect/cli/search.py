"""`flatselect search`: run a study, or go on with it."""

import sys
from collections.abc import Sequence

import click

from flatselect.cli.next_steps import Address
from flatselect.cli.output import print_json, print_trials
from flatselect.cli.progress import make_progress
from flatselect.search.run import run_search
from flatselect.store.engine import hide_password
from flatselect.study_file import load_study_file

_EPILOG = """\b
Examples:
  flatselect search studies/digits.toml
  flatselect search studies/fashion_mnist.toml --trials 12 --json > result.json
  flatselect search studies/digits.toml --set training.epochs=5 --set study.name=short
  flatselect search studies/digits_pareto.toml                  # score against size

The same command goes on where an interrupted search stopped; a higher --trials adds to a finished one."""


@click.command("search", epilog=_EPILOG)
@click.argument("study", type=click.Path())
@click.option("--storage", metavar="URL", help="Database; default: SQLite beside the study file.")
@click.option("--trials", type=click.IntRange(min=1), help="Trials in all, earlier runs included.")
@click.option("--workers", type=click.IntRange(min=1), help="Default: one a core, or a GPU share.")
@click.option(
    "--gpus-per-trial", type=click.FloatRange(min=0), help="0, a fraction, 1 or more; default: 1 if there is one."
)
@click.option("--ray-address", metavar="A", help="A running cluster; default: RAY_ADDRESS, else this machine.")
@click.option("--backend", type=click.Choice(["ray", "inline"]), help="inline: one worker, no Ray.")
@click.option("--seed", type=click.IntRange(min=0), help="Of everything random.")
@click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Override the study file; repeatable."
)
@click.option("--logs", type=click.Path(), metavar="DIR", help="Log files, one of each process, go into DIR.")
@click.option("--log-json", is_flag=True, help="Log lines are JSON objects.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, all else on standard error.")
def search(
    study: str,
    storage: str | None,
    trials: int | None,
    workers: int | None,
    gpus_per_trial: float | None,
    ray_address: str | None,
    backend: str | None,
    seed: int | None,
    overrides: tuple[str, ...],
    logs: str | None,
    log_json: bool,
    as_json: bool,
) -> None:
    """Search the networks that STUDY, a TOML file, describes.

    Trains every candidate on all labelled images, predicts its test score from the flatness of its last convolution,
    and ranks the candidates by it.
    """
    options = {
        "study.storage": storage,
        "study.trials": trials,
        "study.seed": seed,
        "ray.workers": workers,
        "ray.gpus_per_trial": gpus_per_trial,
        "ray.address": ray_address,
        "ray.backend": backend,
        "study.logs": logs,
        "study.log_json": "true" if log_json else None,
    }
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    config = load_study_file(study, [*overrides, *given])
    with make_progress(config) as progress:
        result = run_search(config, progress)
    if as_json:
        print_json(result.to_json())
    else:
        print_trials(result.trials, result.ranking, result.pareto_front)
    if result.enough_because is not None:
        click.echo(f"no more trials were started: {result.enough_because}", err=True)
    if result.interrupted:
        click.echo(f"interrupted; go on with: {describe_going_on(study, storage, trials, overrides)}", err=True)
        sys.exit(130)
    if result.stopped_because is not None:
        click.echo(f"the search stopped: {result.stopped_because}", err=True)
        sys.exit(1)


def describe_going_on(study: str, storage: str | None, trials: int | None, overrides: Sequence[str]) -> str:
    """The command that goes on with a search: with the words that say which study it is, and how large."""
    words = [] if trials is None else ["--trials", str(trials)]
    words += [word for override in overrides for word in ("--set", hide_password(override))]
    return Address(study, storage).call("search", *words)
