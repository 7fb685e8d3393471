"""What the flatness columns add to a calibration: the same without them, group by group."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

from flatselect.calibration.estimators import Array

# Errors that differ by less differ by rounding.
_SAME_ERROR = 1e-12


@dataclass(frozen=True)
class FlatnessLift:
    """Held-out mean absolute errors with and without the flatness columns; every group counts the same.

    Attributes:
        mae: With all columns.
        mae_without_flatness: By the same regressor without the flatness columns.
        lift: Their difference; positive where flatness helps.
        p_value: Of Wilcoxon's signed-rank test against "flatness does not lower the groups' errors" (one-sided); None
            where no group's error differs. The groups share the rows they are predicted from, so it is approximate.
        n_groups: Groups compared.
    """

    mae: float
    mae_without_flatness: float
    lift: float
    p_value: float | None
    n_groups: int


def compare_errors(errors: Array, errors_without: Array) -> FlatnessLift:
    """Compares the groups' mean absolute errors (n_groups,) with and without flatness."""
    differences = errors_without - errors
    differences = differences[np.abs(differences) > _SAME_ERROR]
    return FlatnessLift(
        mae=float(errors.mean()),
        mae_without_flatness=float(errors_without.mean()),
        lift=float(errors_without.mean() - errors.mean()),
        p_value=float(wilcoxon(differences, alternative="greater").pvalue) if len(differences) else None,
        n_groups=len(errors),
    )
