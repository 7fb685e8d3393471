"""What to do next with a study or a trial: commands that can be pasted as they stand."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flatselect.store.engine import hide_password


class Step(NamedTuple):
    """A command, and what it is good for."""

    command: str
    purpose: str


class Address(NamedTuple):
    """How a user calls a study."""

    study: str
    storage: str | None

    def call(self, verb: str, *words: object) -> str:
        """`flatselect VERB STUDY ...`, as a shell takes it; a password is left out."""
        storage = [] if self.storage is None else ["--storage", hide_password(self.storage)]
        return shlex.join(["flatselect", verb, hide_password(self.study), *map(str, words), *storage])

    def search(self, *words: object) -> str:
        """`flatselect search` of the study's file, which is found beside the database or has to be filled in."""
        file = Path(self.study if self.study.endswith(".toml") else f"{self.study.removesuffix('.db')}.toml")
        found = next((path for path in (file, Path("studies", file)) if path.exists()), None)
        return Address(str(found or "STUDY.toml"), self.storage).call("search", *words)


def list_study_steps(story: Mapping[str, Any], address: Address) -> list[Step]:
    """What to do with a study as it stands."""
    trials, search, best = story["trials"], story["search"], story["best"]
    is_running = search["state"] == "running"
    is_unfinished = not is_running and (search["state"] != "complete" or trials["running"] or trials["waiting"])
    steps = []
    if is_running:
        steps.append(Step(address.call("watch"), "look on"))
    elif is_unfinished:
        steps.append(Step(address.search(), "go on where it stopped" if trials["begun"] else "run it"))
    if best is not None:
        is_one = story["pareto_front"] is None
        steps.append(
            Step(address.call("show", "best"), f"all of the {'best trial' if is_one else 'first of the front'}")
        )
        steps.append(Step(address.call("export", "--trial", "best", "-o", "best.pt"), "its weights in a file"))
        if not is_running:
            steps += _improve(story, address)
    if any(len(group["retried"]) < group["n"] for group in story["failed"]):
        steps.append(Step(address.call("trials", "retry", "failed"), "have the next search try failed trials again"))
    if trials["begun"]:
        steps.append(Step(address.call("report", "-o", "report.html"), "all of this as a page, with charts"))
    return steps


def _improve(story: Mapping[str, Any], address: Address) -> list[Step]:
    steps, best, trials = [], story["best"], story["trials"]
    first, not_told_apart = best["trial"], best["not_told_apart"]
    if (first["is_calibration"] or first["state"] == "PRUNED") and first["retrains"] is None:
        why = "held out images" if first["is_calibration"] else "was pruned"
        steps.append(Step(address.search("--set", "study.retrain_top=1"), f"train the best on all images: it {why}"))
    if story["pareto_front"] is None and 0 < len(not_told_apart) < best["n_predicted"] - 1:
        low = first["predicted_test_score_interval"][0]
        words = ("--where", f"predicted_test_score >= {low:.4f}", "--sort", "-predicted_test_score")
        steps.append(Step(address.call("query", *words), "those that may be as good"))
    more = trials["wanted"] + max(4, trials["wanted"] // 2)
    steps.append(Step(address.search("--trials", more), f"{more - trials['wanted']} trials more"))
    return steps


def list_trial_steps(story: Mapping[str, Any], address: Address) -> list[Step]:
    """What to do with a trial as it stands."""
    trial, checkpoint, standing = story["trial"], story["checkpoint"], story["standing"]
    number, state = trial["number"], trial["state"]
    steps = []
    if state == "FAIL" and story["retried_as"] is None:
        steps.append(Step(address.call("trials", "retry", number), "have the next search try it again"))
    if story["retried_as"] is not None:
        steps.append(Step(address.call("show", story["retried_as"]), "the trial that tries it again"))
    if state == "RUNNING":
        steps.append(Step(address.call("watch"), "look on, if a search runs it"))
    if checkpoint and checkpoint["found_bytes"] is not None:
        purpose = f"its weights after {checkpoint['epoch']} epochs in a file"
        steps.append(Step(address.call("export", "--trial", number, "-o", f"trial-{number}.pt"), purpose))
    if story["curve"]:
        words = ("--epochs", "--where", f"trial = {number}", "--csv")
        steps.append(Step(address.call("query", *words), "its curve, for other programs"))
    if standing.get("best") and standing["rank"] != 1:
        steps.append(Step(address.call("show", "best"), "the trial that is ranked first"))
    return steps
