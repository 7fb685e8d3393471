"""What a calibration says of each of its own rows when the row's group is held out."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flatselect.calibration.estimators import Array


class HeldOut(NamedTuple):
    """Predictions of the fitted rows, in their order, each without its fold.

    Attributes:
        groups: The group of each row.
        epochs: Its epoch, (n_rows,).
        gaps: Measured, (n_rows,).
        predicted: By a regressor tuned and fitted without the fold, (n_rows,).
        intervals: At the calibration's coverage, (n_rows, 2); None with fewer than three folds.
    """

    groups: tuple[str, ...]
    epochs: npt.NDArray[np.intp]
    gaps: Array
    predicted: Array
    intervals: Array | None

    def find_last_rows(self) -> npt.NDArray[np.bool_]:
        """Whether each row (n_rows,) is of its group's last epoch."""
        last = dict.fromkeys(self.groups, -1)
        for group, epoch in zip(self.groups, self.epochs.tolist(), strict=True):
            last[group] = max(last[group], epoch)
        return np.array([epoch == last[g] for g, epoch in zip(self.groups, self.epochs.tolist(), strict=True)])
