"""What `tests/benchmarks/pruning.py` counts of the pruner's bounds, which it asks the pruner itself for."""

from pathlib import Path

import pytest


def test_a_trial_is_under_its_bound_where_it_went_on_as_the_others_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent / "benchmarks")
    import pruning

    def make_curve(first: float, gain: float, interval: float | None) -> pruning.Curve:
        values = [first, first + gain / 2, first + gain]
        intervals = None if interval is None else [(value - interval, value + interval) for value in values]
        return pruning.Curve(values, intervals, values[-1])

    calibrating = {number: make_curve(0.1 * number, 0.1, None) for number in range(5)}
    # As the others: the bound is above by what it is unsure of. Nobody gained four times as much.
    assert pruning.find_bound_coverage(calibrating | {5: make_curve(0.25, 0.1, 0.01)}) == 1
    assert pruning.find_bound_coverage(calibrating | {5: make_curve(0.25, 0.4, 0.01)}) == 0
    both = {5: make_curve(0.25, 0.1, 0.01), 6: make_curve(0.25, 0.4, 0.01)}
    assert pruning.find_bound_coverage(calibrating | both) == 0.5
