"""What pruning saves and what it loses: searches replayed on the recorded curves of a study whose trials all ended.

The trials come in a random order to a real Optuna study, report epoch by epoch one of three signals, and go on or stop
as a real pruner says. The signals are the predicted test score (with its interval; the first trials hold out a part,
calibrate, and are never pruned), the validation accuracy (on the part that each trial held out), and the training loss.
What a search picks is its best *finished* trial by its own signal, as only those have an audited score; it is held
against the pick of the same search unpruned. All curves come from networks trained without their held-out part, so what
a hold-out costs in training images is not charged to the pruners that use it.

    flatselect search studies/fashion_mnist.toml --trials 40 --seed 7 --set study.name=zoo --set study.sampler=random \\
        --set calibration.trials=40 --set pruner.name=none --storage sqlite:///zoo.db
    python tests/benchmarks/pruning.py zoo.db [--calibration-trials 8] [--seeds 40] [--given-calibrator]

`--given-calibrator`: the calibration trials are of an earlier study, and neither counted nor searched among.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import optuna

from flatselect.calibration.gap_predictor import GapPredictor, make_calibration_row
from flatselect.pruning import CALIBRATION_ATTRIBUTE, FlatnessPruner, _FinishedTrials
from flatselect.records import EpochMeasurement
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import find_study, list_studies

MakePruner = Callable[[], optuna.pruners.BasePruner]


@dataclass
class Curve:
    """What one trial would report after each of its epochs, and what it is ranked by if it ends."""

    values: list[float]
    intervals: list[tuple[float, float]] | None
    rank: float
    is_calibration: bool = False


@dataclass
class Outcome:
    """One replayed search.

    Attributes:
        n_epochs: Trained in all.
        picks: (epochs trained so far, number of the best finished trial so far), after each finished trial.
    """

    n_epochs: int
    picks: list[tuple[int, int]]


def replay(curves: dict[int, Curve], make_pruner: MakePruner, direction: str, name: str) -> Outcome:
    """A search that meets the trials in this order."""
    # Hyperband deals out its brackets by the study's name.
    study = optuna.create_study(study_name=name, direction=direction, pruner=make_pruner())
    sign = -1 if direction == "minimize" else 1
    n_calibration = sum(curve.is_calibration for curve in curves.values())
    n_epochs, picks, finished = 0, [], set()
    for seen, (number, curve) in enumerate(curves.items(), 1):
        trial = study.ask()
        trial.set_user_attr(CALIBRATION_ATTRIBUTE, curve.is_calibration)
        for epoch, value in enumerate(curve.values, 1):
            n_epochs += 1
            if curve.intervals is not None:
                trial.set_user_attr("flatselect:predicted_test_score_interval", curve.intervals[epoch - 1])
            trial.report(value, epoch)
            if epoch < len(curve.values) and not curve.is_calibration and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, curve.values[-1])
            finished.add(number)
        if finished and seen >= n_calibration:
            picks.append((n_epochs, max(finished, key=lambda n: sign * curves[n].rank)))
    return Outcome(n_epochs, picks)


def predict_curves(
    order: Sequence[int], measured: dict[int, list[EpochMeasurement]], n_calibration: int
) -> dict[int, Curve]:
    """The predicted test scores: a calibration trial reports its held-out score, and is ranked without its own rows."""
    rows = {n: [make_calibration_row(str(n), m) for m in measured[n]] for n in order[:n_calibration]}
    predictor = GapPredictor.fit([row for number in sorted(rows) for row in rows[number]])
    curves = {}
    for number in order:
        if number in rows:
            held_out = [float(m.holdout_score or 0) for m in measured[number]]
            rank = predictor.without(str(number)).predict(measured[number][-1]).predicted_test_score
            curves[number] = Curve(held_out, None, rank, is_calibration=True)
        else:
            said = [predictor.predict(m) for m in measured[number]]
            values = [prediction.predicted_test_score for prediction in said]
            curves[number] = Curve(values, [p.predicted_test_score_interval for p in said], values[-1])
    return curves


def read_curves(order: Sequence[int], measured: dict[int, list[EpochMeasurement]], column: str) -> dict[int, Curve]:
    values = {number: [float(getattr(m, column)) for m in measured[number]] for number in order}
    return {number: Curve(values[number], None, values[number][-1]) for number in order}


def find_bound_coverage(curves: dict[int, Curve]) -> float:
    """How often, of all epochs of all trials but the calibration's, a trial ended under the bound it had there."""
    study = optuna.create_study(direction="maximize")
    for curve in curves.values():
        study.add_trial(
            optuna.trial.create_trial(value=curve.values[-1], intermediate_values=dict(enumerate(curve.values, 1)))
        )
    pruner, trials, is_under = FlatnessPruner(), study.get_trials(deepcopy=False), []
    finished = _FinishedTrials.none(study.directions, 0)
    for index, curve in enumerate(curves.values()):
        if curve.intervals is None:
            continue
        finished = finished.take_in(trials[:index])
        for epoch in range(1, len(curve.values)):
            unsure = (curve.intervals[epoch - 1][1] - curve.values[epoch - 1]) / 1.645
            bound = pruner._find_bound(finished, dict(enumerate(curve.values[:epoch], 1)), epoch, 1, unsure)
            is_under += [bound is not None and curve.values[-1] <= bound]
    return float(np.mean(is_under))


def describe(values: Sequence[float]) -> str:
    return f"{np.mean(values):7.3f} ±{1.96 * np.std(values, ddof=1) / len(values) ** 0.5:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("--calibration-trials", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--given-calibrator", action="store_true")
    parser.add_argument("--tolerance", type=float, default=0.005, help="test accuracies this close are the same")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    engine = make_engine(f"sqlite:///{options.database}", create=False)
    (study,) = list_studies(engine)
    with closing(find_study(engine, study.name)) as reader:
        measured = reader.measurements()
        audits = reader.audits()
    numbers = sorted(number for number in audits if measured[number][-1].holdout_score is not None)
    most = max(len(measured[number]) for number in numbers)
    print(f"{study.name}: {len(numbers)} trials of up to {most} epochs, {options.seeds} orders")

    pruners: dict[str, MakePruner] = {
        "none": optuna.pruners.NopPruner,
        "FlatnessPruner": FlatnessPruner,
        "Median": optuna.pruners.MedianPruner,
        "ASHA": optuna.pruners.SuccessiveHalvingPruner,
        "ASHA, factor 3": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "Hyperband": lambda: optuna.pruners.HyperbandPruner(max_resource=most),
    }
    directions = {"predicted": "maximize", "validation": "maximize", "training loss": "minimize"}
    results: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    coverages = []
    for seed in range(options.seeds):
        order = [int(number) for number in np.random.default_rng(seed).permutation(numbers)]
        predicted = predict_curves(order, measured, options.calibration_trials)
        coverages.append(find_bound_coverage(predicted))
        if options.given_calibrator:
            order = order[options.calibration_trials :]
            predicted = {number: predicted[number] for number in order}
        signals = {
            "predicted": predicted,
            "validation": read_curves(order, measured, "holdout_score"),
            "training loss": read_curves(order, measured, "train_loss"),
        }
        total = sum(len(measured[number]) for number in order)
        for signal, curves in signals.items():
            for name, make_pruner in pruners.items():
                outcome = replay(curves, make_pruner, directions[signal], f"order {seed}")
                picked = audits[outcome.picks[-1][1]]
                if name == "none":
                    target = picked
                reached = [n for n, pick in outcome.picks if audits[pick] >= target - options.tolerance]
                results.setdefault((signal, name), []).append(
                    (outcome.n_epochs / total, min([*reached, total]) / total, picked, target - picked)
                )

    print(f"{'signal':14}{'pruner':16}{'epochs':>14}{'until as good':>15}{'test score':>15}{'loss':>15}")
    for (signal, name), rows in results.items():
        print(f"{signal:14}{name:16}" + " ".join(f"{describe(column):>14}" for column in zip(*rows, strict=True)))
    print(f"under their bound ended {describe(coverages)} of the trials' epochs (confidence 0.7)")


if __name__ == "__main__":
    main()
