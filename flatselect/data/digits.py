"""scikit-learn's digits: 1,797 handwritten digits of 8×8 pixels, in the package itself."""

from typing import Literal

import numpy as np
import torch

from flatselect.data.dataset import TensorDataset
from flatselect.data.splits import draw_stratified

Part = Literal["train", "test"]
N_TEST_IMAGES = 500


def load_digits(part: Part) -> TensorDataset:
    """The training part (1,297 images) or the test part (500 images).

    scikit-learn has no split of its own: this one is drawn by class with seed 0, always the same. Intensities of 0 to
    16 are stored as 0 to 255.
    """
    # Imported where it is used: scikit-learn takes a second, and most runs read other sets.
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[draw_stratified(labels, N_TEST_IMAGES, seed=0)] = True
    chosen = is_test if part == "test" else ~is_test
    return TensorDataset(images[chosen], labels[chosen], tuple("0123456789"), name="digits")
