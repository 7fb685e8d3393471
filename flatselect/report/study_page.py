"""A study as one HTML page: what was tried, what came first, how sure that is, what it cost, how to do it again."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flatselect.records import TrialRecord
from flatselect.report.page import make_page
from flatselect.report.pruning import STATE_NAMES, compute_cost, list_pruned
from flatselect.report.study_charts import CHARTS
from flatselect.report.study_contents import StudyContents
from flatselect.report.study_file_text import make_study_file_text
from flatselect.search.liveness import is_alive

_MOST_ROWS = 100


def make_study_page(contents: StudyContents, advance: Callable[[], None] = lambda: None) -> str:
    """The page's text; names, parameters, messages and everything else that is not ours is escaped.

    Args:
        contents: What it shows.
        advance: Called after each of `CHARTS`.
    """
    charts = {}
    for kind, make in CHARTS.items():
        charts[kind] = make(contents)
        advance()
    pruned = list_pruned(contents)
    pruned.sort(key=lambda one: (one.bound is None, (one.needed or 0) - (one.bound or 0), one.trial.number))
    failed = [trial for trial in contents.trials.values() if trial.failure]
    return make_page(
        "study.html",
        charts,
        contents=contents,
        facts=list_facts(contents),
        ranked=contents.ranked[:_MOST_ROWS],
        pruned=pruned[:_MOST_ROWS],
        n_pruned=len(pruned),
        failed=failed[:_MOST_ROWS],
        n_failed=len(failed),
        cost=compute_cost(contents),
        calibrator=contents.calibrator.describe() if contents.calibrator else None,
        versions=contents.runs[-1].versions if contents.runs else {},
        study_file=make_study_file_text(contents.config),
        warning=find_warning(contents),
        describe_params=describe_params,
    )


def list_facts(contents: StudyContents) -> dict[str, str]:
    """What the page begins with, in words."""
    counts = Counter(STATE_NAMES[trial.state] for trial in contents.trials.values())
    n_calibration = sum(trial.is_calibration for trial in contents.trials.values())
    facts = {"trials": f"{len(contents.trials):,}: " + ", ".join(f"{n:,} {state}" for state, n in counts.most_common())}
    if n_calibration:
        facts["trials"] += f"; {n_calibration:,} held out a part of the images, for the calibration"
    if contents.ranked and (best := contents.ranked[0]).prediction:
        low, high = best.prediction.predicted_test_score_interval
        facts["best"] = (
            f"trial {best.number}, {best.model or 'its network is not known'}: predicted test score "
            f"{best.prediction.predicted_test_score:.4f}{'?' if best.prediction.extrapolation else ''} "
            f"({low:.3f} to {high:.3f})"
        )
    if data := contents.data:
        shape = "×".join(map(str, data.get("input_shape", [])))
        of_shape = f" of {shape}" if shape else ""
        facts["training images"] = f"{data.get('name', 'unnamed')}: {data.get('n_images', 0):,}{of_shape}"
    facts["search"] = _describe_runs(contents)
    facts["database"] = contents.storage
    facts["this page"] = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return facts


def find_warning(contents: StudyContents) -> str | None:
    """What to know before believing the page; None where the search came to its end."""
    if not contents.trials:
        return "No trial has begun."
    if any(is_alive(run) for run in contents.runs):
        return "The search is running: this is how far it has come."
    if contents.runs and contents.runs[-1].outcome != "complete":
        return "The last search did not come to its end: this is how far it came. The same command goes on with it."
    return None


def describe_params(trial: TrialRecord) -> str:
    return ", ".join(f"{name} = {_shorten(value)}" for name, value in trial.params.items())


def _shorten(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _describe_runs(contents: StudyContents) -> str:
    if not contents.runs:
        return "no process has driven it"
    first, last = contents.runs[0], contents.runs[-1]
    n = len(contents.runs)
    state = "running" if is_alive(last) else (last.outcome or "died")
    hosts = ", ".join(sorted({run.host for run in contents.runs}))
    kind = f" ({last.host_kind})" if last.host_kind else ""
    return (
        f"{n} run{'s' if n > 1 else ''} on {hosts}{kind}, the last by {last.backend}: {state}; "
        f"from {first.started_at:%Y-%m-%d %H:%M} to {last.heartbeat_at:%Y-%m-%d %H:%M} UTC"
    )
