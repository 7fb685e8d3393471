import numpy as np
import pytest
import torch

from flatselect.errors import DataError
from flatselect.measures.unlabeled import UNLABELED_NAMES, measure_unlabeled


def make_logits(n, seed, scale=2.0, n_classes=4):
    return scale * torch.randn(n, n_classes, generator=torch.Generator().manual_seed(seed))


def test_each_measure_by_numpy():
    logits, training = make_logits(50, 0), make_logits(30, 1)
    labels = torch.arange(30) % 4
    values = measure_unlabeled(logits, training, labels)
    assert tuple(values) == UNLABELED_NAMES

    def softmax(z):
        e = np.exp(z.double().numpy())
        return e / e.sum(1, keepdims=True)

    p, confidence = softmax(logits), softmax(training).max(1)
    n_wrong = int((training.numpy().argmax(1) != labels.numpy()).sum())
    threshold = np.sort(confidence)[n_wrong]
    assert values["unlabeled_confidence"] == pytest.approx(p.max(1).mean())
    assert values["unlabeled_gini"] == pytest.approx(1 - (p**2).sum(1).mean())
    assert values["unlabeled_nuclear_norm"] == pytest.approx(np.linalg.svd(p)[1].sum() / np.sqrt(50 * 4))
    assert values["unlabeled_threshold_score"] == pytest.approx((p.max(1) >= threshold).mean())


def test_on_the_training_images_themselves_the_threshold_gives_the_training_accuracy():
    logits = make_logits(200, 2)
    labels = torch.arange(200) % 4
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    assert measure_unlabeled(logits, logits, labels)["unlabeled_threshold_score"] == pytest.approx(accuracy)


def test_nuclear_norm_is_1_where_predictions_are_sure_and_balanced_and_small_where_all_are_one_class():
    sure = 100.0 * torch.eye(4).repeat(5, 1)
    labels = torch.arange(20) % 4
    assert measure_unlabeled(sure, sure, labels)["unlabeled_nuclear_norm"] == pytest.approx(1)
    one = sure[:1].repeat(20, 1)
    assert measure_unlabeled(one, sure, labels)["unlabeled_nuclear_norm"] == pytest.approx(0.5)


def test_where_every_training_image_is_wrong_no_image_is_sure():
    logits = make_logits(10, 3)
    wrong = (logits.argmax(1) + 1) % 4
    assert measure_unlabeled(logits, logits, wrong)["unlabeled_threshold_score"] == 0


@pytest.mark.parametrize(("n", "n_training"), [(0, 3), (3, 0)])
def test_no_images_are_refused(n, n_training):
    with pytest.raises(DataError, match=f"{n} unlabelled and {n_training} training images"):
        measure_unlabeled(make_logits(n, 0), make_logits(n_training, 1), torch.zeros(n_training).long())
