"""What a user reads while a search runs."""

import io

import pytest
from rich.console import Console

from flatselect.cli import progress, step_progress
from flatselect.cli.progress import LiveProgress, PlainProgress, describe_status, format_seconds
from flatselect.cli.step_progress import StepProgress
from flatselect.records import Prediction
from flatselect.search.events import SearchStatus


def test_a_line_tells_where_the_search_stands() -> None:
    status = SearchStatus(16, phase="searching")
    assert describe_status(status) == "0/16 trials (0 pruned, 0 failed)"
    status.n_done, status.n_pruned, status.n_failed = 3, 2, 1
    status.running = {6: 4, 7: 0}
    status.n_epochs_run, status.seconds, status.epochs_left = 50, 20.0, 100.0
    status.best = 2, Prediction(0.03, (0.01, 0.05), 0.951, (0.931, 0.971), False)
    assert describe_status(status) == (
        "6/16 trials (2 pruned, 1 failed), running 6 (epoch 4), 7 (epoch 0), best 0.9510 [0.9310, 0.9710] trial 2, "
        "2.50 epochs/s, about 40 s left"
    )
    status.running = dict.fromkeys(range(64), 1)
    assert "(2 pruned, 1 failed), 64 running, best" in describe_status(status)
    status.phase, status.n_audited, status.n_to_audit = "auditing", 2, 5
    assert describe_status(status) == "auditing 2/5"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_plain_lines_come_with_events_and_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with PlainProgress("digits") as lines:
        for clock[0] in (101.0, 105.0, 111.0, 112.0, 121.5):
            lines.show(SearchStatus(16, phase="searching"))
        lines.say("trial 3: done")
    assert capsys.readouterr().err.splitlines() == [
        *["digits: 0/16 trials (0 pruned, 0 failed)"] * 2,
        "digits: trial 3: done",
    ]


def test_a_terminal_gets_one_live_line_below_the_events() -> None:
    terminal = io.StringIO()
    with LiveProgress(Console(file=terminal, force_terminal=True, width=100), "digits") as line:
        line.show(SearchStatus(16, phase="searching"))
        line.say("trial 3: pruned, [bold] is no markup")
        line.say("trial 4: failed, \x1b]0;title\x07")
    text = terminal.getvalue()
    assert "digits: 0/16 trials (0 pruned, 0 failed)" in text
    assert "trial 3: pruned, [bold] is no markup" in text
    assert r"trial 4: failed, \x1b]0;title\x07" in text


def test_steps_are_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(step_progress.time, "monotonic", lambda: clock[0])
    with StepProgress("measuring", "batches", 4) as progress:
        seen = []
        for number in progress.track(range(4)):
            seen.append(number)
            clock[0] += 6.0
        progress.show(5, 9)
        clock[0] += 10.0
        progress.show(6, 9)
    assert seen == [0, 1, 2, 3]
    assert capsys.readouterr().err.splitlines() == [
        "measuring: 2/4 batches",
        "measuring: 4/4 batches",
        "measuring: 6/9 batches",
    ]


def test_steps_are_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(step_progress, "Console", lambda stderr: Console(file=terminal, force_terminal=True, width=100))
    with StepProgress("measuring", "batches", 4) as progress:
        assert list(progress.track("abcd")) == list("abcd")
    assert "4/4" in terminal.getvalue()
