"""Networks that compute activations again in the backward pass, to save memory while they are trained."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from flatselect import UnsupportedHeadError, measure
from flatselect.errors import ModelError
from flatselect.flatness import find_head, flatness_penalty, reference_by_gradients


class Shortcut(nn.Module):
    """The last convolution runs inside a checkpoint, the projection shortcut beside it."""

    def __init__(self, **options: bool):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.conv1, self.conv2 = (
            nn.Conv2d(3, 4, 3),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Conv2d(4, 6, 3, padding=1),
        )
        self.short, self.fc = nn.Conv2d(4, 6, 1), nn.Linear(6, 5)
        self.options = options

    def branch(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.conv1(x)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = checkpoint(self.branch, x, **self.options) if self.options else self.branch(x)
        return self.fc(F.relu(y + self.short(x)).mean((2, 3)))


def test_layers_that_a_reentrant_checkpoint_hides_are_not_passed_over() -> None:
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    with pytest.raises(
        UnsupportedHeadError, match=r"inside a reentrant activation checkpoint feeds the classifier 'fc'"
    ):
        measure(Shortcut(use_reentrant=True).double(), images)
    model = Shortcut().double()
    measured = measure(model, images)
    assert measured.layer == "conv2"
    expected = reference_by_gradients(model, images, "conv2").gauss_newton_flatness
    assert measured.relative_gap_flatness == pytest.approx(expected, rel=1e-8)


class Whole(nn.Module):
    """All convolutions run inside one checkpoint."""

    def __init__(self, use_reentrant: bool):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU())
        self.fc = nn.Linear(6, 5)
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(checkpoint(self.features, x, use_reentrant=self.use_reentrant).mean((2, 3)))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_checkpoint_around_the_last_convolution_is_named_as_the_reason() -> None:
    images = torch.randn(3, 3, 8, 8)
    with pytest.raises(ModelError, match=r"an activation checkpoint runs .* switch checkpointing off"):
        measure(Whole(use_reentrant=False), images)
    with pytest.raises(UnsupportedHeadError, match=r"reentrant activation checkpoint, at or after 'features.2'"):
        measure(Whole(use_reentrant=True), images)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_timm_networks_that_were_told_to_checkpoint(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5).double()
    images = torch.randn(3, 3, 64, 64, dtype=torch.float64)

    def compute() -> list[float]:
        model.eval()
        head = find_head(model, images)
        layer = head.layers[0].name
        measured = [measure(model, images), measure(model, images, layer=layer)]
        penalty = flatness_penalty(model.train(), images, head)
        model.zero_grad()
        penalty.backward()
        norms = [p.grad.square().sum().item() for p in model.parameters() if p.grad is not None]
        return [*(each.relative_gap_flatness for each in measured), penalty.item(), *norms]

    expected = compute()
    model.set_grad_checkpointing(True)
    told = [module for module in model.modules() if getattr(module, "grad_checkpointing", False) is True]
    assert told
    assert compute() == pytest.approx(expected, rel=1e-9)
    assert all(module.grad_checkpointing is True for module in told)
