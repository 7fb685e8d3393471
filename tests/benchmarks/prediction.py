"""E1: how well test scores are predicted of networks, environments and data sets never seen, on the zoo's table.

    python tests/benchmarks/prediction.py [--table studies/zoo/table.csv] [--estimator ensemble] [--rivals]

Environments (a data set, a number of images, noise; see studies/zoo) are held out whole, in ten folds and by data set,
and networks by value of a hyper-parameter. "within" is the mean rank correlation inside an environment, among networks
that one would choose from; "regret" what is lost by picking the first-ranked of it. "knowing four gaps" adds what the
true gaps of the four others say of a network's environment. --rivals adds the ranking by each measure alone and its
PGDL score, the conditional mutual information of Jiang et al. (2020), in per cent.
"""

import argparse
import itertools
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, spearmanr

from flatselect.calibration.features import AGREEMENT_FEATURES, FEATURE_NAMES, FLATNESS_FEATURES
from flatselect.calibration.gap_calibrator import GapCalibrator

sys.path.insert(0, str(Path(__file__).parents[2] / "studies" / "zoo"))
from table import TABLE, ZooNetwork, read_table

Array = npt.NDArray[np.float64]

_EXTRAS = ("augmentation", "mixup", "noise")
_HYPER_PARAMETERS = (
    "candidate_optimizer",
    "candidate_batch_size",
    "candidate_augmentation",
    "candidate_label_smoothing",
)


def _select(
    *, extras: bool = True, pixels: bool = True, unlabeled: bool = False, flatness: bool = True
) -> tuple[str, ...]:
    return tuple(
        name
        for name in FEATURE_NAMES
        if (extras or not any(extra in name for extra in _EXTRAS))
        and (pixels or "pixel_kernel" not in name)
        and (unlabeled or "unlabeled" not in name)
        and (flatness or name not in FLATNESS_FEATURES)
        and name not in AGREEMENT_FEATURES
    )


class Predicted(NamedTuple):
    """Predicted gaps, (n,), and whether their intervals hold the true ones, (n,)."""

    gaps: Array
    is_covered: npt.NDArray[np.bool_]


_OF_TRAINING = ("log_train_loss", "train_score", "train_score_power_8")
FEATURE_SETS = {
    "train score, loss": _OF_TRAINING,
    "train score, pixels": (*_OF_TRAINING, *(name for name in FEATURE_NAMES if "pixel_kernel" in name)),
    "one pass": _select(extras=False, pixels=False),
    "extras": _select(pixels=False),
    "pixels, no flatness": _select(flatness=False),
    "pixels": _select(),
    "pixels, unlabelled": _select(unlabeled=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--estimator", default="ensemble")
    parser.add_argument("--rivals", action="store_true")
    options = parser.parse_args()
    zoo = read_table(options.table)
    environments = np.array([network.environment for network in zoo])
    gaps = np.array([network.test_gap for network in zoo])
    scores = np.array([network.measurement.train_score for network in zoo])
    print(
        f"{len(zoo)} networks in {len(np.unique(environments))} environments; {np.mean(scores > 0.95):.0%} past 95 % "
        f"training accuracy; gaps {np.quantile(gaps, [0.05, 0.5, 0.95]).round(3)} (5 %, median, 95 %)"
    )
    schemes = {
        "environment": np.unique(environments, return_inverse=True)[1] % 10,
        "data set": _number([network.base for network in zoo]),
        **{name.removeprefix("candidate_"): _number([n.values[name] for n in zoo]) for name in _HYPER_PARAMETERS},
    }
    print(f"{'left out':16s} {'features':24s}   MAE  Spearman Kendall within regret coverage worst environment's MAE")
    tested = scores - gaps
    _print_quality("nothing", "train score", scores, tested, environments)
    of_bases = {
        base: np.array([network.base == base for network in zoo]) for base in sorted({network.base for network in zoo})
    }
    for base, own in of_bases.items():
        _print_quality(f"  {base}", "train score", scores[own], tested[own], environments[own])
    for left_out, folds in schemes.items():
        for name, features in FEATURE_SETS.items():
            # For data sets not seen, intervals are made as the shipped calibrator's are: by holding out data sets.
            clusters = [n.base for n in zoo] if left_out == "data set" else None
            predicted = _predict(zoo, features, folds, environments, options.estimator, clusters)
            _print_quality(left_out, name, scores - predicted.gaps, tested, environments, predicted.is_covered)
            if left_out == "data set":
                for base, own in of_bases.items():
                    of_base = tested[own], environments[own], predicted.is_covered[own]
                    _print_quality(f"  {base}", name, (scores - predicted.gaps)[own], *of_base)
            if left_out == "environment" and name in ("pixels", "pixels, unlabelled"):
                adjusted = predicted.gaps + _estimate_offsets(gaps - predicted.gaps, environments)
                _print_quality(left_out, "  knowing four gaps", scores - adjusted, tested, environments)
    if options.rivals:
        _print_rivals(zoo, tested, gaps, environments)


def _number(values: Sequence[object]) -> npt.NDArray[np.intp]:
    return np.unique([str(value) for value in values], return_inverse=True)[1]


def _predict(
    zoo: Sequence[ZooNetwork],
    names: Sequence[str],
    folds: npt.NDArray[np.intp],
    environments: npt.NDArray[np.intp],
    estimator: str,
    clusters: Sequence[str] | None = None,
) -> Predicted:
    """Gaps predicted without a row's fold."""
    rows = [network.to_row(tuple(names)) for network in zoo]
    X = np.array([[row.features[name] for name in names] for row in rows])
    y = np.array([row.test_gap for row in rows])
    predicted = Predicted(np.empty(len(y)), np.empty(len(y), dtype=bool))
    for fold in np.unique(folds):
        held = folds == fold
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = None if clusters is None else [c for c, is_held in zip(clusters, held, strict=True) if not is_held]
            calibrator = GapCalibrator(estimator=estimator)
            calibrator.fit(X[~held], y[~held], environments[~held], clusters=seen)
        predicted.gaps[held], intervals, _ = calibrator.predict_all(X[held])
        predicted.is_covered[held] = (intervals[:, 0] <= y[held]) & (y[held] <= intervals[:, 1])
    return predicted


def _estimate_offsets(errors: Array, environments: npt.NDArray[np.intp]) -> Array:
    """What a setting's own calibration trials would add: the mean error of the others of an environment, shrunk."""
    offsets = np.empty(len(errors))
    for index, environment in enumerate(environments):
        others = (environments == environment) & (np.arange(len(errors)) != index)
        offsets[index] = errors[others].sum() / (others.sum() + 1)
    return offsets


def _print_quality(
    left_out: str,
    name: str,
    predicted: Array,
    tested: Array,
    environments: npt.NDArray[np.intp],
    is_covered: npt.NDArray[np.bool_] | None = None,
) -> None:
    errors = np.abs(predicted - tested)
    groups = [environments == environment for environment in np.unique(environments)]
    within = np.nanmean([_correlate(predicted[group], tested[group]) for group in groups])
    regret = np.mean([tested[group].max() - tested[group][predicted[group].argmax()] for group in groups])
    worst = max(errors[group].mean() for group in groups)
    coverage = "" if is_covered is None else f"{is_covered.mean():.3f}"
    print(
        f"{left_out:16s} {name:24s} {errors.mean():.4f}   {spearmanr(predicted, tested).statistic:.3f}   "
        f"{kendalltau(predicted, tested).statistic:.3f}  {within:.3f}  {regret:.4f}  {coverage:6s}  {worst:.3f}"
    )


def _correlate(predicted: Array, tested: Array) -> float:
    if np.ptp(predicted) == 0 or np.ptp(tested) == 0:
        return float("nan")
    return float(spearmanr(predicted, tested).statistic)


def _print_rivals(zoo: Sequence[ZooNetwork], tested: Array, gaps: Array, environments: npt.NDArray[np.intp]) -> None:
    """Each measure alone: its rank correlation inside environments with test score and gap, and its PGDL score."""
    measures: dict[str, Callable[[ZooNetwork], float]] = {
        "training accuracy": lambda n: n.measurement.train_score,
        "training loss": lambda n: n.measurement.train_loss,
        "parameters": lambda n: n.measurement.n_parameters,
        "relative GAP flatness": lambda n: n.measurement.relative_gap_flatness or 0.0,
        "Hessian trace": lambda n: n.measurement.hessian_trace or 0.0,
        **{
            name: lambda n, name=name: n.measurement.companions.get(name, np.nan)
            for name in (
                *("temperature_flat_ratio", "mean_confidence", "margin_q10", "last_linear_flatness_normalized"),
                *("head_tic", "davies_bouldin", "augmentation_accuracy", "mixup_accuracy", "noise_accuracy"),
                *("sam_sharpness", "hessian_trace_of_all", "pyhessian_trace", "spectral_alpha", "weightwatcher_alpha"),
                *("unlabeled_confidence", "unlabeled_nuclear_norm", "unlabeled_agreement"),
            )
        },
    }
    print(f"\n{'measure alone':34s} within: test score   gap     PGDL score")
    for name, read in measures.items():
        values = np.array([float(read(network)) for network in zoo])
        if np.isnan(values).all():
            continue
        values = np.nan_to_num(values, nan=float(np.nanmean(values)))
        groups = [environments == environment for environment in np.unique(environments)]
        of_score, of_gap = (
            np.nanmean([_correlate(values[group], target[group]) for group in groups]) for target in (tested, gaps)
        )
        print(f"{name:34s}       {of_score:+.3f}     {of_gap:+.3f}      {100 * _score_pgdl(zoo, values, gaps):.1f}")


def _score_pgdl(zoo: Sequence[ZooNetwork], values: Array, gaps: Array) -> float:
    """min over sets S of at most two hyper-parameters of I(V_measure; V_gap | S) / H(V_gap | S).

    V is the sign of a difference between two networks of one environment; a pair's S is the values of both networks.
    """
    pairs = [
        (i, j)
        for i, j in itertools.permutations(range(len(zoo)), 2)
        if zoo[i].environment == zoo[j].environment and gaps[i] != gaps[j] and values[i] != values[j]
    ]
    least = np.inf
    for size in range(3):
        for chosen in itertools.combinations(_HYPER_PARAMETERS, size):
            counts: dict[object, Array] = {}
            for i, j in pairs:
                key = tuple((zoo[i].values[name], zoo[j].values[name]) for name in chosen)
                table = counts.setdefault(key, np.zeros((2, 2)))
                table[int(values[i] > values[j]), int(gaps[i] > gaps[j])] += 1
            information = entropy = 0.0
            for table in counts.values():
                share = table.sum() / len(pairs)
                joint = table / table.sum()
                rows, columns = joint.sum(1), joint.sum(0)
                independent = np.outer(rows, columns)
                some = joint > 0
                information += share * float((joint[some] * np.log(joint[some] / independent[some])).sum())
                entropy += share * float(-(columns[columns > 0] * np.log(columns[columns > 0])).sum())
            least = min(least, information / entropy if entropy > 0 else np.inf)
    return float(least)


if __name__ == "__main__":
    main()
