"""scikit-learn's own checks of an estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from flatselect.calibration.estimators import ESTIMATOR_NAMES
from flatselect.calibration.gap_calibrator import GapCalibrator


# Not the ensemble: the class is the same, and some hundred fits of its trees take minutes.
@parametrize_with_checks([GapCalibrator(estimator=name) for name in ESTIMATOR_NAMES if name != "ensemble"])
def test_passes_scikit_learns_checks(estimator, check):
    check(estimator)
