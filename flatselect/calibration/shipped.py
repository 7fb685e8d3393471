"""The calibrator that comes with the package, so that checkpoints can be ranked before there is one of one's own.

It is fitted on the networks of studies/zoo: small CNNs on digits, MNIST, Fashion-MNIST and CIFAR-10. On other images
its ranking may be worth something; its scores are a guess, and `Prediction.extrapolation` says where it has seen
nothing alike.
"""

import functools
import importlib.resources

from flatselect.calibration.gap_predictor import GapPredictor

FILE = "shipped_calibrator.json"


@functools.cache
def load_shipped_calibrator() -> GapPredictor:
    """The shipped calibrator, fitted once a process; a group of its rows is one setting of images (an environment)."""
    resource = importlib.resources.files("flatselect.calibration") / FILE
    with importlib.resources.as_file(resource) as path:
        return GapPredictor.load(path)
