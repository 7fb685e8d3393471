import dataclasses

import pytest
import torch
from torch.nn import functional

from flatselect.assessment import Probe, assess
from flatselect.data.digits import load_digits
from flatselect.data.normalization import compute_mean_std
from flatselect.flatness.measure import measure
from flatselect.measures.perturbations import measure_perturbations
from flatselect.measures.unlabeled import UNLABELED_NAMES
from flatselect.models.factories import build_model, count_parameters


@pytest.fixture(scope="module")
def digits():
    images = load_digits("train")
    mean, std = compute_mean_std([images.pixels])
    return dataclasses.replace(images, mean=mean, std=std).subset(torch.arange(200))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("cnn", {"width": 8}, (1, 8, 8), 10)


def test_all_of_one_network(digits, model):
    probe = Probe.draw(digits, 64, 0, "cpu")
    measured = assess(
        model, digits, probe, epoch=3, extras=["noise"], unlabeled=digits.images("cpu")[:50], companions=["head_tic"]
    )
    model.eval()
    with torch.no_grad():
        logits = model(digits.images("cpu"))
        noise = measure_perturbations(model, probe.images, probe.labels, ["noise"])
    model.train()
    flat = measure(model, probe.images)
    assert measured.epoch == 3
    assert measured.train_score == pytest.approx((logits.argmax(1) == digits.labels).double().mean().item())
    assert measured.train_loss == pytest.approx(functional.cross_entropy(logits, digits.labels).item(), rel=1e-5)
    assert (measured.n_train_images, measured.n_probe_images) == (200, 64)
    assert measured.n_parameters == count_parameters(model)
    assert measured.relative_gap_flatness == pytest.approx(flat.relative_gap_flatness, rel=1e-5)
    of_images = measure(model, probe.images, per_image=True).per_image_flatness
    assert measured.flatness_standard_error == pytest.approx(of_images.std().item() / 8, rel=1e-5)
    assert measured.companions["noise_loss"] == pytest.approx(noise["noise_loss"], rel=1e-6)
    assert measured.companions["n_classes"] == 10
    assert {*flat.companions, "head_tic", *UNLABELED_NAMES} < set(measured.companions)
    assert measured.test_gap is None


def test_leaves_the_model_as_it_was(digits, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    assess(model, digits, Probe.draw(digits, 32, 0, "cpu"), extras=["augmentation", "mixup"])
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_probe_is_drawn_by_class_and_holds_all_images_where_there_are_few(digits):
    drawn = Probe.draw(digits, 50, 0, "cpu")
    assert drawn.images.shape == (50, 1, 8, 8)
    assert torch.bincount(drawn.labels).min() >= 3
    assert torch.equal(drawn.images, Probe.draw(digits, 50, 0, "cpu").images)
    assert not torch.equal(drawn.images, Probe.draw(digits, 50, 1, "cpu").images)
    whole = Probe.draw(digits, 10_000, 0, "cpu")
    torch.testing.assert_close(whole.images, digits.images("cpu"))
