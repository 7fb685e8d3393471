"""Loss, accuracy and label margins against scikit-learn, numpy and long decimals."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from sets import make_set
from sklearn.metrics import accuracy_score, log_loss

from flatselect.errors import DataError
from flatselect.measures.labelled import check_labels, score_labels


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_scores_are_what_scikit_learn_and_numpy_say(dtype: torch.dtype) -> None:
    images = make_set(n_images=57)
    logits, labels = images.logits.to(dtype), images.labels
    scores = score_labels(logits, labels)
    p = logits.double().softmax(1).numpy()
    margins = [z[y] - np.delete(z, y).max() for z, y in zip(logits.double().numpy(), labels.numpy(), strict=True)]
    assert scores["loss"] == pytest.approx(log_loss(labels.numpy(), p, labels=range(4)), rel=1e-10)
    assert scores["accuracy"] == accuracy_score(labels.numpy(), p.argmax(1))
    assert scores["label_margin_q10"] == pytest.approx(np.quantile(margins, 0.1), rel=1e-12)
    assert scores["label_margin_q50"] == pytest.approx(np.quantile(margins, 0.5), rel=1e-12)


@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("lead", [5.0, 100.0, 700.0, 800.0])
def test_the_loss_of_saturated_logits_keeps_every_digit(label: int, lead: float) -> None:
    with localcontext() as context:
        context.prec = 1000
        powers = [Decimal(z).exp() for z in (lead, 0.0, 2.0)]
        expected = float((sum(powers) / powers[label]).ln())
    scores = score_labels(torch.tensor([[lead, 0.0, 2.0]]), torch.tensor([label]))
    assert scores["loss"] == pytest.approx(expected, rel=1e-12, abs=0)
    assert scores["label_margin_q50"] == {0: lead - 2, 1: -lead, 2: 2 - lead}[label]
    assert scores["accuracy"] == (label == 0)


def test_with_one_class_there_is_no_loss_and_no_margin() -> None:
    scores = score_labels(torch.tensor([[3.0], [-200.0]]), torch.tensor([0, 0]))
    assert (scores["loss"], scores["accuracy"]) == (0, 1)
    assert math.isnan(scores["label_margin_q10"])
    assert math.isnan(scores["label_margin_q50"])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_type_will_do(dtype: torch.dtype) -> None:
    labels = check_labels(torch.tensor([0, 2, 1], dtype=dtype), 3, 3, ["loss"])
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "no labels were given; loss, accuracy need one an image"),
        (torch.tensor([0.0, 1.0, 2.0]), "float32; expected whole numbers"),
        (torch.tensor([True, False, True]), "bool; expected whole numbers"),
        (torch.tensor([0, 1]), r"shape \(2,\); expected \(3,\)"),
        (torch.tensor([[0], [1], [2]]), r"shape \(3, 1\); expected \(3,\)"),
        (torch.tensor([0, 3, 1]), "between 0 and 3; expected 0 to 2"),
        (torch.tensor([0, -1, 1]), "between -1 and 1; expected 0 to 2"),
    ],
)
def test_other_labels_are_refused(labels: torch.Tensor | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_labels(labels, 3, 3, ["loss", "accuracy"])
