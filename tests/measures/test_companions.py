"""Companions against plain formulas, and what temperature does to them."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from flatselect import Measurement, measure
from flatselect.measures import COMPANION_NAMES, ImageCompanions, split_softmax, summarise_companions


def train_on_digits(epochs: int, n_classes: int = 10) -> tuple[nn.Sequential, Tensor]:
    """A small network in float64 and the 300 digits it was trained on."""
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    chosen = torch.from_numpy(digits < n_classes).nonzero()[:300, 0]
    images = torch.from_numpy(pixels).float()[chosen].view(-1, 1, 8, 8) / 8 - 1
    labels = torch.from_numpy(digits).long()[chosen]
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, n_classes),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    return model.double(), images.double()


def measure_at_temperatures(model: nn.Sequential, images: Tensor) -> list[Measurement]:
    """The measurement for z → t·z, t from 0.5 to 2."""
    head = model[-1]
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    measured = []
    for t in (0.5, 0.7, 1.0, 1.4, 2.0):
        with torch.no_grad():
            head.weight.copy_(weight * t)
            head.bias.copy_(bias * t)
        measured.append(measure(model, images))
    return measured


def spread(values: list[float]) -> float:
    return max(values) / min(values)


@pytest.mark.parametrize("epochs", [3, 60])
def test_the_ratio_is_nearly_flat_under_temperature_and_flatness_is_not(epochs: int) -> None:
    measured = measure_at_temperatures(*train_on_digits(epochs))
    assert spread([m.relative_gap_flatness for m in measured]) > 2
    assert spread([m.companions["temperature_flat_ratio"] for m in measured]) < 1.4


def test_with_two_classes_and_one_image_the_ratio_is_flat() -> None:
    model, images = train_on_digits(1, n_classes=2)
    measured = measure_at_temperatures(model, images[:1])
    assert spread([m.relative_gap_flatness for m in measured]) > 1.5
    assert spread([m.companions["temperature_flat_ratio"] for m in measured]) == pytest.approx(1, rel=1e-9)


def test_companions_are_what_their_names_say() -> None:
    model, images = train_on_digits(3)
    companions = measure(model, images).companions
    model.eval()
    with torch.no_grad():
        features = model[:-1](images)
        logits = model[-1](features)
    p = logits.softmax(1)
    largest = logits.sort(1, descending=True).values
    margins = (largest[:, 0] - largest[:, 1]).sort().values
    confidences = p.amax(1).sort().values
    # 300 images: numpy's linear quantile at 0.1 lies 0.9 of the way from the 30th to the 31st smallest.
    tenth = torch.tensor([0.1, 0.9], dtype=torch.float64)
    assert tuple(companions) == COMPANION_NAMES
    assert all(type(value) is float for value in companions.values())
    expected = {
        "mean_confidence": p.amax(1).mean(),
        "confidence_q10": tenth @ confidences[[29, 30]],
        "gini": (1 - p.square().sum(1)).mean(),
        "logit_variance": (logits - logits.mean(1, keepdim=True)).square().mean(),
        "margin_q10": tenth @ margins[[29, 30]],
        "margin_q50": margins[[149, 150]].mean(),
        "head_frobenius_norm": model[-1].weight.detach().square().sum().sqrt(),
        "feature_norm": features.square().sum(1).sqrt().mean(),
    }
    for name, value in expected.items():
        assert companions[name] == pytest.approx(value.item(), rel=1e-9), name


@pytest.mark.parametrize("logits", [torch.ones(4, 1), torch.zeros(4, 3)])
def test_one_class_and_equal_logits_have_no_ratio(logits: Tensor) -> None:
    images = ImageCompanions.of(logits, torch.ones(4, 2), split_softmax(logits))
    summary = summarise_companions(images, 0.5, torch.ones(1, 2))
    assert math.isnan(summary["temperature_flat_ratio"])
    assert math.isnan(summary["margin_q10"]) == (logits.shape[1] == 1)
    assert summary["mean_confidence"] == pytest.approx(1 / logits.shape[1])
    assert summary["feature_norm"] == pytest.approx(2**0.5)
