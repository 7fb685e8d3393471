"""A network of two convolutions whose end a test writes itself."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Two(nn.Module):
    """Two convolutions, ReLU, pooling, classifier; `end` makes the output."""

    def __init__(self, end: Callable[["Two", Tensor], Tensor], **modules: nn.Module):
        super().__init__()
        self.c1, self.c2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Linear(5, 4)
        self.end = end
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self, x)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.c2(F.relu(self.c1(x)))).mean((2, 3))


def make_images(n_images: int = 3, size: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n_images, 3, size, size, dtype=dtype)


def run_within(context: Callable[[], Any], end: Callable[[Two, Tensor], Tensor], model: Two, x: Tensor) -> Tensor:
    """A part of a forward pass, within a context that is made for it."""
    with context():
        return end(model, x)
