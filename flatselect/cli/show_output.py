"""A study's story for people, section by section."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flatselect.cli.calibrate_output import describe_flatness_lift
from flatselect.cli.next_steps import Step
from flatselect.cli.output import EXTRAPOLATION_HINT, format_number, make_pairs, make_table, make_text
from flatselect.cli.progress import format_seconds

_MOST_NUMBERS = 12
_MOST_ON_FRONT = 20
_MOST_REASONS = 8
_TEXT_LENGTH = 300


def print_study(console: Console, story: Mapping[str, Any], steps: Sequence[Step]) -> None:
    """Prints the story that `tell_study` made, and what to do next."""
    trials = _describe_trials(story["trials"], is_searched=bool(story["search"]["living"]))
    console.print(make_text(f"{story['study']}: {trials}", "bold"))
    print_section(console, "Tried", make_pairs(_list_tried(story)))
    if story["pruned"]:
        print_section(console, "Pruned", *_describe_pruned(story))
    print_section(console, "Best", *_describe_best(story))
    print_section(console, "Calibrator", make_pairs(_list_calibrator(story)))
    if story["failed"]:
        print_section(console, "Failed", *_describe_failed(story["failed"]))
    if story["audit"] is not None:
        print_section(console, "Audit (looked at after every decision, used by none)", *_describe_audit(story))
    print_steps(console, steps)


def print_section(console: Console, title: str, *parts: RenderableType) -> None:
    """A title, and below it what belongs to it."""
    console.print()
    console.print(make_text(title, "bold"))
    for part in parts:
        console.print(Padding(part, (0, 0, 0, 2), expand=False))


def print_steps(console: Console, steps: Sequence[Step]) -> None:
    """Commands, each on a line of its own that is never broken, so that it can be copied."""
    if not steps:
        return
    console.print()
    console.print(make_text("Next", "bold"))
    for step in steps:
        console.print(make_text(f"  # {step.purpose}", "dim"), soft_wrap=True)
        console.print(make_text(f"  {step.command}"), soft_wrap=True)


def describe_score(trial: Mapping[str, Any]) -> str:
    """`0.9530 (0.931 to 0.971)`, with a ? where the calibrator has seen nothing like it."""
    if trial["predicted_test_score"] is None:
        return "not predicted"
    mark = "?" * bool(trial.get("extrapolation"))
    return f"{trial['predicted_test_score']:.4f}{mark} ({_describe_interval(trial['predicted_test_score_interval'])})"


def describe_params(params: Mapping[str, Any], equals: str = " = ", between: str = ", ") -> str:
    return between.join(f"{name}{equals}{_format_value(value)}" for name, value in params.items())


def join_numbers(numbers: Sequence[int]) -> str:
    """`3, 7, 9`, and of many the first."""
    shown = ", ".join(map(str, numbers[:_MOST_NUMBERS]))
    return f"{shown} and {len(numbers) - _MOST_NUMBERS} more" if len(numbers) > _MOST_NUMBERS else shown


def format_size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:.1f} kB"


def shorten(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else f"{text[:_TEXT_LENGTH]}…"


def _describe_trials(trials: Mapping[str, int], *, is_searched: bool) -> str:
    words = {} if is_searched else {"running": "broken off"}
    states = ", ".join(
        f"{trials[state]:,} {words.get(state, state)}"
        for state in ("complete", "pruned", "failed", "running", "waiting")
        if trials[state] or state == "complete"
    )
    n_searched = trials["begun"] - trials["retries"] - trials["retrains"]
    return f"{n_searched:,} of {trials['wanted']:,} trials begun; {states}" if trials["begun"] else "no trial has begun"


def _list_tried(story: Mapping[str, Any]) -> dict[str, str]:
    trials, cost = story["trials"], story["cost"]
    pairs = {
        "images": _describe_data(story["data"]),
        "search space": _describe_space(story["search_space"]),
    }
    if len(story["objectives"]) > 1:
        pairs["objectives"] = f"predicted test score, and as little as can be of: {', '.join(story['objectives'][1:])}"
    roles = {
        "held out images for the calibration": trials["calibration"],
        "one of the best again": trials["retrains"],
        "a failed one again": trials["retries"],
        "attempts lost with their worker": trials["attempts_lost"],
        "attempts interrupted": trials["attempts_interrupted"],
    }
    if any(roles.values()):
        pairs["of these"] = "; ".join(f"{role}: {n:,}" for role, n in roles.items() if n)
    pairs["cost"] = f"{cost['epochs']:,} epochs, {format_seconds(cost['seconds'])} of workers' time"
    pairs["search"] = _describe_search(story["search"])
    if versions := story["search"]["versions"]:
        pairs["made with"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    pairs["database"] = story["storage"]
    return pairs


def _describe_data(data: Mapping[str, Any]) -> str:
    if data["name"] is None and data["n_images"] is None:
        return "not known"
    shape = f" of {'×'.join(map(str, data['input_shape']))}" if data["input_shape"] else ""
    classes = f", {data['n_classes']} classes" if data["n_classes"] else ""
    fingerprint = f", fingerprint {str(data['fingerprint'])[:12]}" if data["fingerprint"] else ""
    return f"{data['name'] or 'unnamed'}: {data['n_images'] or 0:,}{shape}{classes}{fingerprint}"


def _describe_space(space: Mapping[str, Any]) -> str:
    varied, fixed = [], []
    for name, entry in space.items():
        if not isinstance(entry, Mapping):
            fixed.append(f"{name} = {entry}")
        elif entry["type"] == "categorical":
            varied.append(f"{name} {' | '.join(map(_format_value, entry['choices']))}")
        else:
            log = " (log)" if entry.get("log") else ""
            varied.append(f"{name} {entry['low']:g} to {entry['high']:g}{log}")
    return shorten("; ".join([*varied, *(["fixed: " + ", ".join(fixed)] if fixed else [])])) or "nothing varies"


def _describe_search(search: Mapping[str, Any]) -> str:
    if search["state"] is None:
        return "no process has driven it"
    n = search["runs"]
    runs = f"{n} run{'s' if n > 1 else ''} on {', '.join(search['hosts'])} ({', '.join(search['backends'])})"
    times = f"{_format_time(search['started_at'])} to {_format_time(search['last_sign_at'])} UTC"
    if search["living"]:
        drivers = " and ".join(
            f"process {run['pid']} on {run['host']}, last sign of life {format_seconds(run['silent_seconds'])} ago"
            for run in search["living"]
        )
        return f"running now: {drivers}; {runs}, since {_format_time(search['started_at'])} UTC"
    ended = {"died": "its process died", "complete": "complete"}.get(search["state"], search["state"])
    return f"{ended}; {runs}, {times}, {format_seconds(search['seconds'])} in all"


def _describe_pruned(story: Mapping[str, Any]) -> Iterable[RenderableType]:
    cost, groups = story["cost"], story["pruned"]
    n = sum(group["n"] for group in groups)
    saved = "nothing was saved"
    if cost["saved_epochs"]:
        saved = (
            f"{cost['saved_epochs']:,} epochs saved, {cost['saved_share']:.0%} of those without pruning: "
            f"about {format_seconds(cost['saved_seconds'])}"
        )
    yield make_text(f"{n:,} trials; {saved}")
    for group in groups:
        yield make_text(f"{group['n']} because {group['reason']}")
        epochs = f"after epoch {group['first_epoch']}"
        if group["last_epoch"] > group["first_epoch"]:
            epochs = f"after epochs {group['first_epoch']} to {group['last_epoch']}"
        closest = ""
        if (nearest := group["closest"]) is not None:
            closest = (
                f"; the closest was trial {nearest['trial']}: {nearest['bound']:.4g} of the {nearest['needed']:.4g} "
                "that it needed"
            )
        yield _make_note(f"{epochs}: {_name_trials(group['trials'])}{closest}")


def _describe_best(story: Mapping[str, Any]) -> Iterable[RenderableType]:
    best = story["best"]
    if best is None:
        yield make_text("no trial is ranked yet: none has ended, or none could be measured")
        return
    if best["trial"]["predicted_test_score"] is None:
        yield make_text("nothing is predicted yet, so trials stand by their training scores")
    elif story["pareto_front"] is None:
        yield make_pairs(_list_certainty(best))
    if story["pareto_front"] is not None:
        n, shown = len(story["pareto_front"]), story["pareto_front"][:_MOST_ON_FRONT]
        first = f"; here are the first {len(shown)}" if len(shown) < n else ""
        yield make_text(
            f"{n:,} of {best['n_predicted']:,} predicted trials are on the Pareto front: no other is at least as good "
            f"in every objective and better in one{first}"
        )
        yield Text(" ")
        yield _make_top_table(shown, costs=story["objectives"][1:])
    else:
        yield Text(" ")
        yield _make_top_table(best["top"])
    if best["n_extrapolating"]:
        what = f"{best['n_extrapolating']:,} of {best['n_predicted']:,} predictions"
        yield make_text(f"{EXTRAPOLATION_HINT} ({what})", "dim")


def _list_certainty(best: Mapping[str, Any]) -> dict[str, str]:
    trial, n_others = best["trial"], best["n_predicted"] - 1
    pairs = {f"trial {trial['number']}": f"predicted test score {describe_score(trial)}"}
    if n_others:
        pairs["how sure"] = _describe_rivals(len(best["not_told_apart"]), n_others)
    if best["probability_best"] is not None and n_others:
        among = "" if best["n_compared"] > n_others else f" of the first {best['n_compared']}"
        pairs["how sure"] += f"; P(best) = {best['probability_best']:.2f}{among}"
    notes = []
    if trial["extrapolation"]:
        nearest = best["first_within_range"]
        instead = "" if nearest is None else f"; the first that it knows the like of is trial {nearest}"
        notes.append(f"the calibrator has seen nothing like it, so its score is not to be relied on{instead}")
    if trial["is_calibration"]:
        notes.append("it held out a part of the images, for the calibration")
    if trial["state"] == "PRUNED":
        notes.append(f"it was pruned, and its weights are those after epoch {trial['epochs']}")
    return pairs | ({"but": "\n".join(notes)} if notes else {})


def _describe_rivals(n_within: int, n_others: int) -> str:
    if not n_within:
        return f"none of the {n_others} others is predicted to score within its interval"
    which = "all" if n_within == n_others else f"{n_within:,}"
    return f"{which} of the {n_others:,} others are predicted to score within its interval: not to be told from it"


def _make_top_table(trials: Sequence[Mapping[str, Any]], costs: Sequence[str] = ()) -> Table:
    has_rank = bool(trials) and "rank" in trials[0]
    has_chance = any(trial.get("probability_best") is not None for trial in trials)
    cost_heads = {"parameters": "parameters", "latency": "ms an\nimage"}
    table = make_table(
        ["rank"] * has_rank + ["trial"],
        "network",
        ["train\nscore", "predicted\ntest score"] + ["P(best)"] * has_chance + [cost_heads[cost] for cost in costs],
    )
    for trial in trials:
        role = "pruned" if trial["state"] == "PRUNED" else "calibration trial" if trial["is_calibration"] else ""
        predicted = ""
        if trial["predicted_test_score"] is not None:
            interval = _describe_interval(trial["predicted_test_score_interval"])
            predicted = f"{trial['predicted_test_score']:.4f}{'?' * bool(trial['extrapolation'])}\n{interval}"
        measured = {"parameters": trial["n_parameters"], "latency": trial["latency_ms"]}
        cells = [
            *([str(trial["rank"])] if has_rank else []),
            str(trial["number"]),
            "\n".join(filter(None, [trial["model"], shorten(describe_params(trial["params"], "=", " ")), role])),
            format_number(trial["train_score"]),
            predicted,
            *([format_number(trial["probability_best"], ".2f")] if has_chance else []),
            *("" if measured[cost] is None else f"{measured[cost]:,.4g}" for cost in costs),
        ]
        table.add_row(*map(make_text, cells))
    return table


def _list_calibrator(story: Mapping[str, Any]) -> dict[str, str]:
    calibrator, calibration = story["calibrator"], story["calibration"]
    if calibrator is None:
        wanted = calibration["trials_wanted"]
        of = "" if wanted is None else f" of {wanted}"
        return {
            "none yet": f"it is fitted when the calibration trials have ended: {calibration['trials_complete']}{of}"
        }
    quality, choice = calibrator["cross_validated"], calibrator["estimator_choice"]
    source = f", the first of them from {calibration['artifact']}" if calibration["artifact"] else ""
    coverage = "not checked: it takes three trials"
    if quality["coverage"] is not None:
        coverage = (
            f"{quality['coverage']:.0%} of held-out rows inside, {calibrator['coverage']:.0%} asked for; "
            f"mean width {quality['interval_width']:.3f}"
        )
    return {
        "fitted on": f"{calibrator['n_rows']:,} epochs of {calibrator['n_groups']:,} networks{source}, "
        f"by {choice['name'].replace('_', ' ')}",
        "held-out error": f"{quality['mae']:.4f} of the predicted gap on average",
        "held-out order": "not defined"
        if quality["spearman"] is None
        else f"rank correlation {quality['spearman']:.2f} of predicted with measured test scores",
        "intervals": coverage,
        "flatness": describe_flatness_lift(calibrator["flatness_lift"]),
    }


def _describe_failed(groups: Sequence[Mapping[str, Any]]) -> Iterable[RenderableType]:
    for group in groups[:_MOST_REASONS]:
        yield make_text(f"{group['n']} with {shorten(group['reason'])}")
        again = "; tried again: " + join_numbers(list(map(int, group["retried"]))) if group["retried"] else ""
        yield _make_note(f"{_name_trials(group['trials'])}{again}")
    if len(groups) > _MOST_REASONS:
        yield make_text(f"and {len(groups) - _MOST_REASONS} reasons more", "dim")


def _name_trials(numbers: Sequence[int]) -> str:
    return f"trial{'s' if len(numbers) > 1 else ''} {join_numbers(numbers)}"


def _make_note(text: str) -> Padding:
    return Padding(make_text(text, "dim"), (0, 0, 0, 2), expand=False)


def _describe_audit(story: Mapping[str, Any]) -> Iterable[RenderableType]:
    audit, best = story["audit"], story["best"]
    pairs = {"audited": f"{audit['n']:,} trials"}
    if best is not None and (score := audit["scores"].get(str(best["trial"]["number"]))) is not None:
        is_predicted = best["trial"]["predicted_test_score"] is not None
        pairs["the best"] = f"{score:.4f}" + f", predicted {describe_score(best['trial'])}" * is_predicted
    if audit["n_predicted"]:
        pairs["predictions"] = (
            f"mean absolute error {audit['mean_absolute_error']:.4f}; {audit['n_inside_interval']:,} of "
            f"{audit['n_predicted']:,} intervals hold the audited score"
        )
    yield make_pairs(pairs)


def _describe_interval(interval: Sequence[float | None] | None) -> str:
    low, high = interval or (None, None)
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _format_value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _format_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
