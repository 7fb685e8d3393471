"""The table of trials."""

import dataclasses

from rich.console import Console

from flatselect.cli.output import format_with_half_width, make_trial_table
from flatselect.records import EpochMeasurement, Prediction, TrialRecord


def _make_trial(number, **values):
    measured = EpochMeasurement(3, 0.95, 0.1, 100, 10, relative_gap_flatness=0.000123)
    predicted = Prediction(0.1, (0.08, 0.14), 0.85, (0.81, 0.87))
    return TrialRecord(
        number,
        "COMPLETE",
        {"learning_rate": 0.0123456, "width_growth": 1.5},
        measurement=measured,
        prediction=predicted,
        model="cnn 2×3 inverted_residual w32 k5 leaky_relu group norm",
        **values,
    )


def _print(table, width):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


def test_ranked_trials_come_first_best_first():
    trials = [_make_trial(number) for number in range(5)]
    lines = _print(make_trial_table(trials, [4, 1, 3]), 160)
    assert [line.split()[:2] for line in lines if "COMPLETE" in line] == [
        ["1", "4"],
        ["2", "1"],
        ["3", "3"],
        ["0", "COMPLETE"],
        ["2", "COMPLETE"],
    ]


def test_trials_stay_in_their_order_without_a_ranking():
    lines = _print(make_trial_table([_make_trial(2), _make_trial(0)]), 160)
    assert [line.split()[0] for line in lines if "COMPLETE" in line] == ["2", "0"]
    assert "rank" not in lines[0] + lines[1] + lines[2]


def test_widest_table_keeps_every_number_in_80_columns():
    lines = _print(make_trial_table([_make_trial(123, audit_test_score=0.8, is_calibration=True)], [123]), 80)
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    assert {"1", "123", "COMPLETE", "0.9500", "0.000123", "0.100", "±0.030", "0.8500", "0.8000"} <= set(words)
    assert not any("…" in word for word in words)


def test_half_width_of_an_interval_that_is_not_symmetric():
    assert format_with_half_width(0.1, (0.08, 0.14)) == "0.100 ±0.030"


def _make_costly(number, n_parameters, latency=None, **values):
    trial = _make_trial(number, **values)
    companions = {} if latency is None else {"latency_ms": latency}
    measured = dataclasses.replace(trial.measurement, n_parameters=n_parameters, companions=companions)
    return dataclasses.replace(trial, measurement=measured)


def test_the_pareto_front_is_marked_with_its_costs():
    trials = [_make_costly(0, 12_345, 0.1234), _make_costly(1, 850, 12.3), _make_costly(2, 4_560_000, 0.5)]
    lines = _print(make_trial_table(trials, [2, 0, 1], [2, 1]), 160)
    assert [line.split()[:2] for line in lines if "COMPLETE" in line] == [["1*", "2"], ["2", "0"], ["3*", "1"]]
    text = " ".join(lines)
    for costs in (
        "12.3k parameters, 0.123 ms an image",
        "850 parameters, 12.3 ms an image",
        "4.56M parameters, 0.5 ms an",
    ):
        assert costs in text
    assert "Pareto front" in lines[-1]
    plain = _print(make_trial_table([_make_costly(0, 12_345)], [0]), 160)
    assert "parameters" not in "".join(plain)
    assert "Pareto" not in "".join(plain)


def test_the_widest_table_with_costs_keeps_every_number_in_80_columns():
    trial = _make_costly(123, 4_560_000, 12.3, audit_test_score=0.8, is_calibration=True)
    lines = _print(make_trial_table([trial], [123], [123]), 80)
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    assert {"1*", "123", "COMPLETE", "0.9500", "4.56M", "12.3", "0.8500", "0.8000"} <= set(words)
    assert not any("…" in word for word in words)


def test_a_retrained_trial_says_of_which():
    lines = _print(make_trial_table([_make_trial(9, retrains=4)]), 160)
    assert any("trial 4 again, on all images" in line for line in lines)
