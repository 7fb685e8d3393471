"""scikit-learn's own checks of an estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from flatselect.calibration.estimators import ESTIMATOR_NAMES
from flatselect.calibration.gap_calibrator import GapCalibrator


@parametrize_with_checks([GapCalibrator(estimator=name) for name in ESTIMATOR_NAMES])
def test_passes_scikit_learns_checks(estimator, check):
    check(estimator)
