"""What optuna-dashboard shows as the note of a study, and of each of its trials."""

from collections.abc import Mapping, Sequence

from flatselect.markdown import escape_markdown, make_markdown_table
from flatselect.records import TrialRecord
from flatselect.report.study_contents import StudyContents
from flatselect.report.study_page import find_warning, list_facts
from flatselect.search.trial_history import AttemptHistory, TrialHistory

_MOST_ROWS = 20
_REASON_LENGTH = 300
_HEADER = (
    *("rank", "trial", "network", "predicted test score", "interval", "predicted gap", "training score", "flatness"),
    "audited score",
)


def make_study_note(contents: StudyContents, ending: str) -> str:
    """What is known of the study, and its best trials; the ending says what becomes of the note."""
    facts = list_facts(contents)
    facts["as of"] = facts.pop("this page")
    parts = []
    if warning := find_warning(contents):
        parts.append(f"**{escape_markdown(warning)}**")
    parts.append("\n".join(f"- {name}: {escape_markdown(value)}" for name, value in facts.items()))
    if contents.ranked:
        parts += [_make_ranking(contents), _READING]
    parts.append(ending)
    return "\n\n".join(parts)


_READING = (
    "Predicted test score = training score − predicted test gap, by the latest calibrator: by this alone trials are "
    "ranked. The values beside the trials are what Optuna was told when each ended. A ? marks a trial unlike anything "
    "the calibrator was fitted on."
)
LIVE_ENDING = (
    "This note and the plots of flatselect are made as the page is looked at: save a note of your own, and it takes "
    "this one's place."
)
SAVED_ENDING = (
    "Saved by `flatselect dashboard --save`, with flatselect's plots: all stays as it is until that command is given "
    "again. A note that you change is yours, and is left alone."
)


def _make_ranking(contents: StudyContents) -> str:
    shown = contents.ranked[:_MOST_ROWS]
    rows = [_HEADER, *(_make_row(rank, trial) for rank, trial in enumerate(shown, 1))]
    if not contents.audited:
        rows = [row[:-1] for row in rows]
    table = make_markdown_table(rows[0], rows[1:], n_left=3)
    if len(shown) < len(contents.ranked):
        table += f"\n\nThe best {len(shown)} of {len(contents.ranked):,}."
    return table


def _make_row(rank: int, trial: TrialRecord) -> tuple[str, ...]:
    prediction, measured = trial.prediction, trial.measurement
    scores = ["–", "–", "–"]
    if prediction is not None:
        low, high = prediction.predicted_test_score_interval
        mark = "?" if prediction.extrapolation else ""
        scores = [
            f"{prediction.predicted_test_score:.4f}{mark}",
            f"{low:.3f} to {high:.3f}",
            _format(prediction.predicted_test_gap),
        ]
    return (
        str(rank),
        str(trial.number),
        escape_markdown(trial.model) + (", pruned" if trial.state == "PRUNED" else ""),
        *scores,
        _format(measured.train_score if measured else None),
        _format(measured.relative_gap_flatness if measured else None, ".4g"),
        _format(trial.audit_test_score),
    )


def make_trial_notes(contents: StudyContents, histories: Sequence[TrialHistory]) -> dict[int, str]:
    """By number, what became of each trial: what is predicted of it, its attempts, why it ended."""
    ranks = {number: rank for rank, number in enumerate(contents.ranking, 1)}
    return {history.number: _make_trial_note(contents, history, ranks) for history in histories}


def _make_trial_note(contents: StudyContents, history: TrialHistory, ranks: Mapping[int, int]) -> str:
    paragraphs = []
    if history.model:
        paragraphs.append(escape_markdown(history.model))
    if trial := contents.trials.get(history.number):
        paragraphs.append(_describe_scores(trial, ranks.get(trial.number), len(ranks)))
    paragraphs += _list_roles(history)
    if history.reason:
        paragraphs.append(escape_markdown(_shorten(history.reason)))
    paragraphs.append("\n".join(_describe_attempt(attempt) for attempt in history.attempts))
    return "\n\n".join(filter(None, paragraphs))


def _describe_scores(trial: TrialRecord, rank: int | None, n_ranked: int) -> str:
    said = [] if rank is None else [f"**rank {rank} of {n_ranked:,}**"]
    if prediction := trial.prediction:
        low, high = prediction.predicted_test_score_interval
        said.append(
            f"predicted test score {prediction.predicted_test_score:.4f}{'?' if prediction.extrapolation else ''} "
            f"({low:.3f} to {high:.3f}), predicted test gap {prediction.predicted_test_gap:.4f}"
        )
    if measured := trial.measurement:
        said.append(f"training score {measured.train_score:.4f}")
        if measured.holdout_score is not None:
            said.append(f"held-out score {measured.holdout_score:.4f}")
        if measured.relative_gap_flatness is not None:
            said.append(f"relative GAP flatness {measured.relative_gap_flatness:.4g}")
    if trial.audit_test_score is not None:
        said.append(f"audited score {trial.audit_test_score:.4f}")
    return "; ".join(said)


def _list_roles(history: TrialHistory) -> list[str]:
    roles = []
    if history.is_calibration:
        roles.append("A calibration trial: it held out a part of the images.")
    if history.retrains is not None:
        roles.append(f"Trial {history.retrains} again, on all images.")
    if history.retries is not None:
        roles.append(f"Trial {history.retries} tried again.")
    if history.retried_as is not None:
        roles.append(f"Tried again as trial {history.retried_as}.")
    return roles


def _describe_attempt(attempt: AttemptHistory) -> str:
    reason = f": {escape_markdown(_shorten(attempt.reason))}" if attempt.reason else ""
    epochs = f"{attempt.epochs} epoch{'' if attempt.epochs == 1 else 's'}"
    return (
        f"- attempt {attempt.attempt}, {epochs}, {attempt.seconds:.1f} s on {escape_markdown(attempt.run.host)}: "
        f"{attempt.outcome}{reason}"
    )


def _shorten(text: str) -> str:
    return text if len(text) <= _REASON_LENGTH else text[:_REASON_LENGTH] + " …"


def _format(value: float | None, form: str = ".4f") -> str:
    return "–" if value is None else format(value, form)
