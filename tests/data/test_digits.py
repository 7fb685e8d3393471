import numpy as np
import sklearn.datasets
import torch

from flatselect.data.digits import load_digits


def test_parts_are_scikit_learns_images_once_each():
    train, test = load_digits("train"), load_digits("test")
    assert (len(train), len(test)) == (1297, 500)
    assert train.input_shape == test.input_shape == (1, 8, 8)
    ours = torch.cat([train.pixels, test.pixels]).flatten(1).numpy()
    theirs = np.rint(sklearn.datasets.load_digits().data * 255 / 16).astype(np.uint8)
    labelled = np.column_stack([ours, torch.cat([train.labels, test.labels]).numpy()])
    expected = np.column_stack([theirs, sklearn.datasets.load_digits().target])
    np.testing.assert_array_equal(labelled[np.lexsort(labelled.T)], expected[np.lexsort(expected.T)])


def test_the_split_is_stratified_and_always_the_same():
    counts = torch.bincount(load_digits("test").labels)
    assert counts.min() >= 48
    assert counts.max() <= 52
    # A constant, so that scores stay comparable between versions.
    assert load_digits("test").fingerprint.startswith("45ced3a03233a0ed")
