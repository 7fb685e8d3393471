"""What each pruned trial would have needed, and what giving trials up has saved."""

import re
from dataclasses import dataclass

from flatselect.records import TrialRecord
from flatselect.report.chart import Absence, Axis, Chart, Color, Series
from flatselect.report.study_contents import StudyContents

_NUMBER = r"(-?[\d.]+(?:e[-+]?\d+)?)"
# The words of `FlatnessPruner.explain`, of this version and of earlier ones.
_REASON = re.compile(rf"epoch (\d+): upper bound {_NUMBER}(?: of its predicted final value)? < {_NUMBER}\b")
_MOST_ROWS = 40
STATE_NAMES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


@dataclass(frozen=True)
class PrunedTrial:
    """A trial that was given up.

    Attributes:
        trial: It.
        epoch: The last it trained.
        planned_epochs: Those it was to train.
        reason: The pruner's words; "" where it left none, as Optuna's own pruners do.
        bound: The upper bound of its predicted final value; None where the words hold none.
        needed: What that fell short of; alike.
    """

    trial: TrialRecord
    epoch: int
    planned_epochs: int
    reason: str
    bound: float | None
    needed: float | None

    @property
    def saved_seconds(self) -> float:
        """By the trial's own mean seconds an epoch."""
        return (self.planned_epochs - self.epoch) * self.trial.seconds / self.epoch if self.epoch else 0.0


@dataclass(frozen=True)
class Cost:
    """What a study took and did not take.

    Attributes:
        epochs: Trained, in all trials.
        seconds: Spent on them by workers, measuring included.
        gpus_per_trial: GPUs, or a part of one, that each held; None where the study left it to what there was.
        saved_epochs: Of pruned trials, the epochs that they were not trained for.
        saved_seconds: The time these would have taken, by each trial's own mean.
    """

    epochs: int
    seconds: float
    gpus_per_trial: float | None
    saved_epochs: int
    saved_seconds: float

    @property
    def saved_share(self) -> float:
        """Of the epochs without pruning, those that it saved."""
        return self.saved_epochs / (self.epochs + self.saved_epochs) if self.saved_epochs else 0.0


def list_pruned(contents: StudyContents) -> list[PrunedTrial]:
    """The pruned trials, by number."""
    found = []
    for trial in contents.trials.values():
        if trial.state != "PRUNED":
            continue
        attempt = contents.attempts.get(trial.number)
        reason = (attempt.pruned_because if attempt else None) or ""
        read = _REASON.search(reason)
        bound, needed = (float(read[2]), float(read[3])) if read else (None, None)
        planned = max(trial.epochs, contents.planned_epochs(trial.number))
        found.append(PrunedTrial(trial, trial.epochs, planned, reason, bound, needed))
    return found


def compute_cost(contents: StudyContents) -> Cost:
    pruned = list_pruned(contents)
    config = contents.runs[-1].config if contents.runs else contents.config
    gpus = config.get("ray", {}).get("gpus_per_trial")
    return Cost(
        epochs=sum(trial.epochs for trial in contents.trials.values()),
        seconds=sum(trial.seconds for trial in contents.trials.values()),
        gpus_per_trial=None if gpus is None else float(gpus),
        saved_epochs=sum(one.planned_epochs - one.epoch for one in pruned),
        saved_seconds=sum(one.saved_seconds for one in pruned),
    )


def make_pruned_chart(contents: StudyContents) -> Chart | Absence:
    """The upper bound at which each pruned trial was given up, and what it fell short of."""
    kind, title = "pruned", "What pruned trials would have needed"
    pruned = list_pruned(contents)
    if not pruned:
        name = contents.config.get("pruner", {}).get("name", "flatness")
        why = "The study prunes none (pruner.name = none)." if name == "none" else "No trial was pruned."
        return Absence(kind, title, why)
    explained = [(one, one.bound, one.needed) for one in pruned if one.bound is not None and one.needed is not None]
    if not explained:
        return Absence(kind, title, "The pruner left no bounds: only the flatness pruner says what was needed.")
    explained.sort(key=lambda found: found[2] - found[1])
    shown = explained[:_MOST_ROWS]
    rows = list(range(1, len(shown) + 1))
    names = [f"trial {one.trial.number}, epoch {one.epoch}" for one, _, _ in shown]
    left_out = f"The {len(shown)} of {len(explained):,} that came closest. " if len(shown) < len(explained) else ""
    return Chart(
        kind,
        title,
        Axis("test score"),
        Axis("", labels=tuple(names), from_top=True),
        (
            Series("upper bound of the final score", [b for _, b, _ in shown], rows, color="orange", texts=names),
            Series("needed", [needed for _, _, needed in shown], rows, "ticks", "green", texts=names),
        ),
        caption=f"{left_out}Those that came closest first. The bound is of the score that the trial was predicted to "
        "end with.",
        n_rows=len(shown),
    )


def make_cost_chart(contents: StudyContents) -> Chart | Absence:
    """Epochs trained by what became of the trial, and those that pruning saved."""
    kind, title = "cost", "Epochs trained and saved"
    by_state = {
        name: sum(trial.epochs for trial in contents.trials.values() if trial.state == state)
        for state, name in STATE_NAMES.items()
        if contents.count(state)
    }
    if not any(by_state.values()):
        return Absence(kind, title, "No epoch is trained yet.")
    saved = {"pruned": compute_cost(contents).saved_epochs}
    rows = list(range(1, len(by_state) + 1))
    bars: list[tuple[str, list[int], Color]] = [
        ("trained", list(by_state.values()), "blue"),
        ("saved", [saved.get(name, 0) for name in by_state], "grey"),
    ]
    return Chart(
        kind,
        title,
        Axis("epochs"),
        Axis("", labels=tuple(by_state), from_top=True),
        tuple(Series(name, values, rows, "bars", color) for name, values, color in bars if any(values)),
        n_rows=len(by_state),
    )
