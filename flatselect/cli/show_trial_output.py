"""A trial's story for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from flatselect.cli.next_steps import Step
from flatselect.cli.output import EXTRAPOLATION_HINT, format_number, make_pairs, make_table, make_text
from flatselect.cli.progress import format_seconds
from flatselect.cli.show_output import describe_params, describe_score, format_size, print_section, print_steps, shorten
from flatselect.report.chart import thin

_MOST_EPOCHS = 12
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 40


def print_trial(console: Console, story: Mapping[str, Any], steps: Sequence[Step]) -> None:
    """Prints the story that `tell_trial` made, with its attempts, and what to do next."""
    trial, standing = story["trial"], story["standing"]
    place = f", rank {standing['rank']} of {standing['n_ranked']}" if standing["rank"] is not None else ""
    console.print(make_text(f"{story['study']}, trial {trial['number']}: {trial['state']}{place}", "bold"))
    print_section(console, "Candidate", make_pairs(_list_candidate(story)))
    if pairs := _list_outcome(story):
        print_section(console, "What became of it", make_pairs(pairs))
    if story["curve"]:
        print_section(console, "Curve", *_draw_curve(story))
    if story["attempts"][0]["attempt"] is not None:
        print_section(console, "Attempts")
        for attempt in story["attempts"]:
            _print_attempt(console, attempt)
    if story["audit_test_score"] is not None:
        pairs = {"audited score": f"{story['audit_test_score']:.4f}"}
        print_section(console, "Audit (looked at after every decision, used by none)", make_pairs(pairs))
    print_steps(console, steps)


def _list_candidate(story: Mapping[str, Any]) -> dict[str, str]:
    trial, candidate = story["trial"], story["candidate"] or {}
    pairs = {"network": trial.get("model") or "not known"}
    if trial.get("n_parameters") is not None:
        pairs["network"] += f", {trial['n_parameters']:,} parameters"
    pairs["suggested"] = describe_params(trial["params"]) or "nothing: the study varies nothing"
    fixed = {
        name: value
        for name, value in {**candidate.get("model_args", {}), **candidate.get("training", {})}.items()
        if name not in trial["params"] and value is not None
    }
    if fixed:
        pairs["not varied"] = describe_params(fixed)
    roles = [
        "it held out a part of the images, for the calibration" if trial.get("is_calibration") else "",
        f"trial {trial['retrains']} again, on all images" if trial.get("retrains") is not None else "",
        f"trial {trial['retries']}, which failed, tried again" if trial.get("retries") is not None else "",
        f"tried again as trial {story['retried_as']}" if story["retried_as"] is not None else "",
        f"trained again on all images as trial {story['retrained_as']}" if story["retrained_as"] is not None else "",
    ]
    if any(roles):
        pairs["role"] = "; ".join(filter(None, roles))
    return pairs


def _list_outcome(story: Mapping[str, Any]) -> dict[str, str]:
    trial, standing, pairs = story["trial"], story["standing"], {}
    if trial.get("epochs"):
        pairs["trained"] = f"{trial['epochs']} of {story['planned_epochs']} epochs, {format_seconds(trial['seconds'])}"
    if trial.get("train_score") is not None:
        pairs["training score"] = f"{trial['train_score']:.4f}, loss {_format(trial['train_loss'])}"
        if trial["holdout_score"] is not None:
            gap = trial["train_score"] - trial["holdout_score"]
            pairs["held-out score"] = f"{trial['holdout_score']:.4f}, a test gap of {gap:.4f} as measured"
    if trial.get("relative_gap_flatness") is not None:
        error = trial["flatness_standard_error"]
        pairs["flatness"] = f"{trial['relative_gap_flatness']:#.4g}" + (f" ± {error:#.2g}" if error else "")
        pairs["flatness"] += f" of {trial['layer']} ({str(trial['exactness']).replace('_', '-')})"
    if trial.get("predicted_test_score") is not None:
        low, high = trial["predicted_test_gap_interval"]
        pairs["predicted"] = (
            f"test score {describe_score(trial)}, a test gap of {trial['predicted_test_gap']:.4f} ({_format(low)} to "
            f"{_format(high)})"
        )
        if trial["extrapolation"]:
            pairs["predicted"] += f"\n{EXTRAPOLATION_HINT}"
    pairs |= _list_reasons(story)
    pairs["place"] = _describe_place(standing)
    if comparison := _describe_comparison(standing):
        pairs["beside the best"] = comparison
    if story["checkpoint"] is not None:
        pairs["checkpoint"] = _describe_checkpoint(story["checkpoint"])
    return pairs


def _list_reasons(story: Mapping[str, Any]) -> dict[str, str]:
    trial, pruned = story["trial"], story["pruned"]
    if trial["state"] == "FAIL":
        return {"failed because": shorten(trial["failure"] or story["reason"] or "no reason is known")}
    if pruned is not None:
        pairs = {"pruned because": pruned["reason"] or "the pruner left no words"}
        if pruned["short_by"] is not None:
            pairs["needed"] = (
                f"an upper bound of at least {pruned['needed']:.4g} for its final score; it was "
                f"{pruned['bound']:.4g}, {pruned['short_by']:.2g} short"
            )
        n_saved = pruned["planned_epochs"] - pruned["epoch"]
        pairs["saved"] = f"{n_saved} epochs, about {format_seconds(pruned['saved_seconds'])}"
        return pairs
    return {"state": story["reason"]} if story["reason"] else {}


def _describe_place(standing: Mapping[str, Any]) -> str:
    if standing["rank"] is None:
        return f"not ranked: {standing['unranked_because']}"
    chance = standing["probability_best"]
    sure = "" if chance is None or standing["n_ranked"] < 2 else f", the best of all with a probability of {chance:.2g}"
    front = ", on the Pareto front" if standing["is_on_pareto_front"] else ""
    lines = [f"{standing['rank']} of {standing['n_ranked']}{front}{sure}"]
    for other in standing["neighbours"]:
        score = describe_score(other) if other["predicted_test_score"] is not None else _format(other["train_score"])
        lines.append(f"{other['rank']}: trial {other['number']}, {score}")
    return "\n".join(lines)


def _describe_comparison(standing: Mapping[str, Any]) -> str:
    best = standing.get("best")
    if best is None or best["behind_by"] is None:
        return ""
    better = ""
    if best["probability_better"] is not None:
        better = f"; the better of the two with a probability of {best['probability_better']:.2g}"
    return f"{best['behind_by']:.4f} behind trial {best['number']} ({describe_score(best)}){better}"


def _describe_checkpoint(checkpoint: Mapping[str, Any]) -> str:
    size, found = checkpoint["bytes"], checkpoint["found_bytes"]
    state = format_size(size)
    if checkpoint["deleted_at"]:
        state += f"; deleted {checkpoint['deleted_at'][:16].replace('T', ' ')} UTC, as it was not among the best"
    elif checkpoint["error"]:
        state += f"; it cannot be looked at: {checkpoint['error']}"
    elif found is None:
        state += "; the file is gone"
    elif found != size:
        state += f"; the file has changed, to {format_size(found)}"
    return f"{checkpoint['path']}\nafter epoch {checkpoint['epoch']}, {state}"


def _draw_curve(story: Mapping[str, Any]) -> list[Table | Any]:
    curve = story["curve"]
    shown = [curve[index] for index in thin(len(curve), _MOST_EPOCHS)]
    has_holdout = any(epoch["holdout_score"] is not None for epoch in curve)
    held_out = ["held-out\nscore"] if has_holdout else []
    names = ["epoch", "train\nloss", "train\nscore", *held_out, "flatness", "predicted\ntest score", "seconds"]
    table = make_table([], None, names)
    for epoch in shown:
        predicted = ""
        if epoch["predicted_test_score"] is not None and epoch["predicted_test_score_interval"] is not None:
            low, high = epoch["predicted_test_score_interval"]
            mark = "?" * bool(epoch["extrapolation"])
            predicted = f"{epoch['predicted_test_score']:.4f}{mark} ±{(high - low) / 2:.3f}"
        cells = [
            str(epoch["epoch"]),
            _format(epoch["train_loss"]),
            _format(epoch["train_score"]),
            *([_format(epoch["holdout_score"])] if has_holdout else []),
            format_number(epoch["relative_gap_flatness"], "#.3g"),
            predicted,
            f"{epoch['seconds']:.1f}",
        ]
        table.add_row(*map(make_text, cells))
    parts: list[Any] = [table]
    if len(shown) < len(curve):
        parts.append(make_text(f"{len(shown)} of {len(curve)} epochs, evenly", "dim"))
    sparks = {
        "train score": [epoch["train_score"] for epoch in curve],
        "flatness": [epoch["relative_gap_flatness"] for epoch in curve],
        "predicted": [epoch["predicted_test_score"] for epoch in curve],
    }
    drawn = {name: spark for name, values in sparks.items() if (spark := draw_spark(values))}
    return [*parts, make_pairs(drawn)] if drawn else parts


def draw_spark(values: Sequence[float | None]) -> str:
    """Heights from the least to the greatest value, at most 40 of them, evenly; "" where fewer than three are known."""
    shown = [values[index] for index in thin(len(values), _SPARK_WIDTH)]
    known = [value for value in shown if value is not None]
    if len(known) < 3:
        return ""
    low, high = min(known), max(known)
    scale = (len(_SPARKS) - 1) / (high - low) if high > low else 0.0
    bars = "".join(" " if value is None else _SPARKS[round((value - low) * scale)] for value in shown)
    return f"{bars}  {low:.4g} to {high:.4g}"


def _print_attempt(console: Console, attempt: Mapping[str, Any]) -> None:
    head = (
        f"{attempt['attempt']}: {attempt['outcome']}, {attempt['epochs']} epochs, {attempt['started_at']}, "
        f"{format_seconds(attempt['seconds'])}, driven by process {attempt['pid']} on {attempt['host']} "
        f"({attempt['backend']})"
    )
    console.print(Padding(make_text(head), (0, 0, 0, 2), expand=False))
    for text in filter(None, (attempt["reason"], attempt["traceback"])):
        console.print(Padding(make_text(text.rstrip()), (0, 0, 0, 4), expand=False))


def _format(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
