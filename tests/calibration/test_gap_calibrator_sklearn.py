"""scikit-learn's own checks of an estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from flatselect.calibration.gap_calibrator import GapCalibrator


@parametrize_with_checks([GapCalibrator(), GapCalibrator(estimator="gaussian_process")])
def test_passes_scikit_learns_checks(estimator, check):
    check(estimator)
