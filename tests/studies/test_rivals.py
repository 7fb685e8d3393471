"""The rivals, against what they are defined by."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

sys.path.append(str(Path(__file__).parents[2] / "studies" / "zoo"))
import rivals


@pytest.fixture
def case():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    return model.double().eval(), torch.randn(20, 1, 6, 6, dtype=torch.float64), torch.randint(4, (20,))


def test_trace_of_all_parameters_is_the_hessians(case, monkeypatch):
    model, images, labels = case
    loss = functional.cross_entropy(model(images), labels)
    exact = 0.0
    for parameter in model.parameters():
        (gradient,) = torch.autograd.grad(loss, [parameter], create_graph=True)
        for index, slope in enumerate(gradient.flatten()):
            exact += torch.autograd.grad(slope, [parameter], retain_graph=True)[0].flatten()[index].item()
    monkeypatch.setattr(rivals, "N_TRACE_PROBES", 4000)
    estimate = rivals.measure_rivals(model, images, labels, seed=0)["hessian_trace_of_all"]
    assert estimate == pytest.approx(exact, rel=0.05)


def test_sharpness_is_the_rise_of_the_loss_along_the_gradient_and_leaves_the_weights(case):
    model, images, labels = case
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rise = rivals.measure_rivals(model, images, labels, seed=0)["sam_sharpness"]
    gradients = torch.autograd.grad(functional.cross_entropy(model(images), labels), list(model.parameters()))
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    # To first order ρ·‖g‖; the loss is smooth, and ρ small.
    assert rise == pytest.approx(0.05 * norm.item(), rel=0.2)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-15)


@pytest.mark.parametrize("alpha", [2.0, 3.5])
def test_the_exponent_of_a_power_law_is_found(alpha):
    generator = np.random.default_rng(0)
    values = np.sort((1 - generator.random(3000)) ** (-1 / (alpha - 1)))
    assert rivals._fit_power_law(values) == pytest.approx(alpha, rel=0.1)
