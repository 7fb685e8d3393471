"""`flatselect show`: the story of a study, or of one of its trials."""

from contextlib import closing
from datetime import datetime
from typing import Any

import click

from flatselect.cli.next_steps import Address, list_study_steps, list_trial_steps
from flatselect.cli.opening import open_study_reader
from flatselect.cli.output import make_console, print_json
from flatselect.errors import ConfigError

_EPILOG = """\b
Examples:
  flatselect show studies/digits.toml
  flatselect show studies/digits.toml best
  flatselect show digits 7 --storage sqlite:///studies/digits.db
  flatselect show studies/digits.toml --json | python -m json.tool"""


@click.command("show", epilog=_EPILOG)
@click.argument("study")
@click.argument("trial", required=False, metavar="[N|best]")
@click.option("--storage", metavar="URL", help="Database; default: what the study file says, or NAME.db.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(study: str, trial: str | None, storage: str | None, as_json: bool) -> None:
    """Tell what was tried in STUDY, what was pruned and why, what is best and how sure, and what to do next.

    STUDY is a study file, a .db file or database's URL of one study, or a study's name. With a trial's number, or the
    word best: its candidate, curve and attempts, why it was pruned or failed, its checkpoint and its place. Works while
    the search runs.
    """
    if trial is not None and trial != "best" and not trial.isdecimal():
        raise ConfigError(f"{trial}: expected a trial's number or best")
    with closing(open_study_reader(study, storage)) as reader:
        # Imported here: scikit-learn takes seconds to import, and a wrong name is answered without it.
        from flatselect.cli.show_output import print_study
        from flatselect.cli.show_trial_output import print_trial
        from flatselect.cli.trials_output import make_records
        from flatselect.report.study_contents import read_study_contents
        from flatselect.report.study_story import tell_study
        from flatselect.report.trial_story import find_history, tell_trial
        from flatselect.search.trial_history import read_history

        contents, histories = read_study_contents(reader), read_history(reader)
        address = Address(study, storage)
        if trial is None:
            story = tell_study(contents, histories)
            steps, print_story = list_study_steps(story, address), print_study
        else:
            history = find_history(contents, histories, None if trial == "best" else int(trial))
            story = tell_trial(reader, contents, history)
            story["attempts"] = make_records([history], with_traceback=True)
            steps, print_story = list_trial_steps(story, address), print_trial
    if as_json:
        print_json(_make_plain({**story, "next": [step._asdict() for step in steps]}))
    else:
        print_story(make_console(), story, steps)


def _make_plain(value: Any) -> Any:
    """Times as JSON has them."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds") + "Z"
    if isinstance(value, dict):
        return {name: _make_plain(item) for name, item in value.items()}
    return [_make_plain(item) for item in value] if isinstance(value, list) else value
